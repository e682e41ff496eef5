"""The fleets that this machine knows."""

from __future__ import annotations

from pathlib import Path


def list_fleets(home: Path) -> str:
    """Return the names of the fleets in a home folder as a text, each with its option; "" if there are none."""
    names = sorted(path.parent.name for path in home.glob("*/fleet.json"))
    known = ", ".join(f"{name} (`--fleet {name}`)" for name in names)
    return f"fleets here: {known}" if known else ""
