r"""How fast a worker's stages are, and how heavy its next batch should be.

A batch goes through three stages s: push, process and pull.  Symbols, with their units:

    w      weight of a batch (bytes, and HANDLING for each input)
    t_s    time that stage s needs for a batch (seconds)
    a_s    start: the part of t_s that every batch needs, however light (seconds)
    b_s    cost: the part of t_s that grows with the weight (seconds per weight)
    n_s    batches that share the speed of stage s at the same time (LANES; the worker's containers)
    o      overhead: the part of the time that starts may take (0 to 1)
    W      weight of all inputs that wait;  p  the worker's part of the fleet's speed (0 to 1)
    n      containers at a time on the worker, or more if there may be more before long

Cost of a stage.  The time is linear in the weight:

    t_s(w) = a_s + b_s w                                                                     (1)

Let (w0, t0) be the lightest batch so far and (w, t) the mean of the last REMEMBERED ones.  If w > 2 w0, the line
through both gives b_s = (t - t0) / (w - w0) and a_s = t - b_s w.  Otherwise the two say nothing about the start: it
is then USUAL_START, and for a container at least three quarters of t0, as a first container does little else.  The
start is kept between half of USUAL_START and MAX_START_FACTOR times that, and b_s w is at least a tenth of t.

Speed.  n_s batches share a stage, so it needs c_s = b_s / n_s seconds per weight.  The stages overlap, so the slowest
stage m, with the greatest c_s, gives the speed of the worker: 1 / c_m.

Weight of a batch.  Starts take at most the part o of the slowest stage's time if a_m <= o b_m w, so

    w >= a_m / (o b_m)                                                                       (2)

Another stage s does not become the slowest by its starts if its time for each of its n_s lanes stays below that of
stage m, with a margin q (OTHER_STAGES_OVERHEAD): (a_s + b_s w) / n_s <= (1 + q) c_m w, so

    w >= a_s / (n_s (1 + q) c_m - b_s)                                                       (3)

w(o) is the least weight with (2) and (3).  A batch weighs w(USUAL_OVERHEAD).  Near the end all workers should finish
together, so each container takes half of its part of what waits, W p / 2 n, but not less than w(TAIL_OVERHEAD).
With several containers it weighs at most the part of one of them, W p / n: a start costs less than a container without
work.  No batch may be on the network for more than MAX_UPLINK_SECONDS: w <= MAX_UPLINK_SECONDS / b_s for push and pull.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fanrun.fanout.plan import STAGE_CONCURRENCY

FIRST_WEIGHT = 3 * 1024 * 1024
"""The weight of a worker's first batch: small, so that the work starts at once."""
MAX_GROWTH = 8
"""A batch is at most so many times as heavy as the heaviest one that was processed, or whose weight followed from
measurements: a few measurements may be wrong."""
USUAL_START = {"push": 0.15, "process": 0.6, "pull": 0.15}
"""Seconds that a stage usually takes for the lightest batch: rsync's handshake, a container's start."""
MAX_START_FACTOR = 5
"""On a busy machine a start may take so many times as long."""
LANES = {"push": 1, "pull": STAGE_CONCURRENCY}
"""How many batches share a stage's speed, besides the containers.  Pushes follow each other: see Uplink."""
USUAL_OVERHEAD, TAIL_OVERHEAD = 0.04, 0.1
"""The part of the time that the slowest stage's starts may take: usually, and near the end, where batches get lighter
so that all workers finish together."""
OTHER_STAGES_OVERHEAD = {USUAL_OVERHEAD: 0.04, TAIL_OVERHEAD: 0.3}
"""How much longer any other stage may then take than the slowest, for its own starts."""
MAX_UPLINK_SECONDS = 5.0
"""Seconds that a batch may be on the network: what follows it has to arrive in the meantime."""
REMEMBERED = 4
"""How many batches are remembered besides the lightest: a worker's speed changes."""


class StageCost(NamedTuple):
    """The time of a stage: `start` seconds, and `each` seconds per weight."""

    start: float
    each: float


