"""The scheduler: inputs that failed, and batches of lost workers, are tried again."""

from __future__ import annotations

import os

import pytest

from fanrun.fanout.plan import HANDLING, MAX_BYTES
from fanrun.fanout.schedule.completion import Completion
from fanrun.fanout.schedule.scheduler import Scheduler
from tests.unit.schedulers import (
    ONE,
    WORKERS,
    ScriptedPolicy,
    Waits,
    ask,
    complete,
    dealt,
    keys,
    make,
    take,
)


def test_what_others_failed_at_comes_before_what_is_fresh_and_takes_fresh_ones_along() -> None:
    scheduler = dealt({"worker-1": 2, "worker-2": 3}, retries=1)
    first = take(scheduler, "worker-1")
    assert scheduler.claim([b"worker-1.0"]) == [b"worker-1.0"]
    assert complete(scheduler, first, {b"worker-1.1"}) == {}
    assert keys(take(scheduler, "worker-2", 2 * (HANDLING + 1))) == ["worker-1.1", "worker-2.0"]


def test_inputs_of_unknown_fate_are_halved_and_stand_alone() -> None:
    scheduler = dealt({"worker-1": 5, "worker-2": 5})
    assert complete(scheduler, take(scheduler, "worker-1", 5 * (HANDLING + 1))) == {}
    assert [keys(take(scheduler, "worker-1")) for _ in range(2)] == [
        ["worker-1.0", "worker-1.1"],
        ["worker-1.2", "worker-1.3", "worker-1.4"],
    ]


def test_a_failed_input_is_given_up_after_its_last_try_and_goes_round() -> None:
    scheduler = dealt({worker: int(worker == "worker-1") for worker in WORKERS}, retries=3)
    took = []
    for _ in range(4):
        for worker in WORKERS:
            try:
                batch = ask(scheduler, worker)
            except Waits:
                continue
            assert batch is not None
            took.append(worker)
            gone = complete(scheduler, batch, {b"worker-1.0"})
            break
    assert took == ["worker-1", "worker-2", "worker-3", "worker-1"], "each once before one has it twice"
    assert gone == {b"worker-1.0": 4}
    assert scheduler.left == 0


def test_a_final_failure_is_not_tried_again() -> None:
    scheduler = dealt({"worker-1": 2}, retries=9)
    batch = take(scheduler, "worker-1")
    assert scheduler.complete(batch, Completion({b"worker-1.0", b"worker-1.1"}, final={b"worker-1.1"})) == {
        b"worker-1.1": 1
    }
    assert scheduler.left == 1


def test_what_a_lost_worker_had_goes_to_the_others_and_back_to_it_at_the_last() -> None:
    scheduler = dealt({"worker-1": 3, "worker-2": 0})
    batch = take(scheduler, "worker-1")
    assert scheduler.remove_worker("worker-1") == 1
    assert ask(scheduler, "worker-1") is None
    scheduler.add_worker("worker-1")
    with pytest.raises(Waits):
        ask(scheduler, "worker-1")
    scheduler.remove_worker("worker-2")
    again = take(scheduler, "worker-1")
    assert (again.inputs, again.name == batch.name) == (batch.inputs, False)


def test_what_failed_at_a_worker_does_not_go_back_there_by_way_of_another() -> None:
    scheduler = dealt({"worker-1": 2, "worker-2": 1}, retries=3)
    first = take(scheduler, "worker-1")
    scheduler.claim([b"worker-1.1"])
    complete(scheduler, first, {b"worker-1.0"})
    second = take(scheduler, "worker-2")
    assert keys(second) == ["worker-1.0", "worker-2.0"]
    complete(scheduler, second)
    assert keys(ask(scheduler, "worker-1")) == ["worker-2.0"]
    with pytest.raises(Waits):
        ask(scheduler, "worker-1")


def test_what_lost_workers_had_is_no_larger_together_than_a_batch_may_be() -> None:
    scheduler = Scheduler(policy=ScriptedPolicy())
    scheduler.deal({"a": make("a", 4, MAX_BYTES), "b": []})
    for _ in range(4):
        take(scheduler, "a")
    scheduler.remove_worker("a")
    assert take(scheduler, "b").size == MAX_BYTES


def test_a_lot_that_was_settled_late_hides_no_other() -> None:
    scheduler = dealt({"worker-1": 2, "worker-2": 0}, retries=1)
    complete(scheduler, take(scheduler, "worker-1"))
    scheduler.claim([b"worker-1.0"])
    assert keys(take(scheduler, "worker-2")) == ["worker-1.1"]


@pytest.mark.parametrize("first", ["the batch", "its copy"])
def test_what_a_batch_may_have_failed_for_does_not_wait_for_its_copy(first: str) -> None:
    """The copy is likely to fail as well, and then nothing is tried twice for that."""
    scheduler = dealt({"worker-1": 3, "worker-2": 0}, retries=2)
    batch = take(scheduler, "worker-1")
    copy = take(scheduler, "worker-2", worth=lambda assignment: True)
    names = [item.key for item in batch.inputs]
    scheduler.complete(batch, Completion(apart=[names[:1], names[1:]], suspects=names))
    alone = take(scheduler, "worker-1", worth=lambda assignment: True)
    if first == "its copy":
        scheduler.complete(copy, Completion(apart=[[key] for key in names], suspects=names))
    rest = take(scheduler, "worker-1")
    assert (keys(alone), keys(rest)) == ([os.fsdecode(names[0])], [os.fsdecode(key) for key in names[1:]])
    if first == "the batch":
        scheduler.complete(copy, Completion(apart=[[key] for key in names], suspects=names))
    with pytest.raises(Waits):
        ask(scheduler, "worker-2")
    assert [scheduler.tries(key) for key in names] == [2, 2, 2]
    assert scheduler.claim(names) == names


def test_where_an_input_has_failed() -> None:
    scheduler = dealt({"worker-1": 2, "worker-2": 0}, retries=5)
    batch = take(scheduler, "worker-1")
    one, two = (item.key for item in batch.inputs)
    scheduler.complete(batch, Completion([one], apart=[[two]], suspects=[two]))
    assert [scheduler.has_failed_elsewhere(key, "worker-2") for key in (one, two, b"three")] == [True, True, False]
    assert [scheduler.has_failed_elsewhere(key, "worker-1") for key in (one, two, b"three")] == [False, False, False]
    scheduler.remove_worker("worker-2")
    assert [scheduler.has_failed_elsewhere(key, "worker-1") for key in (one, two, b"three")] == [True, True, False]


@pytest.mark.parametrize("end", ["failed", "lost"])
def test_what_waits_while_a_copy_of_it_ends_waits_once(end: str) -> None:
    scheduler = dealt({"worker-1": 2, "worker-2": 0, "worker-3": 0}, retries=3)
    batch = take(scheduler, "worker-1")
    copy = take(scheduler, "worker-2", worth=lambda assignment: True)
    assert keys(batch) == keys(copy)
    complete(scheduler, batch)  # nothing is known of its inputs, which are set apart from each other
    once = scheduler.waiting()
    if end == "failed":
        complete(scheduler, copy, {item.key for item in copy.inputs})
    else:
        scheduler.remove_worker("worker-2")
    assert scheduler.waiting() == once
    if end == "failed":
        with pytest.raises(Waits):  # it goes elsewhere
            ask(scheduler, "worker-2", ONE)
    assert [keys(take(scheduler, "worker-3", ONE)) for _ in range(2)] == [["worker-1.0"], ["worker-1.1"]]
