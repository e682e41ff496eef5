"""Fleets of the same name that are not this one: what they are, and whether they prevent `up`."""

from __future__ import annotations

import time

from fanrun.fleet.errors import (
    UsageError,
)
from fanrun.fleet.text import counted
from provision.providers.base import OtherFleet, Provider


def refuse_others(provider: Provider, taken: str = "") -> None:
    """Raise UsageError where hosts of another fleet of this name, but not with the id `taken`, prevent `up`."""
    others = [other for other in provider.others() if other.id != taken and provider.excludes(other)]
    if others:
        raise UsageError(
            f"hosts of another fleet have this name: {'; '.join(map(describe, others))}.  Use the folder that knows "
            f"them, choose another name with --fleet, or end them first with `fab up --take-over={others[0].id}`"
        )


def describe(other: OtherFleet, now: float | None = None) -> str:
    """Say in words what another fleet is: id, owner, hosts, age, and where."""
    age = (now or time.time()) - other.created if other.created is not None else None
    words = [f"id {other.id}", f"of {other.owner}" if other.owner else "of an unknown owner"]
    count = counted(len(other.hosts), "host")
    words.append(f"{count} ({', '.join(other.hosts)})" if 0 < len(other.hosts) <= 4 else count)
    words += other.rest
    words += [f"made {_ago(age)} ago"] if age is not None else []
    words += [other.where] if other.where else []
    words += [f"begun in {other.folder}"] if other.folder else []
    return ", ".join(words)


def _ago(seconds: float) -> str:
    """Say a time span in words: "50 s", "12 min", "3 h", "2 days"."""
    for most, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < most:
            return f"{max(0, seconds) // unit:.0f} {name}"
    return f"{seconds // 86400:.0f} days"