class ThroughputModel:
    """The costs of one worker's stages, learned from its batches; weights are those of plan.weight.

    `containers` is how many of them run at the same time.
    """

    def __init__(self) -> None:
        self.containers = self._expected = 1
        # Tuples are replaced and never changed: other threads read them.
        self._seen: dict[str, tuple[tuple[int, float], ...]] = dict.fromkeys(USUAL_START, ())
        self._light: dict[str, tuple[int, float]] = {}
        self._costs: dict[str, StageCost] = {}
        self._heaviest = 0

    def observe(self, stage: str, load: int, seconds: float) -> None:
        """Learn that a stage took so many seconds for a batch of that weight."""
        if stage == "process":
            self._heaviest = max(self._heaviest, load)
        new = max(load, 1), max(seconds, 1e-6)
        light = self._light[stage] = min(self._light.get(stage, new), new)
        seen = self._seen[stage] = (*self._seen[stage], new)[-REMEMBERED:]
        self._costs = {**self._costs, stage: _fit(stage, light, seen)}

    def set_containers(self, count: int, expected: int) -> None:
        """Learn how many containers run at the same time, and how many may before long: batches are for as many."""
        self.containers, self._expected = count, expected

    def expects_more(self) -> bool:
        """Return whether there may be more containers before long."""
        return self._expected > self.containers

    def knows(self, *stages: str) -> bool:
        """Return whether a batch has been through all these stages."""
        return all(self._seen[stage] for stage in stages)

    def seconds(self, stage: str, load: int) -> float:
        """Return how long the stage will take for a batch of that weight; 0 while nothing is known."""
        cost = self._costs.get(stage)
        return cost.start + cost.each * load if cost else 0.0

    def total(self, load: int) -> float:
        """Return how long a batch of that weight takes through all stages if it waits for no other."""
        return sum(self.seconds(stage, load) for stage in USUAL_START)

    def rate(self) -> float:
        """Return the weight per second of the slowest stage; 0 until the cost of processing is known."""
        return 1 / self._each(self._slowest()) if self.knows("process") else 0.0

    def waits_for_uplink(self) -> bool:
        """Return whether pushing or pulling takes longer than processing."""
        return self._slowest() not in ("", "process")

    def next_weight(self, waiting: int, part: float, in_flight: int = 0) -> int:
        """Return the weight of the next batch.

        `waiting` is the weight of all inputs that wait, `part` this worker's part of the fleet's speed, `in_flight` the
        number of batches that it has.  While only the uplink's speed is known, a batch is as heavy as that allows once
        every container has one.
        """
        if not self._costs or (not self.knows("process") and in_flight < self.containers):
            self._heaviest = FIRST_WEIGHT
            share = int(waiting * part / (2 * self._expected))
            return FIRST_WEIGHT if self._expected == 1 else max(min(FIRST_WEIGHT, share), 1)
        if not self.knows("process"):
            # Where all inputs were in the worker's cache, none has been pushed.
            return max(int(MAX_UPLINK_SECONDS / self._each("push")), 1) if self.knows("push") else FIRST_WEIGHT
        best = self.best_weight(waiting, part)
        self._heaviest = max(self._heaviest, min(best, MAX_GROWTH * self._heaviest))
        return min(best, self._heaviest)

    def best_weight(self, waiting: int, part: float) -> int:
        """Return the weight that a batch should have if all measurements are right."""
        share = waiting * part / self._expected
        best = max(min(self._least_weight(USUAL_OVERHEAD), share / 2), self._least_weight(TAIL_OVERHEAD))
        if self._expected > 1:
            best = min(best, share)
        limits = (MAX_UPLINK_SECONDS / cost.each for stage, cost in self._costs.items() if stage != "process")
        return max(int(min([best, *limits])), 1)

    def _slowest(self) -> str:
        """Return the stage with the greatest cost per weight; "" while nothing is known."""
        return max(self._costs, key=self._each, default="")

    def _each(self, stage: str) -> float:
        """Return a stage's seconds per weight, all its lanes together."""
        return self._costs[stage].each / self._lanes(stage)

    def _lanes(self, stage: str) -> int:
        """Return how many batches shared the stage when it was measured: a first one had it to itself."""
        if stage == "process":
            return self.containers
        return LANES[stage] if len(self._seen[stage]) > 1 else 1

    def _least_weight(self, overhead: float) -> float:
        """Return the least weight that satisfies (2) and (3)."""
        slowest = self._slowest()
        start, each = self._costs[slowest]
        limit = (1 + OTHER_STAGES_OVERHEAD[overhead]) * self._each(slowest)
        others = (
            cost.start / (self._lanes(stage) * limit - cost.each)
            for stage, cost in self._costs.items()
            if stage != slowest
        )
        # Near the end a push starts while the one before it is still on the uplink.
        is_hidden = slowest == "push" and overhead == TAIL_OVERHEAD
        return max([0.0 if is_hidden else start / (overhead * each), *others])


def _fit(stage: str, lightest: tuple[int, float], seen: Sequence[tuple[int, float]]) -> StageCost:
    """Fit (1) to the (weight, seconds) of the lightest batch and of the last ones."""
    usual, longest = USUAL_START[stage], USUAL_START[stage] * MAX_START_FACTOR
    light, shortest = lightest
    start = min(max(usual, shortest * 3 / 4), longest) if stage == "process" else usual
    load, seconds = (sum(each) / len(seen) for each in zip(*seen, strict=True))
    if load > 2 * light:
        each = max((seconds - shortest) / (load - light), 0.0)
        start = min(max(seconds - each * load, usual / 2), longest)
    return StageCost(start, max(seconds - start, seconds / 10) / load)
