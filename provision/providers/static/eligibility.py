"""Which machines can be taken into a fleet."""

from __future__ import annotations

import platform
from collections.abc import Collection

from fanrun.fleet.model import VERSION
from provision.hosts.bare_facts import find_missing
from provision.hosts.footprint import HostFacts

SAME = {"arm64": "aarch64", "amd64": "x86_64"}
"""Architectures by another name."""
SYSTEMS = ("debian", "ubuntu")


def find_problem(facts: HostFacts, ids: Collection[str]) -> str:
    """Return why a machine can't be taken into the fleet with these ids; "" if it can."""
    if facts.system.split(" ")[0] not in SYSTEMS:
        return f"runs {facts.system or 'an unknown system'}; Fanrun works on Debian and Ubuntu"
    ours = platform.machine().lower()
    if SAME.get(facts.machine, facts.machine) != SAME.get(ours, ours):
        return f"is {facts.machine}, but images are built on this machine, for {ours}; leave it out"
    if facts.sudo is None:
        return facts.sudo_problem
    if facts.noise:
        return facts.noise
    if facts.snap:
        return "has a Docker from snap, which can't read Fanrun's folders; `snap remove docker`, or leave it out"
    if facts.fleet and facts.id not in ids:
        options = "--provider=static --no-sudo" if facts.sudo == "none" else "--provider=static"
        return (
            f"belongs to fleet {facts.fleet} of {facts.owner}, who can free it by `fab down --fleet={facts.fleet}`; "
            f"if they are gone, `fab down {options} --fleet={facts.fleet} --host=… --take-over={facts.id}` does"
        )
    if facts.version > VERSION:
        return f"was set up by a newer Fanrun (version {facts.version}, this one knows {VERSION}); update this Fanrun"
    return find_missing(facts.bare) if facts.sudo == "none" else ""
