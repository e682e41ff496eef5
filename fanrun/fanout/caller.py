"""Who started a run: a task at a terminal, or another program that wants to know of each input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Settled(NamedTuple):
    """An input that is done or has failed: its key, the paths of its results in DST, and why it has none."""

    key: bytes
    results: tuple[bytes, ...]
    reason: str
    worker: str


def _ignore(settled: Settled) -> None:
    pass


def _go_on() -> None:
    pass


@dataclass(frozen=True)
class Caller:
    """What a run tells and asks while it is at work, from several threads.

    `tell` gets each input as soon as it is done or has failed.  `check` raises RunUnfinished to end the run.
    """

    tell: Callable[[Settled], None] = _ignore
    check: Callable[[], None] = _go_on


TASK = Caller()
"""A task, which has a board for its progress and is interrupted by signals."""
