"""Machines as hosts of the fleet."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fanrun.fleet.errors import UsageError
from fanrun.fleet.model import HUB, Host, Role
from provision.hosts.footprint import HostFacts
from provision.providers.static.options import StaticOptions
from provision.providers.static.user_ssh import SshTarget, resolve


@dataclass(frozen=True)
class Member:
    """A host of the fleet, and the way to its machine, which may be the hub's and a worker's at once."""

    host: Host
    target: SshTarget

    @property
    def place(self) -> str:
        """Return the machine's name in known_hosts."""
        return self.target.place


def list_workers(machines: str) -> list[str]:
    """Return the workers as --host names them, with commas between; UsageError if there are none."""
    entries = [item.strip() for item in machines.split(",") if item.strip()]
    if not entries:
        raise UsageError(
            "provider static needs machines: --host user@address[:port], once for each, or `host:` in fabric.yaml"
        )
    return entries


def list_members(options: StaticOptions) -> list[Member]:
    """Return the hub and the workers, numbered in the order of --host; the hub is the first of them if none is named.

    Raises UsageError for a machine that is named twice, or that ssh can't make anything of.
    """
    targets = [resolve(item, options.ssh_config) for item in list_workers(options.host)]
    places = [item.place for item in targets]
    if double := next((item.given for item in targets if places.count(item.place) > 1), None):
        raise UsageError(f"--host names {double} twice; name each machine once")
    hub = resolve(options.hub, options.ssh_config) if options.hub else targets[0]
    workers = [Member(make_host(f"worker-{n}", "worker", item), item) for n, item in enumerate(targets, 1)]
    return [Member(make_host(HUB, "hub", hub), hub), *workers]


def make_host(name: str, role: Role, target: SshTarget) -> Host:
    """Return the host of this name on a machine."""
    return Host(name, role, target.address, target.address, target.user, target.port, target.proxy)


def make_used(host: Host, facts: HostFacts | None) -> Host:
    """Return the host as it is used, by what its machine says of sudo."""
    if facts is None or facts.sudo is None:
        return host
    return dataclasses.replace(host, sudo=facts.sudo, work=facts.bare.work)


def make_target(host: Host) -> SshTarget:
    """Return the way to a machine that is known from the fleet's folder alone."""
    address = f"[{host.address}]" if ":" in host.address else host.address
    return SshTarget(f"{host.user}@{address}:{host.port}", host.address, host.port, host.user, host.proxy)
