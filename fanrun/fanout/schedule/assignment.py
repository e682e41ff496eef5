"""Assignments: the batches that are with workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fanrun.fanout.plan import Batch, weight


@dataclass
class Assignment:
    """A batch that is with a worker.

    `since` and `processing` are times of the monotonic clock: when the worker got the batch, and when it began to
    process it (0: not yet).  `share` is the worker whose share the inputs came from, "" for a speculative copy
    (`is_copy`) and for inputs that were tried before.
    """

    worker: str
    batch: Batch
    since: float
    processing: float = 0.0
    share: str = ""
    is_copy: bool = False

    @property
    def weight(self) -> int:
        """The weight of all its inputs."""
        return sum(map(weight, self.batch.inputs))


class InFlight:
    """All assignments by the name of their batch, and how many assignments each input is part of."""

    def __init__(self) -> None:
        self._assignments: dict[str, Assignment] = {}
        self._count: Counter[bytes] = Counter()
        self._copies: Counter[bytes] = Counter()

    def __iter__(self) -> Iterator[Assignment]:
        """Iterate over the assignments, the earliest first."""
        return iter(self._assignments.values())

    def start(self, assignment: Assignment) -> None:
        """Add an assignment."""
        self._assignments[assignment.batch.name] = assignment
        self._count.update(item.key for item in assignment.batch.inputs)
        if assignment.is_copy:
            self._copies.update(item.key for item in assignment.batch.inputs)

    def end(self, batch: Batch) -> Assignment | None:
        """Remove the assignment of a batch and return it; None if there is none."""
        assignment = self._assignments.pop(batch.name, None)
        if assignment is not None:
            self._count.subtract(item.key for item in batch.inputs)
            if assignment.is_copy:
                self._copies.subtract(item.key for item in batch.inputs)
        return assignment

    def get(self, batch: Batch) -> Assignment | None:
        """Return the assignment of a batch; None if there is none."""
        return self._assignments.get(batch.name)

    def of(self, worker: str) -> list[Assignment]:
        """Return the assignments of a worker, the earliest first."""
        return [each for each in self._assignments.values() if each.worker == worker]

    def count(self, key: bytes) -> int:
        """Return how many assignments an input is part of."""
        return self._count[key]

    def has(self, key: bytes, *, besides_copies: bool = False) -> bool:
        """Return whether an input is with a worker, or with one `besides_copies`."""
        return self._count[key] > (self._copies[key] if besides_copies else 0)
