"""How fast a worker is, and what follows from it: the size of its next batch, and when a batch will be home."""

from __future__ import annotations

from collections.abc import Sequence

from fanout.deck import Flight
from fanout.plan import ABREAST, weight

FIRST = 3 * 1024 * 1024
"""The weight of a worker's first batch: small, so that the work starts at once."""
GROWTH = 8
"""A batch is at most so many times as heavy as the heaviest before it: a few measurements may err."""
START = {"push": 0.15, "process": 0.6, "pull": 0.15}
"""Seconds that a stage takes however small the batch: an rsync's first words, a container's start."""
LANES = {"push": ABREAST, "process": 1, "pull": ABREAST}
"""How many batches share a stage's speed; containers run one at a time."""
GOOD = {"push": 5.0, "process": 8.0, "pull": 5.0}
"""Seconds that a batch should be in the slowest stage: many times its start, and yet few of the run's."""
LEAST = {"push": 1.25, "process": 4.0, "pull": 1.25}
"""Seconds that it should be at the least, near the end, where batches get smaller so that all end together."""
MEMORY = 4
"""How many batches are remembered: a worker's speed changes."""


class Pace:
    """One worker's stages, each measured as seconds = its start + each * weight; weights are those of plan.weight."""

    def __init__(self) -> None:
        # Tuples, replaced and never changed: other workers' threads read them.
        self._seen: dict[str, tuple[tuple[int, float], ...]] = dict.fromkeys(START, ())
        self._heaviest = 0

    def note(self, stage: str, load: int, seconds: float) -> None:
        """A stage took so many seconds for a batch of that weight."""
        self._seen[stage] = (*self._seen[stage], (max(load, 1), seconds))[-MEMORY:]

    def known(self) -> bool:
        """Whether a batch has been through every stage."""
        return all(self._seen.values())

    def seconds(self, stage: str, load: int) -> float:
        """How long the stage will take for a batch of that weight; 0 while nothing is known."""
        return START[stage] + self._each(stage) * load if self._seen[stage] else 0.0

    def total(self, load: int) -> float:
        """How long a batch of that weight is on its way if it waits for no other."""
        return sum(self.seconds(stage, load) for stage in START)

    def rate(self) -> float:
        """Weight per second of the slowest stage; 0 while nothing is known."""
        stage = self._slowest()
        return LANES[stage] / self._each(stage) if stage else 0.0

    def most(self, waiting: int, part: float) -> int:
        """The weight of the next batch, when so much waits and this worker's part of it is `part` (0 to 1).

        Near the end a worker takes half of its part at a time.
        """
        stage = self._slowest()
        if not stage:
            self._heaviest = FIRST
            return FIRST
        good = GOOD[stage] / self._each(stage)
        chosen = max(min(good, waiting * part / 2), LEAST[stage] / self._each(stage))
        self._heaviest = max(self._heaviest, int(min(chosen, GROWTH * self._heaviest)))
        return max(int(min(chosen, self._heaviest)), 1)

    def _slowest(self) -> str:
        """The stage that takes longest for a weight, "" while nothing is known."""
        known = [stage for stage in START if self._seen[stage]]
        return max(known, key=lambda stage: self._each(stage) / LANES[stage], default="")

    def _each(self, stage: str) -> float:
        """Seconds per weight of a stage, by what was seen of late; of a short batch a little must be the weight's."""
        seen = self._seen[stage]
        spent = sum(max(seconds - START[stage], seconds / 10, 1e-6) for _, seconds in seen)
        return spent / sum(load for load, _ in seen)


def home(pace: Pace, flights: Sequence[Flight], wanted: Flight, now: float) -> float:
    """When a flight's results will be home, as a time of the monotonic clock; `flights` are all of its worker.

    Of a worker that nothing is known of, and of a batch that is overdue, as much is expected again
    as has passed.
    """
    end = now
    for flight in sorted(flights, key=lambda each: each.since):
        load = sum(map(weight, flight.batch.inputs))
        begun = flight.processing or flight.since
        expected = pace.seconds("process", load) + (0 if flight.processing else pace.seconds("push", load))
        left = expected - (now - begun)
        end += left if left > 0 else now - begun
        if flight is wanted:
            return end + pace.seconds("pull", load)
    return now


def worth(mine: Pace, its: Pace, flight: Flight, flights: Sequence[Flight], now: float) -> bool:
    """Whether a copy of the flight would be home before it, with a little to spare."""
    load = sum(map(weight, flight.batch.inputs))
    own = mine.total(load) if mine.known() else its.total(load) if its.known() else 5.0
    return home(its, flights, flight, now) - now > 1.25 * own + 0.5
