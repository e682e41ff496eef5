"""Speculation: whether a second worker should process what is still in flight elsewhere."""

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
    load = assignment.weight
    known = next((model for model in (own, other) if model.knows(*USUAL_START)), None)
    seconds = known.total(load) if known else UNKNOWN_SECONDS
    return eta(other, assignments, assignment, now) - now > MARGIN * seconds + SPARE_SECONDS
