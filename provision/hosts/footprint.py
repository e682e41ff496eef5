"""What Fanrun puts on a machine that was there before, and how it goes away again.

`WORK/fleet` says whose the machine is, as lines of "name value"; `WORK/added` what was added to it, as lines of "kind
what", each written before the thing itself: whatever is interrupted, nothing is there that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanrun.fleet.model import old_id
from fanrun.fleet.probe import WORK
from fanrun.fleet.script import script_argv
from fanrun.fleet.sudo import KINDS, NO_SUDO, NOT_INSTALLED, Sudo
from provision.hosts.bare_facts import NOTHING, BareFacts
from provision.hosts.scripts import host_argv, host_script
from provision.registry.names import REPOSITORY

ADDED = f"{WORK}/added"
HOME_FOLDER = ".fanrun-host"
"""The name of the work folder in the login's home, on a machine where sudo is not used."""
NEEDED = ("docker", "rsync", "python3")
"""The programs that such a machine must have."""
FACTS = host_script("as-root.sh", "machine-facts.sh")
CLAIM = host_script("as-root.sh", "fleet-id.sh", "claim-machine.sh")
REMOVE_HOME = host_script("fleet-id.sh", "remove-home.sh")
REMOVE_IMAGES = host_script("remove-own-images.sh")
DROP_KEY = host_script("drop-key.sh")
REMOVE = host_script("fleet-id.sh", "remove-footprint.sh")


@dataclass(frozen=True)
class HostFacts:
    """What a machine is and whose: `system` as "debian 13", `machine` as uname names it.

    `sudo` says how it is used there, None if the login may not use it so; `snap` is whether there is a Docker of that
    kind; `fleet`, `id`, `owner` and `user` are "" for one that is nobody's.  `version` is that of what Fanrun has
    written there. `noise` says what the login prints that breaks rsync, "" if it prints nothing. `bare` is known of a
    machine where sudo is not used, and `sudo_problem` why it can't be used.
    """

    system: str
    machine: str
    sudo: Sudo | None
    fleet: str = ""
    owner: str = ""
    roles: tuple[str, ...] = ()
    user: str = ""
    snap: bool = False
    id: str = ""
    version: int = 0
    noise: str = ""
    sudo_problem: str = NO_SUDO
    bare: BareFacts = NOTHING


def parse(text: str) -> HostFacts:
    """Read what look_argv's command printed."""
    found = dict(line.partition(" ")[::2] for line in text.splitlines())
    key, version = found.get("key", "").strip(), found.get("version", "")
    fleet_id = found.get("id", "").strip() or (old_id(key) if key else "")
    sudo = found.get("sudo", "")
    return HostFacts(
        system=found.get("os", "").strip(),
        machine=found.get("machine", ""),
        sudo=next((each for each in KINDS if each == sudo), None),
        fleet=found.get("fleet", ""),
        owner=found.get("owner", ""),
        roles=tuple(found.get("roles", "").split()),
        user=found.get("user", ""),
        snap="snap" in found,
        id=fleet_id,
        version=int(version) if version.isascii() and version.isdigit() else 0,
        sudo_problem=NOT_INSTALLED if sudo == "missing" else NO_SUDO,
        bare=BareFacts(
            found.get("login", ""),
            found.get("work", ""),
            tuple(found.get("missing", "").split()),
            found.get("docker", "").strip(),
            found.get("security", ""),
            "prepared" in found,
        ),
    )


def look_argv(sudo: Sudo = "free") -> list[str]:
    """Return the command whose output `parse` reads; with "password" it reads that from its standard input."""
    return script_argv(FACTS, sudo, WORK, HOME_FOLDER, *NEEDED)


@dataclass(frozen=True)
class Claim:
    """Which fleet takes a machine, for which roles; the first of the ids is the fleet's, `key` logs in to it."""

    fleet: str
    owner: str
    roles: str
    key: str
    ids: Sequence[str]


def claim_argv(claim: Claim, sudo: Sudo = "free", work: str = WORK) -> list[str]:
    """Return the command by which a login makes its machine a host of a fleet.

    With "password" it reads that from its standard input.
    """
    words = [claim.fleet, claim.owner, claim.roles, claim.key, " ".join(claim.ids)]
    return script_argv(CLAIM, sudo, work, *words, DROP_KEY)


def remove_home_argv(work: str, ids: Sequence[str]) -> list[str]:
    """Return the command that removes what is on a machine where sudo is not used, of a fleet with one of these ids."""
    return script_argv(REMOVE_HOME, work, " ".join(ids), DROP_KEY, REMOVE_IMAGES, REPOSITORY)


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
