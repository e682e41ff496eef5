"""How fast a worker is, and what follows from it: the size of its next batch, and when a batch will be home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fanrun.fanout.plan import STAGE_CONCURRENCY, weight
from fanrun.fanout.schedule.scheduler import Assignment

FIRST_WEIGHT = 3 * 1024 * 1024
"""The weight of a worker's first batch: small, so that the work starts at once."""
MAX_GROWTH = 8
"""A batch is at most so many times as heavy as the heaviest before it that was cut by what was measured, or has been
processed: a few measurements may err."""
USUAL_START = {"push": 0.15, "process": 0.6, "pull": 0.15}
"""Seconds that a stage usually takes however small the batch: an rsync's first words, a container's start."""
MAX_START_FACTOR = 5
"""On a busy machine it may be so many times as long."""
LANES = {"push": 1, "process": 1, "pull": STAGE_CONCURRENCY}
"""How many batches share a stage's speed; containers run one at a time, pushes follow each other: see Line."""
USUAL_OVERHEAD, TAIL_OVERHEAD = 0.04, 0.1
"""What part of the speed may go into the slowest stage's starts: usually, and near the end, where batches get smaller
so that all end together."""
OTHER_STAGES_OVERHEAD = {USUAL_OVERHEAD: 0.04, TAIL_OVERHEAD: 0.3}
"""How much longer any other stage may then take than the slowest, for its own starts."""
MAX_UPLINK_SECONDS = 5.0
"""Seconds that a batch is on the line at the most: what waits to be processed must come in the meantime."""
REMEMBERED = 4
"""How many batches are remembered besides the lightest: a worker's speed changes."""


class StageCost(NamedTuple):
    """A stage's seconds for a batch = start + each * weight."""

    start: float
    each: float


class ThroughputModel:
    """How long one worker's stages take for a batch; weights are those of plan.weight."""

    def __init__(self) -> None:
        # Tuples, replaced and never changed: other workers' threads read them.
        self._seen: dict[str, tuple[tuple[int, float], ...]] = dict.fromkeys(USUAL_START, ())
        self._light: dict[str, tuple[int, float]] = {}
        self._costs: dict[str, StageCost] = {}
        self._heaviest = 0

    def note(self, stage: str, load: int, seconds: float) -> None:
        """A stage took so many seconds for a batch of that weight."""
        if stage == "process":
            self._heaviest = max(self._heaviest, load)
        new = max(load, 1), max(seconds, 1e-6)
        light = self._light[stage] = min(self._light.get(stage, new), new)
        seen = self._seen[stage] = (*self._seen[stage], new)[-REMEMBERED:]
        self._costs = {**self._costs, stage: _fit(stage, light, seen)}

    def knows(self, *stages: str) -> bool:
        """Whether a batch has been through all these stages."""
        return all(self._seen[stage] for stage in stages)

    def seconds(self, stage: str, load: int) -> float:
        """How long the stage will take for a batch of that weight; 0 while nothing is known."""
        line = self._costs.get(stage)
        return line.start + line.each * load if line else 0.0

    def total(self, load: int) -> float:
        """How long a batch of that weight is on its way if it waits for no other."""
        return sum(self.seconds(stage, load) for stage in USUAL_START)

    def rate(self) -> float:
        """Weight per second of the slowest stage; 0 until it is known what processing takes."""
        return 1 / self._each(self._slowest()) if self.knows("process") else 0.0

    def waits_for_line(self) -> bool:
        """Whether what is sent and brought home takes longer than what is done with it."""
        return self._slowest() not in ("", "process")

    def most(self, waiting: int, part: float) -> int:
        """The weight of the next batch, when so much waits and this worker's part of it is `part` (0 to 1).

        While the line alone is known, it is as much as that takes.
        """
        if not self._costs:
            self._heaviest = FIRST_WEIGHT
            return FIRST_WEIGHT
        if not self.knows("process"):
            return max(int(MAX_UPLINK_SECONDS / self._each("push")), 1)
        right = self.right(waiting, part)
        self._heaviest = max(self._heaviest, min(right, MAX_GROWTH * self._heaviest))
        return min(right, self._heaviest)

    def right(self, waiting: int, part: float) -> int:
        """The weight that a batch has if what was measured is certain.

        Near the end a worker takes half of its part at a time.
        """
        chosen = max(min(self._enough(USUAL_OVERHEAD), waiting * part / 2), self._enough(TAIL_OVERHEAD))
        chosen = min(
            [chosen, *(MAX_UPLINK_SECONDS / line.each for stage, line in self._costs.items() if stage != "process")]
        )
        return max(int(chosen), 1)

    def _slowest(self) -> str:
        """The stage that takes longest for a weight, all its lanes together; "" while nothing is known."""
        return max(self._costs, key=self._each, default="")

    def _each(self, stage: str) -> float:
        """Seconds per weight of a stage, all its lanes together."""
        return self._costs[stage].each / self._lanes(stage)

    def _lanes(self, stage: str) -> int:
        """How many batches shared the stage when it was measured: a first one had it to itself."""
        return LANES[stage] if len(self._seen[stage]) > 1 else 1

    def _enough(self, lost: float) -> float:
        """The weight from which on starts cost no more than that part of the speed."""
        slowest = self._slowest()
        start, each = self._costs[slowest]
        most = (1 + OTHER_STAGES_OVERHEAD[lost]) * self._each(slowest)
        others = (
            line.start / (self._lanes(stage) * most - line.each)
            for stage, line in self._costs.items()
            if stage != slowest
        )
        hidden = slowest == "push" and lost == TAIL_OVERHEAD  # it begins while the one before is still on the line
        return max([0.0 if hidden else start / (lost * each), *others])


