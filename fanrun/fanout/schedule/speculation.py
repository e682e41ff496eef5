"""Speculation: whether a worker should process inputs that another worker has already."""

from __future__ import annotations

from collections.abc import Sequence

from fanrun.fanout.schedule.assignment import Assignment
from fanrun.fanout.schedule.throughput import USUAL_START, ThroughputModel

UNKNOWN_SECONDS = 5.0
"""Seconds that a batch is expected to take where nothing was measured of either worker."""
MARGIN, SPARE_SECONDS = 1.25, 0.5
"""A copy has to be faster by this factor and by so many seconds: predictions are inexact."""


def eta(model: ThroughputModel, assignments: Sequence[Assignment], target: Assignment, now: float) -> float:
    """Return when an assignment's results will have arrived, as a time of the monotonic clock.

    `assignments` are all of its worker, `target` among them.  Of a worker without measurements, and of a batch that is
    overdue, as much time is expected again as has passed.  Those before the target share the worker's containers.
    """
    before = 0.0
    for assignment in sorted(assignments, key=lambda each: each.since):
        load = assignment.weight
        begin = assignment.processing or assignment.since
        expected = model.seconds("process", load) + (0 if assignment.processing else model.seconds("push", load))
        left = expected - (now - begin)
        left = left if left > 0 else now - begin
        if assignment is target:
            wait = 0.0 if assignment.processing and model.containers > 1 else before / model.containers
            return now + wait + left + model.seconds("pull", load)
        before += left
    return now


def is_worth_copying(
    own: ThroughputModel, other: ThroughputModel, assignment: Assignment, assignments: Sequence[Assignment], now: float
) -> bool:
    """Return whether a copy on this worker (`own`) would arrive clearly before the assignment on the `other` worker."""
    seconds = _expected(own, other, assignment.weight)
    return eta(other, assignments, assignment, now) - now > MARGIN * seconds + SPARE_SECONDS


def is_worth_sending(own: ThroughputModel, other: ThroughputModel, load: int, busy: int) -> bool:
    """Return whether inputs are done clearly earlier if they are sent to this worker (`own`).

    The `other` worker has them in its cache.  `load` is their weight, `busy` the weight of all inputs that the other
    worker still has to process.
    """
    rate = other.rate()
    return not rate or busy / rate > MARGIN * _expected(own, other, load) + SPARE_SECONDS


def _expected(own: ThroughputModel, other: ThroughputModel, load: int) -> float:
    """Return how many seconds this worker (`own`) needs for inputs of that weight, from the push to the pull.

    If nothing was measured of it, the measurements of the `other` worker are used.
    """
    known = next((model for model in (own, other) if model.knows("process", "pull")), None)
    if known is None:
        return UNKNOWN_SECONDS
    # If all inputs so far were in the cache, no push was measured.
    return known.total(load) + (0 if known.knows("push") else USUAL_START["push"])
