"""Words for people."""

from __future__ import annotations

from collections.abc import Iterable


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, as "1 worker" or "2 workers"; `plural` is needed where it is not noun + s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def fleets_here(names: Iterable[str]) -> str:
    """Return words on the fleets of these names, with the option for each, and a semicolon; "" if there are none."""
    known = ", ".join(f"{name} (`--fleet {name}`)" for name in sorted(names))
    return f"fleets here: {known}; " if known else ""
