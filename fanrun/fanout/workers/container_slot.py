"""The container's turn: which batch of a worker its container processes now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fanrun.fanout.plan import Batch


class ContainerSlot:
    """The batches of one worker that were sent to its container; it processes them one at a time, in that order."""

    def __init__(self, begin: Callable[[Batch], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Call `begin` with each batch when its turn comes."""
        self._begin, self._clock = begin, clock
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        self._interrupted: Batch | None = None
        self._entered = 0.0

    @property
    def batch(self) -> Batch | None:
        """The batch that is processed now, or was when the worker was lost."""
        with self._lock:
            return self._batches[0] if self._batches else self._interrupted

    def enter(self, batch: Batch) -> None:
        """Add a batch; its turn comes when those before it have left."""
        with self._lock:
            self._batches.append(batch)
            if self._batches[0] is batch:
                self._next()

    def interrupt(self) -> None:
        """Note that the worker failed with the batch that it processed."""
        with self._lock:
            self._interrupted = self._interrupted or self._batches[0]

    def leave(self, batch: Batch) -> float | None:
        """Remove a batch; return the seconds that it was processed, None if its turn had not come."""
        with self._lock:
            had_turn = self._batches[0] is batch
            self._batches.remove(batch)
            seconds = self._clock() - self._entered
            if had_turn:
                self._next()
        return seconds if had_turn else None

    def _next(self) -> None:
        if self._batches:
            self._entered = self._clock()
            self._begin(self._batches[0])
