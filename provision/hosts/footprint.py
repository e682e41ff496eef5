"""What Fanrun puts on a machine that was there before, and how it goes away again.

`WORK/fleet` says whose the machine is, as lines of "name value"; `WORK/added` what was added to it, as lines of "kind
what", each written before the thing itself: whatever is interrupted, nothing is there that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanrun.fleet.model import old_id
from fanrun.fleet.probe import MARK, WORK
from fanrun.fleet.script import script_argv
from provision.hosts.scripts import host_argv, host_script

ADDED = f"{WORK}/added"
CLAIM = host_script("fleet-id.sh", "claim-machine.sh")
DROP_KEY = host_script("drop-key.sh")
REMOVE = host_script("fleet-id.sh", "remove-footprint.sh")


@dataclass(frozen=True)
class HostFacts:
    """What a machine is and whose: `system` as "debian 13", `machine` as uname names it.

    `sudo` is whether the login may use it without a password, `snap` whether there is a Docker of that kind; `fleet`,
    `id`, `owner` and `user` are "" for one that is nobody's.  `version` is that of what Fanrun has written there.
    `noise` says what the login prints that breaks rsync, "" if it prints nothing.
    """

    system: str
    machine: str
    sudo: bool
    fleet: str = ""
    owner: str = ""
    roles: tuple[str, ...] = ()
    user: str = ""
    snap: bool = False
    id: str = ""
    version: int = 0
    noise: str = ""


def parse(text: str) -> HostFacts:
    """Read what look_argv's command printed."""
    found = dict(line.partition(" ")[::2] for line in text.splitlines())
    key, version = found.get("key", "").strip(), found.get("version", "")
    fleet_id = found.get("id", "").strip() or (old_id(key) if key else "")
    return HostFacts(
        system=found.get("os", "").strip(),
        machine=found.get("machine", ""),
        sudo="sudo" in found,
        fleet=found.get("fleet", ""),
        owner=found.get("owner", ""),
        roles=tuple(found.get("roles", "").split()),
        user=found.get("user", ""),
        snap="snap" in found,
        id=fleet_id,
        version=int(version) if version.isascii() and version.isdigit() else 0,
    )


def look_argv() -> list[str]:
    """Return the command whose output `parse` reads."""
    return host_argv("machine-facts.sh", MARK)


def claim_argv(fleet: str, owner: str, roles: str, key: str, ids: Sequence[str]) -> list[str]:
    """Return the command by which a login makes its machine a host of a fleet; the first of the ids is the fleet's."""
    return script_argv(CLAIM, WORK, fleet, owner, roles, key, " ".join(ids), DROP_KEY)


def remove_argv(ids: Sequence[str]) -> list[str]:
    """Return the command that removes what was added to a machine of a fleet with one of these ids; for root."""
    return script_argv(REMOVE, WORK, " ".join(ids), DROP_KEY)


def note_packages_argv(packages: Sequence[str]) -> list[str]:
    """Return the command that notes packages before they are installed; for root."""
    return host_argv("note-packages.sh", WORK, *packages)


def note_file_argv(path: str) -> list[str]:
    """Return the command that notes a file before it is made, unless it is there; for root."""
    return host_argv("note-path.sh", ADDED, "file", path)


def note_tree_argv(path: str) -> list[str]:
    """Return the command that notes a folder that is Fanrun's with all that will be in it; for root."""
    return host_argv("note-path.sh", ADDED, "tree", path)


def note_service_argv(service: str) -> list[str]:
    """Return the command that notes a service before it is made; for root."""
    return host_argv("note-service.sh", ADDED, service)
