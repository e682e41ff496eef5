"""The scheduler: workers that wait, on threads of their own."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

import pytest

from fanrun.fanout.plan import HANDLING, Batch
from fanrun.fanout.schedule import scheduler as schedulers
from fanrun.fanout.schedule.scheduler import Scheduler
from tests.unit.schedulers import (
    ALL,
    complete,
    dealt,
    keys,
    make,
    scripted,
    take,
)

MAX_WAIT_SECONDS = 20


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
    thread.join(MAX_WAIT_SECONDS)
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
    thread.join(MAX_WAIT_SECONDS)
    assert keys(taken[0]) == ["worker-1.0"]


def test_waiting_for_the_end() -> None:
    scheduler = dealt({"worker-1": 1})
    assert not scheduler.wait(0.01)
    threading.Timer(0.05, lambda: scheduler.claim([b"worker-1.0"])).start()
    assert scheduler.wait(MAX_WAIT_SECONDS)


def settle_by_chance(
    scheduler: Scheduler, name: str, chance: random.Random, *, may_be_lost: bool
) -> Iterator[list[bytes]]:
    """Work as one worker until nothing is left; yield the inputs that each batch settled."""
    while scheduler.left:
        while batch := scripted(
            scheduler, lambda waiting: chance.randint(1, 20) * (HANDLING + 1), lambda *_: chance.random() < 0.1
        ).next_batch(name):
            if may_be_lost and chance.random() < 0.05:
                scheduler.remove_worker(name)
            fate = {item.key: chance.random() for item in batch.inputs}
            won = scheduler.claim(key for key, each in fate.items() if each < 0.8 or (len(fate) == 1 and each < 0.9))
            gone = complete(scheduler, batch, {key for key, each in fate.items() if each > 0.9})
            yield [*won, *gone]
        scheduler.add_worker(name)


def test_many_workers_count_every_input_once() -> None:
    """Eight workers with two hands each; three are lost and come back, batches fail, come in parts, and are copied."""
    names = [f"worker-{n}" for n in range(8)]
    scheduler, lock, counted = dealt(dict.fromkeys(names, 200), retries=2), threading.Lock(), list[bytes]()

    def work(name: str, seed: int) -> None:
        for settled in settle_by_chance(scheduler, name, random.Random(seed), may_be_lost=name in names[:3]):
            with lock:
                counted.extend(settled)

    threads = [
        threading.Thread(target=work, args=(name, seed), daemon=True)
        for seed, name in enumerate(name for name in names for _ in range(2))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(MAX_WAIT_SECONDS)
        assert not thread.is_alive(), "a worker waits for ever"
    assert sorted(counted) == sorted(item.key for name in names for item in make(name, 200))