def _fit(stage: str, lightest: tuple[int, float], seen: Sequence[tuple[int, float]]) -> StageCost:
    """The line through (weight, seconds) of the lightest batch and of the last ones.

    One of about the weight of the lightest tells nothing about the start.  Of a first container's time most is taken
    for it, within reason; of an rsync's no more than is usual.
    """
    usual, longest = USUAL_START[stage], USUAL_START[stage] * MAX_START_FACTOR
    light, shortest = lightest
    start = min(max(usual, shortest * 3 / 4), longest) if stage == "process" else usual
    load, seconds = (sum(each) / len(seen) for each in zip(*seen, strict=True))
    if load > 2 * light:
        each = max((seconds - shortest) / (load - light), 0.0)
        start = min(max(seconds - each * load, usual / 2), longest)
    # However long the start, a little must be the weight's.
    return StageCost(start, max(seconds - start, seconds / 10) / load)


def eta(model: ThroughputModel, assignments: Sequence[Assignment], wanted: Assignment, now: float) -> float:
    """When a assignment's results will be home, as a time of the monotonic clock; `assignments` are all of its worker.

    Of a worker that nothing is known of, and of a batch that is overdue, as much is expected again
    as has passed.
    """
    end = now
    for assignment in sorted(assignments, key=lambda each: each.since):
        load = sum(map(weight, assignment.batch.inputs))
        begun = assignment.processing or assignment.since
        expected = model.seconds("process", load) + (0 if assignment.processing else model.seconds("push", load))
        left = expected - (now - begun)
        end += left if left > 0 else now - begun
        if assignment is wanted:
            return end + model.seconds("pull", load)
    return now


def is_worth_copying(
    mine: ThroughputModel, its: ThroughputModel, assignment: Assignment, assignments: Sequence[Assignment], now: float
) -> bool:
    """Whether a copy of the assignment would be home before it, with a little to spare."""
    load = sum(map(weight, assignment.batch.inputs))
    own = mine.total(load) if mine.knows(*USUAL_START) else its.total(load) if its.knows(*USUAL_START) else 5.0
    return eta(its, assignments, assignment, now) - now > 1.25 * own + 0.5
