"""The uplink to one worker: one push at a time; the handshake of the next overlaps the end of the last."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LEAD = 0.9
"""Seconds before the expected end of a push when the next push may start.

On a busy machine a pair of rsync processes takes this long to start, and the line must not be idle meanwhile.
"""


@dataclass
class _Transfer:
    """A push: when it started and when it should end, as times of the monotonic clock."""

    started: float
    due: float


class Uplink:
    """Lets pushes follow each other without a gap, and share the network only during handshakes."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._transfers: list[_Transfer] = []
        self._ended = 0.0

    def wait(self) -> None:
        """Wait until another push would soon have the uplink to itself; return at once if there is none."""
        with self._change:
            while self._transfers and (left := self._transfers[-1].due - LEAD - time.monotonic()) > 0:
                self._change.wait(left)

    @contextlib.contextmanager
    def transfer(self, expected: float) -> Iterator[Callable[[], float]]:
        """Push, expecting to have the uplink for so many seconds; yield a function that returns the seconds so far."""
        with self._change:
            now = time.monotonic()
            transfer = _Transfer(now, max([now, *(each.due for each in self._transfers)]) + expected)
            self._transfers.append(transfer)
        try:
            yield lambda: time.monotonic() - max(transfer.started, self._ended)
        finally:
            with self._change:
                self._transfers.remove(transfer)
                self._ended = time.monotonic()
                self._change.notify_all()
