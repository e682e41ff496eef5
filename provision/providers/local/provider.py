"""Hosts that are containers on this machine, each one as bare as a new Debian VM.

A host has its own address, sshd, file system and room for a dockerd of its own.  All
that is odd about running Docker in Docker is here: once the host answers SSH, nothing
else in Fanrun knows that it is no VM.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fanrun.fleet.config import me
from fanrun.fleet.errors import FleetError, ProviderError, UsageError
from fanrun.fleet.model import Host, number
from fanrun.fleet.store import Folder
from provision.hosts.ssh_key import ssh_key
from provision.providers.base import FoundHost, HostSpec, OtherFleet, Provider, Say
from provision.providers.local import docker
from provision.providers.local.containers import (
    AUTHORIZED_KEYS,
    by_fleet,
    create_argv,
    fleet_id,
    found_host,
    free_port,
    is_old,
    other_fleet,
    tar,
)
from provision.providers.local.host_image import USER, ensure_host_image
from provision.providers.local.network import ensure_network, read_subnet
from provision.providers.local.options import LocalOptions
from provision.registry import build, daemon


class LocalProvider(Provider):
    """Containers of the Docker daemon that this machine's client talks to."""

    name = "local"
    options: LocalOptions

    def check(self) -> None:
        build.ensure_client_docker()
        if self.options.daemon and self.options.daemon != self._daemon():
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
        return bool(self.options.daemon)

    def resolved_options(self) -> dict[str, str]:
        return {"daemon": self._daemon()}

    def _daemon(self) -> str:
        """Return the id that a Docker daemon keeps for as long as it keeps its containers."""
        return docker.run("info", "--format={{.ID}}").strip()

    def find(self) -> list[FoundHost]:
        return [found_host(item) for item in self._mine()]

    def adoptable(self) -> list[str]:
        return sorted({fleet_id(item) for item in self._named if is_old(item) and self._has_key(item)})

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        ids = self.ids
        return [other_fleet(each, items) for each, items in by_fleet(self._containers()).items() if each not in ids]

    def excludes(self, other: OtherFleet) -> bool:
        """Return whether it may be this fleet: not where the folder of another checkout knows its id."""
        place = Path(other.folder)
        if place == self.folder.path:
            return True
        if other.id.startswith("old-"):
            return not (place / self.folder.fleet_json.name).exists()
        with contextlib.suppress(FleetError):
            return other.id not in Folder(place.parent, self.folder.name).ids
        return True

    def search_scope(self) -> str:
        return "the Docker of this machine"

    def launch(self, specs: Sequence[HostSpec], say: Say) -> list[Host]:
        ensure_host_image(say)
        containers = {found_host(item).host.name: item for item in self._mine()}
        network = ensure_network(self.folder, containers.values())
        hosts = []
        for item in specs:
            container = containers.get(item.name)
            old = found_host(container) if container else None
            if (
                container
                and old
                and old.state != "broken"
                and self.folder.host_keys.has(old.host.address, old.host.port)
            ):
                hosts.append(old.host)
                if old.state == "stopped":
                    docker.run("start", container["Id"])
                    say(item.name, "started again")
                continue
            if old:  # left by an `up` that was killed
                self.terminate([item.name], say)
            hosts.append(self._create(item, network))
            say(item.name, f"launched at {hosts[-1].address}")
        return hosts

    def terminate(self, names: Sequence[str], say: Say) -> None:
        containers = {item["Id"]: name for item in self._mine() if (name := found_host(item).host.name) in names}
        if containers:
            docker.run("rm", "--force", "--volumes", *containers)
        for name in containers.values():
            say(name, "removed")

    def clean(self, say: Say) -> None:
        named = f"--filter=name=^fanrun-{self.folder.name}-"
        for each in self.ids:
            found = docker.run("network", "ls", "--format={{.Name}}", f"--filter=label=fanrun.id={each}", named)
            self._networks |= set(found.split())
        for network in sorted(self._networks & set(docker.run("network", "ls", "--format={{.Name}}").split())):
            docker.run("network", "rm", network)
            say("network", "removed")

    @functools.cached_property
    def _networks(self) -> set[str]:
        """Return the networks that the fleet's containers were seen in: older ones have no label."""
        return set()

    @functools.cached_property
    def _named(self) -> list[dict[str, Any]]:
        """Return all containers that carried the fleet's name when first asked for."""
        return self._containers()

    def _containers(self) -> list[dict[str, Any]]:
        """Return docker's description of all containers that carry the fleet's name, whatever their id."""
        listed = docker.run(
            "ps", "--all", "--quiet", "--no-trunc", f"--filter=label=fanrun.fleet={self.folder.name}"
        ).split()
        if not listed:
            return []
        with contextlib.suppress(ProviderError):
            return list(json.loads(docker.run("inspect", *listed)))
        found: list[dict[str, Any]] = []
        for item in listed:  # one by one, as another fleet's have gone meanwhile
            with contextlib.suppress(ProviderError):
                found += json.loads(docker.run("inspect", item))
        return found

    def _mine(self) -> list[dict[str, Any]]:
        """Return the fleet's own containers."""
        ids = self.ids
        mine = [item for item in self._containers() if fleet_id(item) in ids]
        networks = {name for item in mine for name in item["NetworkSettings"]["Networks"]}
        self._networks.update(name for name in networks if name.startswith("fanrun-"))
        return mine

    def _has_key(self, item: Mapping[str, Any]) -> bool:
        """Return whether a host lets this folder's key in, running or not."""
        try:
            copied = docker.run_bytes("cp", f"{item['Id']}:{AUTHORIZED_KEYS}", "-")
            key = self.folder.key.with_suffix(".pub").read_bytes().strip()
        except (ProviderError, OSError):
            return False
        return bool(key) and key in copied

    def _create(self, item: HostSpec, network: str) -> Host:
        """Create one host with its host key and the fleet's key, pin the host key, and start the host."""
        inner = str(read_subnet(network)[10 + number(item.name)])
        host = Host(item.name, item.role, inner, inner, USER)
        if not daemon.find().shares_network:  # then addresses of containers can't be reached from here
            host = dataclasses.replace(host, address="127.0.0.1", port=free_port())
        private, public = ssh_key()
        self.folder.host_keys.pin(host.address, host.port, public)
        for privileged in (False, True):
            argv = create_argv(self._labels, network, host, privileged=privileged)
            created = docker.run(*argv[1:]).strip()
            docker.run("cp", "-", f"{created}:/", stdin=tar(self._files(private)))
            try:
                docker.run("start", created)
                break
            except ProviderError:
                docker.run("rm", "--force", "--volumes", created)
                if privileged:
                    raise
        return host

    @property
    def _labels(self) -> dict[str, str]:
        """Return the labels of everything that belongs to the fleet."""
        return {
            "fleet": self.folder.name,
            "id": self.folder.id,
            "owner": self.options.owner or me(),
            "folder": str(self.folder.path),
        }

    def _files(self, private: str) -> dict[str, tuple[str, int]]:
        """Return the files that a new host gets, {path: (text, mode)}: its private host key and the fleet's key."""
        return {
            "etc/ssh/ssh_host_ed25519_key": (private, 0o600),
            AUTHORIZED_KEYS.lstrip("/"): (self.folder.key.with_suffix(".pub").read_text(), 0o644),
        }


PROVIDER = LocalProvider
