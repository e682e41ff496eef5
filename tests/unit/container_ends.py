"""Ends of containers, for tests of what is made of them."""

from __future__ import annotations

from fanrun.fanout.results.container_end import Ending

DIGEST = "0123456789abcdef" * 4
"""A hash, in hex."""


def ended(code: int, log: str = "some words\nlast words\n") -> Ending:
    """An end with room to spare."""
    return Ending(code, log, 1.0, 10**9, 10**6)
