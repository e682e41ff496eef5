"""Words for people."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, as "1 worker" or "2 workers"; `plural` is needed where it is not noun + s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
