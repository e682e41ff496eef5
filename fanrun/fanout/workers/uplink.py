"""What is sent to one worker: a push at a time, the next one's first words during the last one's last."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LEAD = 0.9
"""Seconds before a push's expected end at which the next may begin: on a busy machine two rsyncs need so long until the
first byte of a file is sent."""


@dataclass
class _Transfer:
    """A push: when it began and when it should end, as times of the monotonic clock."""

    begun: float
    due: float


class Uplink:
    """Pushes follow each other with no gap in between, and do not share the line for longer than that takes."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._transfers: list[_Transfer] = []
        self._ended = 0.0

    def wait(self) -> None:
        """Wait until a push more would soon have the line to itself, at once if there is none."""
        with self._change:
            while self._transfers and (left := self._transfers[-1].due - LEAD - time.monotonic()) > 0:
                self._change.wait(left)

    @contextlib.contextmanager
    def transfer(self, expected: float) -> Iterator[Callable[[], float]]:
        """Push, and expect to have the line for so many seconds; yields what tells for how many it was so far."""
        with self._change:
            now = time.monotonic()
            transfer = _Transfer(now, max([now, *(each.due for each in self._transfers)]) + expected)
            self._transfers.append(transfer)
        try:
            yield lambda: time.monotonic() - max(transfer.begun, self._ended)
        finally:
            with self._change:
                self._transfers.remove(transfer)
                self._ended = time.monotonic()
                self._change.notify_all()
