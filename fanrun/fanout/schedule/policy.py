"""The scheduling policy: how much a worker gets at a time, by what was measured of all workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fanrun.fanout.schedule.assignment import Assignment
from fanrun.fanout.schedule.speculation import is_worth_copying, is_worth_sending
from fanrun.fanout.schedule.throughput import ThroughputModel

MAX_EXCESS = 2
"""A batch that weighs more than so many times what its worker should have is far too heavy."""


class Policy:
    """The throughput models of a run's workers, and what follows from them; the scheduler holds its lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._models: dict[str, ThroughputModel] = {}
        self._clock = clock

    def model(self, worker: str) -> ThroughputModel:
        """Return the model of a worker, a new one at first."""
        return self._models.setdefault(worker, ThroughputModel())

    def next_weight(self, worker: str, waiting: int, in_flight: int = 0) -> int:
        """Return the weight of the next batch of a worker that has so many, when the weight `waiting` is left."""
        return self.model(worker).next_weight(waiting, self._part(worker), in_flight)

    def is_far_too_heavy(self, worker: str, load: int, waiting: int) -> bool:
        """Return whether a batch of that weight should go back, by what a first container has told.

        Where the uplink takes longest it stays: to send it twice would cost most.
        """
        model = self.model(worker)
        if model.waits_for_uplink() or not model.knows("process"):
            return False
        return load > MAX_EXCESS * model.best_weight(waiting, self._part(worker))

    def is_worth_sending(self, worker: str, owner: str, load: int, busy: int) -> bool:
        """Return whether inputs of that weight should be sent to a worker, though their owner has them in its cache.

        `busy` is the weight of all inputs that the owner still has to process.
        """
        return is_worth_sending(self.model(worker), self.model(owner), load, busy)

    def is_worth_copying(self, worker: str, assignment: Assignment, assignments: Sequence[Assignment]) -> bool:
        """Return whether the worker should process a copy of an assignment; `assignments` are all of its worker."""
        other = self.model(assignment.worker)
        return is_worth_copying(self.model(worker), other, assignment, assignments, self._clock())

    def _part(self, worker: str) -> float:
        """Return this worker's part of all that is done in a second (0 to 1)."""
        rates = {name: model.rate() for name, model in self._models.items()}
        known = [rate for rate in rates.values() if rate]
        usual = sum(known) / len(known) if known else 1.0  # a worker without measurements is like the others
        return (rates[worker] or usual) / sum(rate or usual for rate in rates.values())
