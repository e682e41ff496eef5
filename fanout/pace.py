"""How fast a worker is, and what follows from it: the size of its next batch, and when a batch will be home."""

from __future__ import annotations

from collections.abc import Sequence

from fanout.deck import Flight
from fanout.plan import weight

FIRST = 3 * 1024 * 1024
"""The weight of a worker's first batch: small, so that the work starts at once."""
GROWTH = 4
"""A batch is at most so many times as heavy as the heaviest before it: a few measurements may err."""
START = {"push": 0.15, "process": 0.6, "pull": 0.15}
"""Seconds that a stage takes however small the batch, at the least."""
WELL, LITTLE = 0.05, 0.25
"""The part of a stage's time that its start may take: of a batch in the middle of a run, and of one near its end."""
MEMORY = 8
"""How many batches are remembered: a worker's speed changes."""
ALIKE = 0.2
"""Batches whose weights differ by less than this part of their mean tell nothing of the stage's start."""


class Pace:
    """One worker's stages, each measured as seconds = start + each * weight; weights are those of plan.weight."""

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
        start, each = self._line(stage)
        return start + each * load if self._seen[stage] else 0.0

    def total(self, load: int) -> float:
        """How long a batch of that weight is on its way if it waits for no other."""
        return sum(self.seconds(stage, load) for stage in START)

    def rate(self) -> float:
        """Weight per second of the slowest stage; 0 while nothing is known."""
        slowest = max((self._line(stage)[1] for stage in START if self._seen[stage]), default=0.0)
        return 1 / slowest if slowest else 0.0

    def most(self, waiting: int, part: float) -> int:
        """The weight of the next batch, when so much waits and this worker's part of it is `part` (0 to 1).

        The slowest stage decides: a batch is so heavy that the stage's start is a small part of its time.
        Near the end a worker takes half of its part at a time, so that all end together.
        """
        if not any(self._seen.values()):
            self._heaviest = max(self._heaviest, FIRST)
            return FIRST
        lines = [self._line(stage) for stage in START if self._seen[stage]]
        start, each = max(lines, key=lambda line: line[0] + line[1] * self._heaviest)
        enough, least = start / WELL / each, start / LITTLE / each
        chosen = max(min(enough, waiting * part / 2), min(least, max(waiting * part, least / 2)))
        self._heaviest = max(self._heaviest, int(min(chosen, GROWTH * self._heaviest)))
        return max(int(min(chosen, self._heaviest)), 1)

    def _line(self, stage: str) -> tuple[float, float]:
        """(seconds to start, seconds per weight) of a stage, by least squares over what was seen of late."""
        seen = self._seen[stage]
        if not seen:
            return START[stage], 0.0
        count = len(seen)
        mean_load = sum(load for load, _ in seen) / count
        mean = sum(seconds for _, seconds in seen) / count
        spread = sum((load - mean_load) ** 2 for load, _ in seen)
        if spread < count * (ALIKE * mean_load) ** 2:  # no line to be seen: the usual start, the rest is the weight's
            each = max(mean - START[stage], mean / 10) / mean_load
        else:
            each = sum((load - mean_load) * (seconds - mean) for load, seconds in seen) / spread
            each = max(each, mean / 20 / mean_load)
        return max(mean - each * mean_load, START[stage]), max(each, 1e-12)


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
