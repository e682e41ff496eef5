"""The deck: whatever workers do, no batch is lost and none counts twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fanout.deck import Deck
from fanout.plan import Batch, Input

WORKERS = ["worker-1", "worker-2", "worker-3"]
PATIENCE = 20
workers = st.sampled_from(WORKERS)


def make(worker: str, counts: list[int]) -> list[Batch]:
    return [
        Batch(f"{worker}.{n}", tuple(Input(b"%s.%d.%d" % (worker.encode(), n, i), 1) for i in range(count)))
        for n, count in enumerate(counts)
    ]


def in_thread(deck: Deck, worker: str) -> tuple[threading.Thread, list[Batch | None]]:
    """Take in a thread of its own; the list gets what it took."""
    taken: list[Batch | None] = []
    thread = threading.Thread(target=lambda: taken.append(deck.take(worker)), daemon=True)
    thread.start()
    return thread, taken


def take(deck: Deck, worker: str) -> Batch | None:
    """Take what must be there, or None, at once."""
    thread, taken = in_thread(deck, worker)
    thread.join(5)
    assert taken, f"{worker} waits, and nobody can give it anything"
    return taken[0]


class DeckMachine(RuleBasedStateMachine):
    """Takes, settles, loses and stops in any order, beside a model of what is where."""

    @initialize(counts=st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=3, max_size=3))
    def deal(self, counts: list[list[int]]) -> None:
        dealt = {worker: make(worker, found) for worker, found in zip(WORKERS, counts, strict=True)}
        self.deck = Deck(dealt)
        self.waiting = {batch.name for batches in dealt.values() for batch in batches}
        self.in_hand: dict[str, list[Batch]] = {worker: [] for worker in WORKERS}
        self.taken_away: list[tuple[str, Batch]] = []
        self.counted: list[Input] = []
        self.all = {item for batches in dealt.values() for batch in batches for item in batch.inputs}
        self.open = {batch.name: batch.inputs for batches in dealt.values() for batch in batches}
        self.stopped = False

    def would_wait(self, worker: str) -> bool:
        busy = any(self.in_hand.values())
        return not self.stopped and worker in self.in_hand and not self.waiting and busy

    @rule(worker=workers)
    def take(self, worker: str) -> None:
        if self.would_wait(worker):
            return
        batch = take(self.deck, worker)
        if self.stopped or worker not in self.in_hand or not self.waiting:
            assert batch is None
        else:
            assert batch is not None
            self.waiting.remove(batch.name)
            self.in_hand[worker].append(batch)

    @precondition(lambda self: any(self.in_hand.values()))
    @rule(data=st.data(), halves=st.booleans())
    def settle(self, data: st.DataObject, halves: bool) -> None:
        worker = data.draw(st.sampled_from([name for name, held in self.in_hand.items() if held]))
        batch = data.draw(st.sampled_from(self.in_hand[worker]))
        again = batch.split() if halves and len(batch.inputs) > 1 else ()
        assert self.deck.settle(worker, batch, again)
        self.in_hand[worker].remove(batch)
        self.waiting |= {part.name for part in again}
        del self.open[batch.name]
        self.open |= {part.name: part.inputs for part in again}
        self.counted += () if again else batch.inputs
        assert not self.deck.settle(worker, batch), "it was settled already"

    @precondition(lambda self: self.taken_away)
    @rule(data=st.data())
    def settle_what_was_taken_away(self, data: st.DataObject) -> None:
        worker, batch = data.draw(st.sampled_from(self.taken_away))
        assert not self.deck.settle(worker, batch, batch.split())

    @rule(worker=workers)
    def settle_what_is_not_there(self, worker: str) -> None:
        assert not self.deck.settle(worker, Batch("nobody's", ()))
        assert not self.deck.settle("nobody", Batch("nobody's", ()))

    @rule(worker=workers)
    def lose(self, worker: str) -> None:
        held = self.in_hand.pop(worker, [])
        count = self.deck.lose(worker)
        assert count >= len(held)
        self.taken_away += [(worker, batch) for batch in held]
        self.waiting |= {batch.name for batch in held}
        if not self.in_hand:
            self.waiting.clear()  # there is nobody to deal them to

    @precondition(lambda self: not self.stopped)
    @rule(chance=st.integers(0, 9))
    def stop(self, chance: int) -> None:
        if chance == 0:
            self.deck.stop()
            self.stopped = True

    @invariant()
    def every_input_is_settled_or_open_and_once(self) -> None:
        still_open = [item for inputs in self.open.values() for item in inputs]
        assert sorted([*self.counted, *still_open]) == sorted(self.all)

    def teardown(self) -> None:
        """Those who are left come to an end, with every input counted."""
        if self.stopped or not self.in_hand:
            return
        for worker in self.in_hand:
            while not self.would_wait(worker) and (batch := take(self.deck, worker)) is not None:
                self.waiting.remove(batch.name)
                self.in_hand[worker].append(batch)
            for batch in self.in_hand[worker]:
                assert self.deck.settle(worker, batch)
                self.counted += batch.inputs
            self.in_hand[worker] = []
        assert sorted(self.counted) == sorted(self.all)
        assert [take(self.deck, worker) for worker in WORKERS] == [None] * 3


TestDeck = DeckMachine.TestCase
TestDeck.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_own_batches_come_first_then_the_richest_ones_last() -> None:
    own, rich, poor = make("worker-1", [1, 1]), make("worker-2", [1, 1, 1]), make("worker-3", [1])
    deck = Deck({"worker-1": own, "worker-2": rich, "worker-3": poor})
    assert [take(deck, "worker-1") for _ in range(4)] == [*own, rich[2], rich[1]]


def test_parts_of_a_batch_are_done_before_the_next_batch() -> None:
    first, second = make("worker-1", [2, 1])
    deck = Deck({"worker-1": [first, second]})
    taken = take(deck, "worker-1")
    assert taken == first
    assert deck.settle("worker-1", first, first.split())
    assert [take(deck, "worker-1") for _ in range(3)] == [*first.split(), second]


def test_what_a_lost_worker_had_is_shared_by_the_others() -> None:
    lost = make("worker-1", [1] * 5)
    deck = Deck({"worker-1": lost, "worker-2": [], "worker-3": []})
    assert take(deck, "worker-1") == lost[0]
    assert deck.lose("worker-1") == 5
    assert deck.lose("worker-1") == 0
    assert take(deck, "worker-1") is None
    assert [take(deck, "worker-2"), take(deck, "worker-3")] == [lost[0], lost[1]]
    assert sorted(b.name for w in ("worker-2", "worker-3", "worker-2") if (b := take(deck, w))) == [
        batch.name for batch in lost[2:]
    ]


@pytest.mark.parametrize("how", ["settle", "settle again", "lose", "stop", "lose the waiting one"])
def test_a_waiting_worker_goes_on(how: str) -> None:
    (batch,) = make("worker-1", [2])
    deck = Deck({"worker-1": [batch], "worker-2": []})
    assert take(deck, "worker-1") == batch
    thread, taken = in_thread(deck, "worker-2")
    thread.join(0.05)
    assert thread.is_alive(), "it waits: the batch in hand may come back"
    actions: dict[str, Callable[[], object]] = {
        "settle": lambda: deck.settle("worker-1", batch),
        "settle again": lambda: deck.settle("worker-1", batch, batch.split()),
        "lose": lambda: deck.lose("worker-1"),
        "stop": deck.stop,
        "lose the waiting one": lambda: deck.lose("worker-2"),
    }
    actions[how]()
    thread.join(PATIENCE)
    expected = {"settle again": batch.split()[1], "lose": batch}
    assert taken == [expected.get(how)]


def test_many_workers_count_every_input_once() -> None:
    """Eight workers with two hands each; three are lost on the way, and batches come back in parts."""
    names = [f"worker-{n}" for n in range(8)]
    dealt = {name: make(name, [random.Random(name).randint(1, 9) for _ in range(60)]) for name in names}
    deck, lock, counted = Deck(dealt), threading.Lock(), list[Input]()

    def work(name: str, seed: int) -> None:
        chance = random.Random(seed)
        while (batch := deck.take(name)) is not None:
            if name in names[:3] and chance.random() < 0.05:
                deck.lose(name)
            again = batch.split() if len(batch.inputs) > 1 and chance.random() < 0.3 else ()
            if deck.settle(name, batch, again) and not again:
                with lock:
                    counted.extend(batch.inputs)

    threads = [
        threading.Thread(target=work, args=(name, seed), daemon=True)
        for seed, name in enumerate(name for name in names for _ in range(2))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a worker waits for ever"
    assert sorted(counted) == sorted(item for batches in dealt.values() for batch in batches for item in batch.inputs)
