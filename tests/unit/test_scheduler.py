"""The scheduler: what a worker gets next, and when."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fanrun.fanout.plan import HANDLING, MAX_BYTES, MAX_INPUTS, Batch, weight
from fanrun.fanout.schedule.assignment import Assignment
from fanrun.fanout.schedule.scheduler import Scheduler
from tests.unit.schedulers import (
    ALL,
    ONE,
    ScriptedPolicy,
    Waits,
    ask,
    complete,
    dealt,
    keys,
    make,
    requeue,
    scripted,
    take,
)

# ---- what a worker gets


def test_its_own_come_first_then_the_richest_ones_last() -> None:
    scheduler = dealt({"worker-1": 2, "worker-2": 4, "worker-3": 3})
    taken = []
    for _ in range(4):
        batch = take(scheduler, "worker-1", ONE)
        scheduler.start_processing(batch)
        taken += keys(batch)
    assert taken == ["worker-1.0", "worker-1.1", "worker-2.3", "worker-2.2"]


def test_one_that_has_not_run_dry_takes_nothing_from_others() -> None:
    scheduler = dealt({"worker-1": 1, "worker-2": 4})
    batch = take(scheduler, "worker-1")
    with pytest.raises(Waits):
        ask(scheduler, "worker-1")
    scheduler.start_processing(batch)
    assert keys(take(scheduler, "worker-1", ONE)) == ["worker-2.3"]


@pytest.mark.parametrize("worth", [True, False])
def test_what_another_one_has_is_taken_if_it_is_worth_sending(worth: bool) -> None:
    """Inputs that both workers have, or none of them, are taken as without a cache."""
    policy = ScriptedPolicy()
    policy.sends(worth)
    scheduler, inputs = Scheduler(policy=policy), make("worker-1", 4)
    holders = {b"worker-1.3": ["worker-1", "worker-2"], b"worker-1.1": ["worker-1"], b"worker-1.0": ["worker-1"]}
    scheduler.deal({"worker-1": inputs, "worker-2": []}, holders)
    for taken in ("worker-1.3", "worker-1.2"):
        batch = take(scheduler, "worker-2", ONE)
        assert keys(batch) == [taken]
        scheduler.start_processing(batch)
    if worth:
        assert keys(take(scheduler, "worker-2", ONE)) == ["worker-1.1"]
        return
    with pytest.raises(Waits):
        ask(scheduler, "worker-2", ONE)
    assert keys(take(scheduler, "worker-1", ALL)) == ["worker-1.0", "worker-1.1"], "in their order"


def test_what_a_lost_worker_has_is_sent_to_others() -> None:
    policy = ScriptedPolicy()
    policy.sends(False)
    scheduler = Scheduler(policy=policy)
    scheduler.deal({"worker-1": make("worker-1", 2), "worker-2": []}, {b"worker-1.1": ["worker-1"]})
    scheduler.remove_worker("worker-1")
    assert keys(take(scheduler, "worker-2", ONE)) == ["worker-1.1"]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, 1),
        (HANDLING + 1, 1),
        (HANDLING + 2, 2),
        (4 * (HANDLING + 1), 4),
        (6 * (HANDLING + 1), 6),
        (7 * (HANDLING + 1), 10),
        (ALL, 10),
    ],
)
def test_a_batch_is_as_heavy_as_asked_for_and_takes_a_small_rest_along(most: int, expected: int) -> None:
    scheduler = dealt({"worker-1": 10})
    assert len(take(scheduler, "worker-1", most).inputs) == expected


def test_what_is_far_too_much_is_put_back_in_its_order() -> None:
    scheduler = dealt({"worker-1": 5, "worker-2": 1})
    first, batch = take(scheduler, "worker-1", ONE), take(scheduler, "worker-1")
    told: list[int] = []

    def most(waiting: int) -> int:
        told.append(waiting)
        return len(told) * weight(batch.inputs[0])

    waiting = scheduler.waiting()
    assert not requeue(scheduler, batch, lambda waiting: 2 * weight(batch.inputs[0])), "no more than twice too much"
    assert requeue(scheduler, batch, most)
    assert told == [waiting + sum(map(weight, batch.inputs))], "as if it had never been taken"
    assert scheduler.waiting() == told[0]
    assert not requeue(scheduler, batch, most), "it is nobody's any more"
    assert keys(take(scheduler, "worker-1", ONE)) == ["worker-1.1"]
    complete(scheduler, first, [item.key for item in first.inputs])


@pytest.mark.parametrize("how", ["lost", "copied", "stolen"])
def test_what_is_put_back(how: str) -> None:
    """Only what is still with nobody else, and where it came from."""
    scheduler = dealt({"worker-1": 3, "worker-2": 0, "worker-3": 0})
    if how == "stolen":
        batch = take(scheduler, "worker-2", 2 * (HANDLING + 1))
        assert requeue(scheduler, batch, lambda waiting: 0)
        assert sorted(keys(take(scheduler, "worker-1"))) == ["worker-1.0", "worker-1.1", "worker-1.2"]
        return
    batch = take(scheduler, "worker-1")
    if how == "lost":
        scheduler.remove_worker("worker-1")
        assert not requeue(scheduler, batch, lambda waiting: 0)
        assert not requeue(scheduler, take(scheduler, "worker-2"), lambda waiting: 0), "it was another's before"
        return
    copy = take(scheduler, "worker-2", worth=lambda assignment: True)
    assert not requeue(scheduler, copy, lambda waiting: 0)
    assert requeue(scheduler, batch, lambda waiting: 0)
    assert scheduler.waiting() == 0
    complete(scheduler, copy)
    assert {*keys(take(scheduler, "worker-1")), *keys(take(scheduler, "worker-3"))} == {
        "worker-1.0",
        "worker-1.1",
        "worker-1.2",
    }


def test_one_that_helps_out_takes_no_more_than_it_can() -> None:
    scheduler = dealt({"worker-1": 0, "worker-2": 10})
    batch = take(scheduler, "worker-1", 3 * (HANDLING + 1))
    assert keys(batch) == ["worker-2.9", "worker-2.8", "worker-2.7"]
    scheduler.start_processing(batch)
    scheduler.remove_worker("worker-2")
    assert keys(take(scheduler, "worker-1")) == [f"worker-2.{n}" for n in range(6, -1, -1)]


def test_a_batch_keeps_its_bounds() -> None:
    scheduler = Scheduler(policy=ScriptedPolicy())
    scheduler.deal({"many": make("many", MAX_INPUTS + 1, 0), "large": make("large", 3, MAX_BYTES // 2 + 1)})
    scheduler.deal({"huge": make("huge", 2, 3 * MAX_BYTES)})
    assert [len(take(scheduler, worker).inputs) for worker in ("many", "large", "huge")] == [MAX_INPUTS, 1, 1]


def test_a_copy_is_run_by_one_that_has_nothing_else_and_only_once() -> None:
    scheduler = dealt({"worker-1": 3, "worker-2": 0, "worker-3": 0})
    batch = take(scheduler, "worker-1", ONE)
    second = take(scheduler, "worker-1")
    scheduler.claim([second.inputs[0].key])
    asked: list[tuple[Assignment, list[Assignment]]] = []

    def worth(assignment: Assignment, assignments: Sequence[Assignment]) -> bool:
        asked.append((assignment, list(assignments)))
        return True

    copy = scripted(scheduler, lambda waiting: ALL, worth).next_batch("worker-2")
    assert keys(copy) == ["worker-1.2"], "what is not done of the latest one"
    ((assignment, assignments),) = asked
    assert (assignment.worker, assignment.batch, [each.batch for each in assignments]) == (
        "worker-1",
        second,
        [batch, second],
    )
    assert keys(take(scheduler, "worker-3", worth=lambda assignment: True)) == ["worker-1.0"], (
        "the other is copied already"
    )
    with pytest.raises(Waits):
        ask(scheduler, "worker-3", worth=lambda assignment: True)


def test_a_copy_that_fails_leaves_the_first_its_chance() -> None:
    scheduler = dealt({"worker-1": 1, "worker-2": 0, "worker-3": 0}, retries=1)
    batch = take(scheduler, "worker-1")
    copy = take(scheduler, "worker-2", worth=lambda assignment: True)
    assert complete(scheduler, copy, {b"worker-1.0"}) == {}
    with pytest.raises(Waits):
        ask(scheduler, "worker-2", worth=lambda assignment: True)
    with pytest.raises(Waits):
        ask(scheduler, "worker-3", tries=3)
    assert scheduler.claim([b"worker-1.0"])
    assert complete(scheduler, batch) == {}
    assert ask(scheduler, "worker-2") is None


def test_a_batch_that_a_copy_overtook_is_not_wanted() -> None:
    scheduler = dealt({"worker-1": 2, "worker-2": 0})
    batch = take(scheduler, "worker-1")
    copy = take(scheduler, "worker-2", worth=lambda assignment: True)
    scheduler.claim([b"worker-1.0"])
    assert scheduler.is_needed(batch)
    scheduler.claim([b"worker-1.1"])
    assert not scheduler.is_needed(batch)
    assert not scheduler.is_needed(copy)


def test_a_assignment_knows_since_when_it_is_processed() -> None:
    scheduler = dealt({"worker-1": 1, "worker-2": 0})
    batch, seen = take(scheduler, "worker-1"), list[float]()

    def worth(assignment: Assignment) -> bool:
        assert assignment.share == "worker-1"
        seen.append(assignment.processing - assignment.since)
        return False

    for _ in range(2):
        with pytest.raises(Waits):
            ask(scheduler, "worker-2", worth=worth)
        scheduler.start_processing(batch)
    assert seen[0] < 0 <= seen[1]
    scheduler.start_processing(Batch("nobody's", ()))


# ---- workers that wait
