"""Hosts that are containers on this machine, each one as bare as a new Debian VM.

A host has its own address, sshd, file system and room for a dockerd of its own.  All
that is odd about running Docker in Docker is here: once the host answers SSH, nothing
else in Fanrun knows that it is no VM.
"""

from __future__ import annotations

import hashlib
import io
import ipaddress
import json
import platform
import socket
import subprocess
import tarfile
from collections.abc import Sequence
from typing import Any

from provision.ca import ssh_key
from provision.config import Wishes
from provision.errors import ProviderError, ToolMissing
from provision.fleet import Folder, Host, number
from provision.providers.base import Found, Provider, Say, State, Wanted

USER = "admin"
BASE = "debian:trixie-slim"

# What an image's apt does to stay small costs a host 3 s of CPU: as on a VM, indexes and packages are kept.
# policy-rc.d lets packages start their services, as on a VM; start-stop-daemon stands in
# for an init system.  /etc/default/docker: the init script of docker.io raises limits that
# a container may not raise, and would stop there.
DOCKERFILE = rf"""
FROM {BASE}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates iproute2 openssh-server procps sudo \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /etc/ssh/ssh_host_* \
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
IMAGE = "fanrun-host:" + hashlib.sha256(DOCKERFILE.encode()).hexdigest()[:12]

# What a nested dockerd needs where the machine itself may not grant --privileged (a
# bounding set without CAP_SYS_RESOURCE); elsewhere it is enough as well.
NESTED = [
    "--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined", "--security-opt=systempaths=unconfined",
]  # fmt: skip
CGROUP = ["--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"]


def create_argv(fleet: str, folder: str, network: str, host: Host, *, privileged: bool) -> list[str]:
    """The docker command that creates, but doesn't start, one host."""
    labels = {"fleet": fleet, "folder": folder, "name": host.name, "role": host.role,
              "address": host.address, "port": str(host.port), "inner": host.inner}  # fmt: skip
    published = [f"--publish=127.0.0.1:{host.port}:22"] if host.port != 22 else []
    return [
        "docker", "create", f"--name={container(folder, fleet, host.name)}", f"--hostname={host.name}",
        *(f"--label=fanrun.{key}={value}" for key, value in labels.items()),
        f"--network={network}", f"--ip={host.inner}", *published,
        "--tmpfs=/run:exec", "--volume=/var/lib/docker",
        *(["--privileged"] if privileged else NESTED), *CGROUP, IMAGE,
    ]  # fmt: skip


def container(folder: str, fleet: str, name: str) -> str:
    """The container's name; two checkouts with a fleet of one name don't meet in it."""
    return f"fanrun-{fleet}-{hashlib.sha256(folder.encode()).hexdigest()[:8]}-{name}"


