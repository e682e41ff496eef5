"""Whose turn it is: which batches of a worker its containers process now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from fanrun.fanout.plan import Batch


class Processed(NamedTuple):
    """How long a batch was processed, and how many containers ran meanwhile (0: their number changed)."""

    seconds: float
    containers: int


@dataclass
class _Slot:
    """One container after another: the batch that is processed, and those that wait, with their expected seconds."""

    batches: list[tuple[Batch, float]] = field(default_factory=list)
    entered: float = 0.0
    containers: int = 0

    def free_at(self, now: float) -> float:
        """Return when all its batches should have been processed; 0 if it has none."""
        if not self.batches:
            return 0.0
        first, *others = (seconds for _, seconds in self.batches)
        return max(self.entered + first, now) + sum(others)


class ContainerSlots:
    """The batches of one worker that were sent to its containers.

    Each slot processes its batches one at a time, in the order in which they came.  Batch.exclusive is processed while
    all other slots are empty.
    """

    def __init__(
        self, begin: Callable[[Batch], None], count: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Call `begin` with each batch when its turn comes; `count` is how many slots there are."""
        self._begin, self._clock, self._count = begin, clock, count
        self._change = threading.Condition()
        self._slots = [_Slot() for _ in range(count)]
        self._interrupted: list[Batch] = []
        self._exclusive: Batch | None = None

    @property
    def batches(self) -> list[Batch]:
        """The batches that are processed now, or were when the worker was lost."""
        with self._change:
            return self._interrupted or self._current()

    def resize(self, count: int) -> None:
        """Use so many slots from now on; what is in others stays there to its end."""
        with self._change:
            self._count = count
            self._slots += [_Slot() for _ in range(count - len(self._slots))]

    def enter(self, batch: Batch, expected: float = 0.0) -> int:
        """Add a batch that should take so many seconds to the slot that is free first; return its number.

        Its turn comes when those before it have left.  Wait while an exclusive batch is processed or waits, and with
        one until all others have left.
        """
        with self._change:
            self._change.wait_for(lambda: self._exclusive is None)
            if batch.exclusive:
                self._exclusive = batch
                self._change.wait_for(lambda: not any(slot.batches for slot in self._slots))
            now = self._clock()
            number = min(range(self._count), key=lambda each: self._slots[each].free_at(now))
            slot = self._slots[number]
            slot.batches.append((batch, expected))
            if len(slot.batches) == 1:
                self._next(slot)
            return number

    def interrupt(self) -> None:
        """Note that the worker failed with the batches that it processed."""
        with self._change:
            self._interrupted = self._interrupted or self._current()

    def leave(self, batch: Batch) -> Processed | None:
        """Remove a batch; return how it was processed, None if its turn had not come."""
        with self._change:
            slot = next(slot for slot in self._slots if any(each is batch for each, _ in slot.batches))
            had_turn = slot.batches[0][0] is batch
            slot.batches = [each for each in slot.batches if each[0] is not batch]
            is_same = slot.containers == self._count and self._exclusive is None
            processed = Processed(self._clock() - slot.entered, slot.containers if is_same else 0)
            if had_turn:
                self._next(slot)
            if self._exclusive is batch:
                self._exclusive = None
            self._change.notify_all()
        return processed if had_turn else None

    def _current(self) -> list[Batch]:
        return [slot.batches[0][0] for slot in self._slots if slot.batches]

    def _next(self, slot: _Slot) -> None:
        if slot.batches:
            slot.entered, slot.containers = self._clock(), self._count
            self._begin(slot.batches[0][0])
