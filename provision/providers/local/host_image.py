"""The container image of a local host: a small Debian that has sshd, Docker, rsync and the registry."""

from __future__ import annotations

import contextlib
import hashlib

from fanrun.fleet import environment
from fanrun.fleet.errors import ProviderError
from provision.providers.base import Say
from provision.providers.local import docker
from provision.registry import build

USER = "admin"
BASE = "debian:trixie-slim"
SYSTEM = ("ca-certificates", "iproute2", "openssh-server", "procps", "python3-minimal", "sudo")
"""What a bare machine has."""
SERVICES = ("docker-cli", "docker-registry", "docker.io", "rsync")
"""What `fab up` would install; to install it once in the image takes a third of the time."""


def dockerfile(*packages: str) -> str:
    """Return how to build the image of a host that has these packages."""
    # What an image's apt does to stay small costs a host 3 s of CPU: as on a VM, indexes and packages are kept.
    # policy-rc.d: packages start their services on the host, as on a VM, but not while the image is built.
    # /etc/default/docker: the init script of docker.io raises limits that a container may not raise, and would stop
    # there.  The registry gets its settings from `fab up`: with the package's own it would be open to everybody.
    return rf"""
FROM {BASE}
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      {" ".join(packages)} \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /etc/ssh/ssh_host_* /etc/docker/registry \
      /etc/apt/apt.conf.d/docker-clean /etc/apt/apt.conf.d/docker-gzip-indexes \
 && useradd --create-home --shell /bin/bash {USER} \
 && echo '{USER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/90-{USER} \
 && printf '#!/bin/sh\nexit 0\n' >/usr/sbin/policy-rc.d \
 && printf 'ulimit() {{ command ulimit "$@" 2>/dev/null || :; }}\n' >/etc/default/docker \
 && printf '%s\n' '#!/bin/sh' 'mkdir -p /run/sshd' \
      'for script in /etc/rc2.d/S*; do case $script in *ssh) ;; *) "$script" start ;; esac; done' \
      'exec /usr/sbin/sshd -D -e' >/sbin/boot \
 && chmod 755 /usr/sbin/policy-rc.d /sbin/boot
CMD ["/sbin/boot"]
"""


DOCKERFILE = dockerfile(*SYSTEM, *SERVICES)
IMAGE = "fanrun-host:" + hashlib.sha256(DOCKERFILE.encode()).hexdigest()[:12]


def ensure_host_image(say: Say) -> None:
    """Build the image if it is not here; ProviderError if it can't be built."""
    if docker.run("image", "ls", "--quiet", IMAGE).strip():
        return
    say("local", "building the hosts' image")
    build_image(IMAGE, DOCKERFILE)
    # Those of other versions of Fanrun, but for the one before; Docker keeps what a host is made of.
    newest_first = docker.run("image", "ls", "--format={{.Repository}}:{{.Tag}}", IMAGE.partition(":")[0])
    for old in newest_first.split()[2:]:
        with contextlib.suppress(ProviderError):
            docker.run("rmi", old)


def build_image(tag: str, text: str) -> None:
    """Build the image of a Dockerfile; ProviderError if it can't be built."""
    build.ensure_base()
    # No proxy is put into the image: build arguments of these names stay out of it.
    proxies = [f"--build-arg={name}" for name in ("http_proxy", "https_proxy", "no_proxy")]
    try:
        with environment.for_build() as environ:
            docker.run_bytes("build", f"--tag={tag}", *proxies, "-", stdin=text.encode(), environ=environ)
    except ProviderError as error:
        raise ProviderError(
            f"the hosts' image can't be built ({error}); if {BASE} is what is missing, script/setup makes it",
            provider="local",
        ) from error