class LocalProvider(Provider):
    """Containers of the Docker daemon that this machine's client talks to."""

    name = "local"

    def __init__(self, folder: Folder, wishes: Wishes) -> None:
        super().__init__(folder, wishes)
        self._network = container(str(folder.path), folder.name, "net")

    def check(self) -> None:
        try:
            self._docker("version", "--format={{.Server.Version}}")
        except ProviderError as error:
            raise ToolMissing(
                "Docker does not run on this machine; start it (script/setup does, on Debian and Ubuntu)",
                tool="docker",
            ) from error

    def find(self) -> list[Found]:
        ids = self._docker(
            "ps", "--all", "--quiet", "--no-trunc",
            f"--filter=label=fanrun.fleet={self.folder.name}",
            f"--filter=label=fanrun.folder={self.folder.path}",
        ).split()  # fmt: skip
        if not ids:
            return []
        return [_found(item) for item in json.loads(self._docker("inspect", *ids))]

    def launch(self, wanted: Sequence[Wanted], say: Say) -> list[Host]:
        self._ensure_image(say)
        subnet = self._ensure_network()
        found = {item.host.name: item for item in self.find()}
        hosts = []
        for item in wanted:
            old = found.get(item.name)
            if old and old.state != "broken" and self.folder.pinned(old.host.address, old.host.port):
                hosts.append(old.host)
                if old.state == "stopped":
                    self._docker("start", container(str(self.folder.path), self.folder.name, item.name))
                    say(item.name, "started again")
                continue
            if old:  # left by an `up` that was killed, or by another checkout's keys
                self.terminate([item.name], say)
            hosts.append(self._create(item, subnet))
            say(item.name, f"launched at {hosts[-1].address}")
        return hosts

    def terminate(self, names: Sequence[str], say: Say) -> None:
        if not names:
            return
        containers = [container(str(self.folder.path), self.folder.name, name) for name in names]
        self._docker("rm", "--force", "--volumes", *containers)
        for name in names:
            say(name, "removed")

    def clean(self, say: Say) -> None:
        if self._docker("network", "ls", "--quiet", f"--filter=name=^{self._network}$").strip():
            self._docker("network", "rm", self._network)
            say("network", "removed")

    def _create(self, item: Wanted, subnet: ipaddress.IPv4Network) -> Host:
        """Create one host, plant its key and ours in it, pin its key, and start it."""
        inner = str(subnet[10 + number(item.name)])
        outside = not self._reaches_containers()
        host = Host(
            item.name, item.role, address="127.0.0.1" if outside else inner, inner=inner, user=USER,
            port=_free_port() if outside else 22,
        )  # fmt: skip
        private, public = ssh_key()
        files = {
            "etc/ssh/ssh_host_ed25519_key": (private, 0o600),
            f"home/{USER}/.ssh/authorized_keys": (self.folder.key.with_suffix(".pub").read_text(), 0o644),
        }
        self.folder.pin(host.address, host.port, public)
        for privileged in (False, True):
            argv = create_argv(self.folder.name, str(self.folder.path), self._network, host, privileged=privileged)
            created = self._docker(*argv[1:]).strip()
            self._docker("cp", "-", f"{created}:/", stdin=_tar(files))
            try:
                self._docker("start", created)
                break
            except ProviderError:
                self._docker("rm", "--force", "--volumes", created)
                if privileged:
                    raise
        return host

    def _ensure_image(self, say: Say) -> None:
        if self._docker("image", "ls", "--quiet", IMAGE).strip():
            return
        say("local", "building the hosts' image")
        # No proxy is put into the image: build arguments of these names stay out of it.
        proxies = [f"--build-arg={name}" for name in ("http_proxy", "https_proxy", "no_proxy")]
        try:
            self._docker("build", f"--tag={IMAGE}", *proxies, "-", stdin=DOCKERFILE.encode())
        except ProviderError as error:
            raise ProviderError(
                f"the hosts' image can't be built ({error}); if {BASE} is what is missing, script/setup makes it",
                provider=self.name,
            ) from error

    def _ensure_network(self) -> ipaddress.IPv4Network:
        """The fleet's network; fixed addresses, as a VM's, need a subnet named at creation."""
        if not self._docker("network", "ls", "--quiet", f"--filter=name=^{self._network}$").strip():
            # Let Docker choose a subnet that is free here, then ask for that very one.
            self._docker("network", "create", self._network)
            chosen = self._subnet()
            self._docker("network", "rm", self._network)
            self._docker("network", "create", f"--subnet={chosen}", self._network)
        return self._subnet()

    def _subnet(self) -> ipaddress.IPv4Network:
        shown = self._docker("network", "inspect", "--format={{(index .IPAM.Config 0).Subnet}}", self._network)
        return ipaddress.IPv4Network(shown.strip())

    def _reaches_containers(self) -> bool:
        """Whether containers' addresses can be reached from here: not where Docker runs in a VM."""
        system = self._docker("info", "--format={{.OperatingSystem}}")
        return platform.system() == "Linux" and "Docker Desktop" not in system

    def _docker(self, *argv: str, stdin: bytes | None = None) -> str:
        """Run docker; returns its standard output, raises ProviderError with its last words."""
        try:
            done = subprocess.run(["docker", *argv], input=stdin, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise ToolMissing(
                "docker is not installed; script/setup installs it on Debian and Ubuntu", tool="docker"
            ) from error
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise ProviderError(
                f"docker {argv[0]} failed: {lines[-1] if lines else done.returncode}", provider=self.name
            )
        return done.stdout.decode()


def _found(inspected: dict[str, Any]) -> Found:
    """One element of `docker inspect` as a host."""
    label = {key.removeprefix("fanrun."): value for key, value in inspected["Config"]["Labels"].items()}
    host = Host(label["name"], label["role"], label["address"], label["inner"], USER, int(label["port"]))
    # "created" is a container whose keys may not be planted yet.
    states: dict[str, State] = {"running": "running", "created": "broken", "dead": "broken"}
    return Found(host, states.get(inspected["State"]["Status"], "stopped"))


def _tar(files: dict[str, tuple[str, int]]) -> bytes:
    """A tar archive of files ({path: (text, mode)}), owned by root and so fit for sshd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (text, mode) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


PROVIDER = LocalProvider
