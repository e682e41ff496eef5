"""When an assignment's results are expected, and when a copy is worth it."""

from __future__ import annotations

import pytest

from fanrun.fanout.plan import HANDLING, Batch, Input, weight
from fanrun.fanout.schedule.assignment import Assignment
from fanrun.fanout.schedule.speculation import (
    MARGIN,
    SPARE_SECONDS,
    UNKNOWN_SECONDS,
    eta,
    is_worth_copying,
    is_worth_sending,
)
from fanrun.fanout.schedule.throughput import (
    USUAL_START,
    ThroughputModel,
)
from tests.unit.throughput_models import MB, even, measured

NOW = 1000.0


def assignment(megabytes: int, since: float, processing: float = 0.0) -> Assignment:
    item = Input(b"a", megabytes * MB - HANDLING)
    assert weight(item) == megabytes * MB
    return Assignment("worker-1", Batch("b", (item,)), since, processing)


def test_a_batch_is_home_after_all_that_is_before_it() -> None:
    model = measured({"push": (1, 0), "process": (2, 1), "pull": (3, 0)})
    first, second = assignment(4, NOW - 3, NOW - 2), assignment(2, NOW - 1)
    push, process, pull = (model.seconds(stage, 2 * MB) for stage in ("push", "process", "pull"))
    left = model.seconds("process", 4 * MB) - 2
    assert eta(model, [first], first, NOW) == pytest.approx(NOW + left + model.seconds("pull", 4 * MB))
    assert eta(model, [second, first], second, NOW) == pytest.approx(NOW + left + push + process - 1 + pull)


def test_of_what_is_overdue_as_much_is_expected_as_has_passed() -> None:
    model = even(1)
    late = assignment(1, NOW - 100, NOW - 90)
    assert eta(model, [late], late, NOW) == pytest.approx(NOW + 90, abs=1)
    unknown = assignment(1, NOW - 40)
    assert eta(ThroughputModel(), [unknown], unknown, NOW) == NOW + 40


@pytest.mark.parametrize(
    ("mine", "its", "megabytes", "since", "expected"),
    [
        (even(0.1), even(0.1), 4, NOW - 0.1, False),  # it has just begun, on one as quick
        (even(0.1), even(10), 4, NOW - 0.1, True),  # it has just begun, on one that is slow
        (even(10), even(0.1), 4, NOW - 0.1, False),  # the slow one lets the quick one be
        (even(0.1), even(10), 4, NOW - 39.5, False),  # the slow one is nearly there
        (even(0.1), even(0.1), 4, NOW - 600, True),  # it hangs
        (even(10), even(10), 4, NOW - 5, False),  # it is in the midst of it, on one as slow
        (ThroughputModel(), even(1), 4, NOW - 600, True),  # it hangs, and I am new
        (ThroughputModel(), even(1), 4, NOW - 0.1, False),
        (ThroughputModel(), ThroughputModel(), 4, NOW - 1, False),  # nobody knows anything
        (ThroughputModel(), ThroughputModel(), 4, NOW - 600, True),
    ],
)
def test_when_a_copy_is_worth_it(
    mine: ThroughputModel, its: ThroughputModel, megabytes: int, since: float, expected: bool
) -> None:
    found = assignment(megabytes, since, since)
    assert is_worth_copying(mine, its, found, [found], NOW) is expected


def test_inputs_are_sent_only_if_they_are_done_clearly_earlier_than_where_they_are() -> None:
    own = even(1)
    assert is_worth_sending(own, even(1), 2 * MB, busy=20 * MB)
    assert not is_worth_sending(own, even(1), 2 * MB, busy=3 * MB)
    assert not is_worth_sending(own, even(0.01), 2 * MB, busy=20 * MB)


def test_where_nothing_was_sent_yet_a_push_takes_its_usual_start() -> None:
    """All inputs so far were in the cache, so the speed of the line was not measured."""
    own = measured({"process": (0.6, 1), "pull": (0.2, 0.001)})
    seconds = own.total(2 * MB) + USUAL_START["push"]
    busy = int((MARGIN * seconds + SPARE_SECONDS) * even(1).rate())
    assert not is_worth_sending(own, even(1), 2 * MB, busy - MB // 100)
    assert is_worth_sending(own, even(1), 2 * MB, busy + MB // 100)


def test_a_new_worker_helps_one_that_has_everything() -> None:
    new = ThroughputModel()
    assert is_worth_sending(new, even(1), 2 * MB, busy=100 * MB)
    assert not is_worth_sending(new, even(1), 2 * MB, busy=2 * MB)
    assert is_worth_sending(new, ThroughputModel(), 2 * MB, busy=2 * MB), "of the other one as little is known"
    assert UNKNOWN_SECONDS > 2
