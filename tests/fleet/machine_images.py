"""The container images of machines: a bare one, one with Docker and rsync, and one that is run by systemd."""

from __future__ import annotations

import hashlib

from provision.providers.local.host_image import SYSTEM, build_image, dockerfile
from tests.fleet.harness import docker


def tag(text: str) -> str:
    """Return the name of the image of a Dockerfile."""
    return "fanrun-test-machine:" + hashlib.sha256(text.encode()).hexdigest()[:12]


BARE_TEXT = dockerfile(*SYSTEM)
BARE = tag(BARE_TEXT)
"""As a new VM: with sshd and sudo, without Docker."""
DOCKER_TEXT = dockerfile(*SYSTEM, "docker-cli", "docker.io", "rsync")
WITH_DOCKER = tag(DOCKER_TEXT)
SYSTEMD_TEXT = f"""
FROM {BARE}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      dbus iptables systemd systemd-sysv \
 && apt-get clean && rm -r /usr/sbin/policy-rc.d /etc/default/docker
ENV container=docker
CMD ["/sbin/init"]
"""
WITH_SYSTEMD = tag(SYSTEMD_TEXT)
TEXTS = {BARE: BARE_TEXT, WITH_DOCKER: DOCKER_TEXT, WITH_SYSTEMD: SYSTEMD_TEXT}


def ensure_machine_image(image: str) -> None:
    """Build one of the images above if it is not here; leave others to Docker."""
    if image not in TEXTS or docker("image", "ls", "--quiet", image).strip():
        return
    if image == WITH_SYSTEMD:
        ensure_machine_image(BARE)
    build_image(image, TEXTS[image])
