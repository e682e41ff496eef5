"""The scheduler: what a worker gets next, and when."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from fanrun.fanout.plan import HANDLING, MAX_BYTES, MAX_INPUTS, Batch, weight
from fanrun.fanout.schedule import scheduler as schedulers
from fanrun.fanout.schedule.assignment import Assignment
from fanrun.fanout.schedule.scheduler import Scheduler
from tests.unit.schedulers import (
    ALL,
    ONE,
    WORKERS,
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

PATIENCE = 20


@pytest.fixture(autouse=True, scope="module")
def look_again_at_once() -> Iterator[None]:
    """A waiting worker looks again at once; what wakes it otherwise has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedulers, "IDLE_SECONDS", 0)
        yield


def in_thread(scheduler: Scheduler, worker: str, most: int = ALL) -> tuple[threading.Thread, list[Batch | None]]:
    """Take in a thread of its own; the list gets what it took."""
    taken: list[Batch | None] = []
    thread = threading.Thread(
        target=lambda: taken.append(scripted(scheduler, lambda waiting: most).next_batch(worker)),
        daemon=True,
    )
    thread.start()
    return thread, taken


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


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, 1), (HANDLING + 1, 1), (HANDLING + 2, 2), (4 * (HANDLING + 1), 4), (6 * (HANDLING + 1), 6),
     (7 * (HANDLING + 1), 10), (ALL, 10)],
)  # fmt: skip
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
        ["worker-1.0", "worker-1.1"], ["worker-1.2", "worker-1.3", "worker-1.4"],
    ]  # fmt: skip


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
    assert complete(scheduler, batch, {b"worker-1.0", b"worker-1.1"}, final={b"worker-1.1"}) == {b"worker-1.1": 1}
    assert scheduler.left == 1


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


# ---- workers that wait


@pytest.mark.parametrize("how", ["claim", "fail", "unknown", "lose", "stop", "lose the waiting one"])
def test_a_waiting_worker_goes_on(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedulers, "IDLE_SECONDS", 3600)
    scheduler = dealt({"worker-1": 2, "worker-2": 0}, retries=1)
    batch = take(scheduler, "worker-1")
    thread, taken = in_thread(scheduler, "worker-2")
    thread.join(0.05)
    assert thread.is_alive(), "it waits: the batch in hand may come back"
    both = [item.key for item in batch.inputs]
    actions: dict[str, Callable[[], object]] = {
        "claim": lambda: scheduler.claim(both),
        "fail": lambda: complete(scheduler, batch, both),
        "unknown": lambda: complete(scheduler, batch),
        "lose": lambda: scheduler.remove_worker("worker-1"),
        "stop": scheduler.stop,
        "lose the waiting one": lambda: scheduler.remove_worker("worker-2"),
    }
    actions[how]()
    thread.join(PATIENCE)
    expected = {"fail": batch.inputs, "unknown": batch.inputs[:1], "lose": batch.inputs}
    assert [each.inputs if each else None for each in taken] == [expected.get(how)]


def test_what_waits_for_another_is_its_own_again_when_that_one_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedulers, "IDLE_SECONDS", 3600)
    scheduler = dealt({"worker-1": 1, "worker-2": 0}, retries=1)
    complete(scheduler, take(scheduler, "worker-1"), {b"worker-1.0"})
    thread, taken = in_thread(scheduler, "worker-1")
    thread.join(0.05)
    assert thread.is_alive(), "it failed here, and worker-2 is there"
    scheduler.remove_worker("worker-2")
    thread.join(PATIENCE)
    assert keys(taken[0]) == ["worker-1.0"]


def test_waiting_for_the_end() -> None:
    scheduler = dealt({"worker-1": 1})
    assert not scheduler.wait(0.01)
    threading.Timer(0.05, lambda: scheduler.claim([b"worker-1.0"])).start()
    assert scheduler.wait(PATIENCE)


def test_many_workers_count_every_input_once() -> None:
    """Eight workers with two hands each; three are lost and come back, batches fail, come in parts, and are copied."""
    names = [f"worker-{n}" for n in range(8)]
    scheduler, lock, fates = dealt(dict.fromkeys(names, 200), retries=2), threading.Lock(), list[bytes]()

    def work(name: str, seed: int) -> None:
        chance = random.Random(seed)
        while scheduler.left:
            while batch := scripted(
                scheduler, lambda waiting: chance.randint(1, 20) * (HANDLING + 1), lambda *_: chance.random() < 0.1
            ).next_batch(name):
                if name in names[:3] and chance.random() < 0.05:
                    scheduler.remove_worker(name)
                fate = {item.key: chance.random() for item in batch.inputs}
                won = scheduler.claim(
                    key for key, each in fate.items() if each < 0.8 or (len(fate) == 1 and each < 0.9)
                )
                gone = complete(scheduler, batch, {key for key, each in fate.items() if each > 0.9})
                with lock:
                    fates.extend([*won, *gone])
            scheduler.add_worker(name)

    threads = [
        threading.Thread(target=work, args=(name, seed), daemon=True)
        for seed, name in enumerate(name for name in names for _ in range(2))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a worker waits for ever"
    assert sorted(fates) == sorted(item.key for name in names for item in make(name, 200))


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
    complete(scheduler, batch, apart=[names[:1], names[1:]], suspects=names)
    alone = take(scheduler, "worker-1", worth=lambda assignment: True)
    if first == "its copy":
        complete(scheduler, copy, apart=[[key] for key in names], suspects=names)
    rest = take(scheduler, "worker-1")
    assert (keys(alone), keys(rest)) == ([os.fsdecode(names[0])], [os.fsdecode(key) for key in names[1:]])
    if first == "the batch":
        complete(scheduler, copy, apart=[[key] for key in names], suspects=names)
    with pytest.raises(Waits):
        ask(scheduler, "worker-2")
    assert [scheduler.tries(key) for key in names] == [2, 2, 2]
    assert scheduler.claim(names) == names


def test_where_an_input_has_failed() -> None:
    scheduler = dealt({"worker-1": 2, "worker-2": 0}, retries=5)
    batch = take(scheduler, "worker-1")
    one, two = (item.key for item in batch.inputs)
    complete(scheduler, batch, [one], apart=[[two]], suspects=[two])
    assert [scheduler.has_failed_elsewhere(key, "worker-2") for key in (one, two, b"three")] == [True, True, False]
    assert [scheduler.has_failed_elsewhere(key, "worker-1") for key in (one, two, b"three")] == [False, False, False]
    scheduler.remove_worker("worker-2")
    assert [scheduler.has_failed_elsewhere(key, "worker-1") for key in (one, two, b"three")] == [True, True, False]
