"""Hosts that are containers on this machine, each one as bare as a new Debian VM.

A host has its own address, sshd, file system and room for a dockerd of its own.  All
that is odd about running Docker in Docker is here: once the host answers SSH, nothing
else in Fanrun knows that it is no VM.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import ipaddress
import json
import socket
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fanrun.fleet import environment
from fanrun.fleet.config import me
from fanrun.fleet.errors import FleetError, ProviderError, ToolMissing, UsageError
from fanrun.fleet.model import Host, number, old_id
from fanrun.fleet.store import Folder
from provision.hosts.ca import ssh_key
from provision.providers.base import Found, OtherFleet, Provider, Say, State, Wanted
from provision.registry import build, daemon

USER = "admin"
AUTHORIZED_KEYS = f"/home/{USER}/.ssh/authorized_keys"
BASE = "debian:trixie-slim"

# What an image's apt does to stay small costs a host 3 s of CPU: as on a VM, indexes and packages are kept.
# policy-rc.d lets packages start their services, as on a VM; start-stop-daemon stands in
# for an init system.  /etc/default/docker: the init script of docker.io raises limits that
# a container may not raise, and would stop there.
DOCKERFILE = rf"""
FROM {BASE}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates iproute2 openssh-server procps python3-minimal sudo \
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


def create_argv(labels: Mapping[str, str], network: str, host: Host, *, privileged: bool) -> list[str]:
    """Return the docker command that creates, but doesn't start, one host; `labels` are its fleet's."""
    labels = {**labels, "name": host.name, "role": host.role,
              "address": host.address, "port": str(host.port), "inner": host.inner}  # fmt: skip
    published = [f"--publish=127.0.0.1:{host.port}:22"] if host.port != 22 else []
    return [
        "docker", "create", f"--name={resource(labels['fleet'], labels['id'], host.name)}", f"--hostname={host.name}",
        *(f"--label=fanrun.{key}={value}" for key, value in labels.items()),
        f"--network={network}", f"--ip={host.inner}", *published,
        "--tmpfs=/run:exec", "--volume=/var/lib/docker",
        *(["--privileged"] if privileged else NESTED), *CGROUP, IMAGE,
    ]  # fmt: skip


def resource(fleet: str, fleet_id: str, name: str) -> str:
    """Return the name of a container or network; those of two fleets of one name differ."""
    return f"fanrun-{fleet}-{fleet_id[:8]}-{name}"


