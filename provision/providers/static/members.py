"""Machines as hosts of the fleet."""

from __future__ import annotations

from dataclasses import dataclass

from fanrun.fleet.errors import UsageError
from fanrun.fleet.model import Host, Role
from provision.providers.static.user_ssh import SshTarget


@dataclass(frozen=True)
class Member:
    """A host of the fleet, and the way to its machine, which may be the hub's and a worker's at once."""

    host: Host
    target: SshTarget

    @property
    def place(self) -> str:
        """The machine, as known_hosts names it."""
        return self.target.place


def list_workers(machines: str) -> list[str]:
    """Return the workers as --host names them, with commas between; UsageError if there are none."""
    entries = [item.strip() for item in machines.split(",") if item.strip()]
    if not entries:
        raise UsageError(
            "provider static needs machines: --host user@address[:port], once for each, or `host:` in fabric.yaml"
        )
    return entries


def make_host(name: str, role: Role, target: SshTarget) -> Host:
    """Return the host of this name on a machine."""
    return Host(name, role, target.address, target.address, target.user, target.port, target.proxy)


def make_target(host: Host) -> SshTarget:
    """Return the way to a machine that is known from the fleet's folder alone."""
    address = f"[{host.address}]" if ":" in host.address else host.address
    return SshTarget(f"{host.user}@{address}:{host.port}", host.address, host.port, host.user, host.proxy)