class LocalProvider(Provider):
    """Containers of the Docker daemon that this machine's client talks to."""

    name = "local"

    def check(self) -> None:
        build.ensure_client_docker()
        if self.wishes.daemon and self.wishes.daemon != self._daemon():
            found = daemon.endpoint()
            by = f", by {found}" if found.is_chosen else ""
            raise ProviderError(
                f"fleet {self.folder.name} is in another Docker than the one that answers here{by}; DOCKER_HOST or "
                f"`docker context use` choose it; if it is gone for good, `rm -r {self.folder.path}` forgets the fleet",
                provider=self.name,
            )

    def check_launch(self) -> None:
        if daemon.endpoint().is_file:
            return
        found = daemon.find()
        if found.is_remote:
            raise UsageError(
                f"{found.endpoint} is the Docker of another machine ({found.name}), where hosts of provider local "
                f"can't be reached; {found.endpoint.advice}, or use machines that you have with --provider=static"
            )

    @property
    def is_placed(self) -> bool:
        return bool(self.wishes.daemon)

    def settled(self) -> dict[str, str]:
        return {"daemon": self._daemon()}

    def _daemon(self) -> str:
        """Return the id that a Docker daemon keeps for as long as it keeps its containers."""
        return self._docker("info", "--format={{.ID}}").strip()

    def find(self) -> list[Found]:
        return [_found(item) for item in self._mine()]

    def adoptable(self) -> list[str]:
        return sorted({_id(item) for item in self._named if _is_old(item) and self._has_key(item)})

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        ids = self.ids
        return [_other(each, items) for each, items in _by_id(self._containers()).items() if each not in ids]

    def excludes(self, other: OtherFleet) -> bool:
        """Another checkout may have a fleet of this name: one whose folder is still there and knows its id."""
        place = Path(other.folder)
        if place == self.folder.path:
            return True
        if other.id.startswith("old-"):
            return not (place / self.folder.fleet_json.name).exists()
        with contextlib.suppress(FleetError):
            return other.id not in Folder(place.parent, self.folder.name).ids
        return True

    def looked(self) -> str:
        return "the Docker of this machine"

    def launch(self, wanted: Sequence[Wanted], say: Say) -> list[Host]:
        self._ensure_image(say)
        containers = {_found(item).host.name: item for item in self._mine()}
        network = self._ensure_network(containers.values())
        hosts = []
        for item in wanted:
            container = containers.get(item.name)
            old = _found(container) if container else None
            if (
                container
                and old
                and old.state != "broken"
                and self.folder.host_keys.has(old.host.address, old.host.port)
            ):
                hosts.append(old.host)
                if old.state == "stopped":
                    self._docker("start", container["Id"])
                    say(item.name, "started again")
                continue
            if old:  # left by an `up` that was killed
                self.terminate([item.name], say)
            hosts.append(self._create(item, network))
            say(item.name, f"launched at {hosts[-1].address}")
        return hosts

    def terminate(self, names: Sequence[str], say: Say) -> None:
        containers = {item["Id"]: name for item in self._mine() if (name := _found(item).host.name) in names}
        if containers:
            self._docker("rm", "--force", "--volumes", *containers)
        for name in containers.values():
            say(name, "removed")

    def clean(self, say: Say) -> None:
        named = f"--filter=name=^fanrun-{self.folder.name}-"
        for each in self.ids:
            found = self._docker("network", "ls", "--format={{.Name}}", f"--filter=label=fanrun.id={each}", named)
            self._networks |= set(found.split())
        for network in sorted(self._networks & set(self._docker("network", "ls", "--format={{.Name}}").split())):
            self._docker("network", "rm", network)
            say("network", "removed")

    @functools.cached_property
    def _networks(self) -> set[str]:
        """The networks that the fleet's containers were seen in: older ones have no label."""
        return set()

    @functools.cached_property
    def _named(self) -> list[dict[str, Any]]:
        """All containers that carried the fleet's name when first asked for."""
        return self._containers()

    def _containers(self) -> list[dict[str, Any]]:
        """Return docker's description of all containers that carry the fleet's name, whatever their id."""
        listed = self._docker(
            "ps", "--all", "--quiet", "--no-trunc", f"--filter=label=fanrun.fleet={self.folder.name}"
        ).split()
        if not listed:
            return []
        with contextlib.suppress(ProviderError):
            return list(json.loads(self._docker("inspect", *listed)))
        found: list[dict[str, Any]] = []
        for item in listed:  # one by one, as another fleet's have gone meanwhile
            with contextlib.suppress(ProviderError):
                found += json.loads(self._docker("inspect", item))
        return found

    def _mine(self) -> list[dict[str, Any]]:
        """Return the fleet's own containers."""
        ids = self.ids
        mine = [item for item in self._containers() if _id(item) in ids]
        networks = {name for item in mine for name in item["NetworkSettings"]["Networks"]}
        self._networks.update(name for name in networks if name.startswith("fanrun-"))
        return mine

    def _has_key(self, item: Mapping[str, Any]) -> bool:
        """Whether a host lets this folder's key in, running or not."""
        try:
            copied = self._docker_bytes("cp", f"{item['Id']}:{AUTHORIZED_KEYS}", "-")
            key = self.folder.key.with_suffix(".pub").read_bytes().strip()
        except (ProviderError, OSError):
            return False
        return bool(key) and key in copied

    def _create(self, item: Wanted, network: str) -> Host:
        """Create one host, plant its key and ours in it, pin its key, and start it."""
        inner = str(self._subnet(network)[10 + number(item.name)])
        outside = not daemon.find().shares_network  # then its containers' addresses can't be reached from here
        host = Host(
            item.name, item.role, address="127.0.0.1" if outside else inner, inner=inner, user=USER,
            port=_free_port() if outside else 22,
        )  # fmt: skip
        private, public = ssh_key()
        files = {
            "etc/ssh/ssh_host_ed25519_key": (private, 0o600),
            AUTHORIZED_KEYS.lstrip("/"): (self.folder.key.with_suffix(".pub").read_text(), 0o644),
        }
        self.folder.host_keys.pin(host.address, host.port, public)
        labels = {
            "fleet": self.folder.name, "id": self.folder.id, "owner": self.wishes.owner or me(),
            "folder": str(self.folder.path),
        }  # fmt: skip
        for privileged in (False, True):
            argv = create_argv(labels, network, host, privileged=privileged)
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
        build.ensure_base()
        # No proxy is put into the image: build arguments of these names stay out of it.
        proxies = [f"--build-arg={name}" for name in ("http_proxy", "https_proxy", "no_proxy")]
        try:
            with environment.for_build() as environ:
                self._docker_bytes("build", f"--tag={IMAGE}", *proxies, "-", stdin=DOCKERFILE.encode(), environ=environ)
        except ProviderError as error:
            raise ProviderError(
                f"the hosts' image can't be built ({error}); if {BASE} is what is missing, script/setup makes it",
                provider=self.name,
            ) from error
        # Those of other versions of Fanrun, but for the one before; Docker keeps what a host is made of.
        newest_first = self._docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", IMAGE.partition(":")[0])
        for old in newest_first.split()[2:]:
            with contextlib.suppress(ProviderError):
                self._docker("rmi", old)

    def _ensure_network(self, containers: Iterable[Mapping[str, Any]] = ()) -> str:
        """Return the fleet's network, that of its containers if it has any, else one made for its id.

        Fixed addresses, as a VM's, need a subnet named at creation.
        """
        for item in containers:
            if used := next(iter(item["NetworkSettings"]["Networks"]), ""):
                return used
        network = resource(self.folder.name, self.folder.ensure_id(), "net")
        if not self._has_network(network):
            # Let Docker choose a subnet that is free here, then ask for that very one.
            trial, label = f"{network}-trial", f"--label=fanrun.id={self.folder.id}"
            if self._has_network(trial):
                self._docker("network", "rm", trial)
            self._docker("network", "create", label, trial)
            chosen = self._subnet(trial)
            self._docker("network", "rm", trial)
            self._docker("network", "create", f"--subnet={chosen}", label, network)
        return network

    def _has_network(self, network: str) -> bool:
        return bool(self._docker("network", "ls", "--quiet", f"--filter=name=^{network}$").strip())

    def _subnet(self, network: str) -> ipaddress.IPv4Network:
        shown = self._docker("network", "inspect", "--format={{(index .IPAM.Config 0).Subnet}}", network)
        return ipaddress.IPv4Network(shown.strip())

    def _docker(self, *argv: str, stdin: bytes | None = None) -> str:
        """Run docker; return what it prints, raise ProviderError with the line that says why it failed."""
        return self._docker_bytes(*argv, stdin=stdin).decode()

    def _docker_bytes(self, *argv: str, stdin: bytes | None = None, environ: Mapping[str, str] | None = None) -> bytes:
        environ = environ or environment.without_trust()
        try:
            done = subprocess.run(["docker", *argv], env=environ, input=stdin, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise ToolMissing(
                "docker is not installed; script/setup installs it on Debian and Ubuntu", tool="docker"
            ) from error
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            why = next((line for line in lines if line.startswith("Error response")), lines[-1] if lines else "")
            raise ProviderError(f"docker {argv[0]} failed: {why or done.returncode}", provider=self.name)
        return done.stdout


def _labels(inspected: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix("fanrun."): value for key, value in inspected["Config"]["Labels"].items()}


def _is_old(inspected: Mapping[str, Any]) -> bool:
    """Whether a container is from before fleets had ids."""
    return "id" not in _labels(inspected)


def _id(inspected: Mapping[str, Any]) -> str:
    """Return the id of a container's fleet."""
    label = _labels(inspected)
    return str(label.get("id") or old_id(label["folder"]))


def _by_id(containers: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in containers:
        found.setdefault(_id(item), []).append(item)
    return found


def _other(fleet_id: str, containers: Sequence[Mapping[str, Any]]) -> OtherFleet:
    """Describe the containers of another fleet."""
    created = min(datetime.fromisoformat(f"{item['Created'][:19]}+00:00").timestamp() for item in containers)
    label = _labels(containers[0])
    hosts = sorted((_found(item).host.name for item in containers), key=number)
    return OtherFleet(
        fleet_id, label.get("owner", ""), tuple(hosts), created=created, folder=label["folder"],
        where="in the Docker of this machine", options=("--provider=local",),
    )  # fmt: skip


def _found(inspected: Mapping[str, Any]) -> Found:
    """Read one element of `docker inspect` as a host."""
    label = _labels(inspected)
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
