"""The scheduler: whatever workers do in any order, no input is lost and none counts twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fanrun.fanout.plan import HANDLING, Batch, weight
from fanrun.fanout.schedule import scheduler as schedulers
from fanrun.fanout.schedule.scheduler import Completion, Scheduler
from tests.unit.schedulers import ALL, ONE, WORKERS, ScriptedPolicy, Waits, ask, complete, make, requeue

workers = st.sampled_from([*WORKERS, "worker-4"])


@pytest.fixture(autouse=True, scope="module")
def look_again_at_once() -> Iterator[None]:
    """A waiting worker looks again at once; what wakes it otherwise has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedulers, "IDLE_SECONDS", 0)
        yield


class SchedulerMachine(RuleBasedStateMachine):
    """Everything that workers may do in any order, beside a model of what is where."""

    @initialize(counts=st.lists(st.integers(0, 4), min_size=3, max_size=3), retries=st.integers(0, 2))
    def deal(self, counts: list[int], retries: int) -> None:
        dealt = {worker: make(worker, count) for worker, count in zip(WORKERS, counts, strict=True)}
        self.scheduler, self.retries = Scheduler(retries=retries, policy=ScriptedPolicy()), retries
        self.scheduler.deal(dealt)
        self.all = {item.key: item for share in dealt.values() for item in share}
        self.fresh = set(self.all)
        self.live = set(WORKERS)
        self.begun: set[str] = set()
        self.stopped = False
        self.in_hand: list[tuple[str, Batch]] = []
        self.taken_away: list[tuple[str, Batch]] = []
        self.names: set[str] = set()
        self.untried: set[str] = set()
        self.copied: set[str] = set()
        self.apart: set[bytes] = set()
        self.counted: Counter[bytes] = Counter()
        self.given_up: Counter[bytes] = Counter()
        self.tries: Counter[bytes] = Counter()
        self.failed_at: dict[bytes, set[str]] = {key: set() for key in self.all}
        self.avoid: dict[bytes, set[str]] = {}
        self.at_most: dict[bytes, int] = {}

    # ---- the model

    def settled(self, key: bytes) -> bool:
        return bool(self.counted[key] or self.given_up[key])

    def in_flight(self, key: bytes) -> int:
        return sum(key in (item.key for item in batch.inputs) for _, batch in self.in_hand)

    def is_only_copied(self, key: bytes) -> bool:
        """Whether no worker has the input but those with a copy."""
        return not any(
            key in (item.key for item in batch.inputs) for _, batch in self.in_hand if batch.name not in self.copied
        )

    def idle(self) -> set[bytes]:
        """Inputs that wait to be tried again: with nobody, or set apart while others have copies of them."""
        open_ = {key for key in self.all if not self.settled(key)} - self.fresh
        return {key for key in open_ if not self.in_flight(key) or (key in self.apart and self.is_only_copied(key))}

    def fresh_for(self, worker: str) -> set[bytes]:
        """What it may take of the shares: its own, and when it has run dry any."""
        own = {key for key in self.fresh if key.startswith(worker.encode() + b".")}
        dry = all(batch.name in self.begun for name, batch in self.in_hand if name == worker)
        return own or (self.fresh if dry else set())

    def for_worker(self, worker: str) -> set[bytes]:
        """Those of them that it may try; what has failed everywhere comes after all that is fresh."""
        everywhere = {key for key in self.idle() if self.live <= self.avoid[key]}
        return {key for key in self.idle() if worker not in self.avoid[key]} | (set() if self.fresh else everywhere)

    def try_again(self, together: list[bytes], avoid: set[str], at_most: int) -> None:
        """They go to another one, and not to where any of them has failed."""
        where = avoid.union(*(self.failed_at[key] for key in together))
        for key in together:
            self.avoid[key], self.at_most[key] = where, at_most

    def copies(self, worker: str) -> list[set[bytes]]:
        """What it may run a copy of."""
        if any(name == worker for name, _ in self.in_hand):
            return []
        open_ = [{item.key for item in batch.inputs if not self.settled(item.key)} for _, batch in self.in_hand]
        return [
            found
            for found in open_
            if found and all(self.in_flight(key) == 1 and worker not in self.failed_at[key] for key in found)
        ]

    # ---- the rules

    @rule(
        worker=workers, most=st.sampled_from([ONE, 2 * (HANDLING + 1), ALL]), worth=st.sampled_from([True, True, False])
    )
    def take(self, worker: str, most: int, worth: bool) -> None:
        mine, copies = self.for_worker(worker), self.copies(worker) if worth else []
        fresh = self.fresh_for(worker)
        try:
            batch = ask(self.scheduler, worker, most, lambda assignment: worth, tries=len(self.all) + 1)
        except Waits:
            assert not self.stopped
            assert self.scheduler.left
            assert worker in self.live
            assert not [*fresh, *mine, *copies], "it waits, and there is something for it"
            return
        if self.stopped or not self.scheduler.left or worker not in self.live:
            assert batch is None
            return
        assert batch is not None, "there is something left, and it is told that there is nothing"
        found = {item.key for item in batch.inputs}
        assert found
        assert len(found) == len(batch.inputs), "once in a batch"
        assert not any(map(self.settled, found))
        if not fresh | mine:
            assert found in copies
            self.copied.add(batch.name)
        else:
            assert not any(self.in_flight(key) for key in found - self.apart), "a copy, and there is something else"
            assert found <= fresh | mine, "a failed input goes elsewhere while there is an elsewhere"
            assert all(len(found) <= self.at_most.get(key, len(found)) for key in found), "fewer at a time"
        assert batch.name not in self.names
        self.names.add(batch.name)
        if found <= self.fresh:
            self.untried.add(batch.name)
        self.fresh -= found
        self.apart -= set() if batch.name in self.copied else found
        self.in_hand.append((worker, batch))

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data())
    def process(self, data: st.DataObject) -> None:
        _, batch = data.draw(st.sampled_from(self.in_hand))
        self.scheduler.start_processing(batch)
        self.begun.add(batch.name)
        assert self.scheduler.is_needed(batch) == (not all(self.settled(item.key) for item in batch.inputs))

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data(), most=st.sampled_from([ONE, ALL]))
    def recall(self, data: st.DataObject, most: int) -> None:
        """Nobody has begun to process what is taken back."""
        worker, batch = data.draw(st.sampled_from(self.in_hand))
        if batch.name in self.begun:
            return
        taken_back = requeue(self.scheduler, batch, lambda waiting: most)
        assert taken_back == (batch.name in self.untried and most == ONE)
        if taken_back:
            self.in_hand.remove((worker, batch))
            keys = {item.key for item in batch.inputs}
            self.fresh |= {key for key in keys if not self.settled(key) and not self.in_flight(key)}

    def claim(self, batch: Batch, done: set[bytes]) -> None:
        """As `commit_batch` does; what is claimed twice counts once."""
        won = self.scheduler.claim([item.key for item in batch.inputs if item.key in done])
        assert set(won) == {key for key in done if not self.settled(key)}
        self.counted.update(won)

    def draw_fates(self, data: st.DataObject, batch: Batch) -> dict[bytes, str]:
        """Any, but an input that was alone is never of unknown fate."""
        kinds = ["done", "failed", "final", *(["unknown"] if len(batch.inputs) > 1 else [])]
        fate = st.sampled_from(kinds)
        same = data.draw(st.none() | fate)
        return {item.key: same or data.draw(fate) for item in batch.inputs}

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        worker, batch = data.draw(st.sampled_from(self.in_hand))
        fates = self.draw_fates(data, batch)
        self.claim(batch, {key for key, fate in fates.items() if fate == "done"})
        failed = {key for key, fate in fates.items() if fate in ("failed", "final")}
        final = {key for key, fate in fates.items() if fate == "final"}
        open_ = [key for key in fates if not self.settled(key)]
        gone = self.scheduler.complete(batch, Completion(failed, final))
        self.in_hand.remove((worker, batch))
        for key in open_:
            if key in failed:
                self.tries[key] += 1
                self.failed_at[key].add(worker)
                self.avoid[key] = set(self.failed_at[key])
                self.at_most[key] = 1 if len(batch.inputs) == 1 else len(self.all)
        bad = failed.intersection(open_)
        expected = {key: self.tries[key] for key in bad if key in final or self.tries[key] > self.retries}
        assert gone == expected
        self.given_up.update(gone.keys())
        self.apart -= failed
        unknown = [key for key in open_ if key not in failed | self.apart]
        halved = (len(unknown) + 1) // 2 if len(unknown) == len(batch.inputs) else len(unknown)
        idle = [key for key in unknown if self.is_only_copied(key)]
        self.apart.update(idle)
        middle = len(idle) // 2 if len(unknown) == len(batch.inputs) else 0
        for part in (idle[:middle], idle[middle:]):
            self.try_again(part, set(), halved)
        assert not self.scheduler.claim(fates.keys() & self.counted.keys())
        assert complete(self.scheduler, batch, failed) == {}, "it was settled already"

    @precondition(lambda self: self.taken_away)
    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        """What a lost worker brings after all counts, what it failed at doesn't."""
        _, batch = data.draw(st.sampled_from(self.taken_away))
        fates = self.draw_fates(data, batch)
        self.claim(batch, {key for key, fate in fates.items() if fate == "done"})
        failed = {key for key, fate in fates.items() if fate in ("failed", "final")}
        assert self.scheduler.complete(batch, Completion(failed, final=failed)) == {}

    @rule(worker=workers)
    def lose(self, worker: str) -> None:
        self.live.discard(worker)
        lost = [(name, batch) for name, batch in self.in_hand if name == worker]
        assert self.scheduler.remove_worker(worker) == len(lost)
        assert self.scheduler.remove_worker(worker) == 0
        for assignment in lost:
            self.in_hand.remove(assignment)
            keys = [item.key for item in assignment[1].inputs]
            idle = [key for key in keys if not self.settled(key) and not self.in_flight(key) and key not in self.apart]
            self.try_again(idle, {worker}, len(self.all))
        self.taken_away += lost

    @rule(worker=workers)
    def join(self, worker: str) -> None:
        self.scheduler.add_worker(worker)
        self.live.add(worker)

    @precondition(lambda self: not self.stopped)
    @rule(chance=st.integers(0, 9))
    def stop(self, chance: int) -> None:
        if chance == 0:
            self.scheduler.stop()
            self.stopped = True

    # ---- what is always so

    @invariant()
    def an_input_is_counted_or_given_up_and_once(self) -> None:
        assert all(self.counted[key] + self.given_up[key] <= 1 for key in self.all)
        assert all(count <= 1 + self.retries for count in self.tries.values())

    @invariant()
    def the_scheduler_tells_what_is_so(self) -> None:
        assert self.scheduler.left == sum(not self.settled(key) for key in self.all)
        waiting = sum(weight(self.all[key]) for key in self.fresh | self.idle())
        late = sum(weight(item) for key, item in self.all.items() if self.settled(key))
        assert waiting <= self.scheduler.waiting() <= waiting + late
        assert self.scheduler.stopped == self.stopped
        assert self.scheduler.wait(0) == (not self.scheduler.left)
        assert all(self.scheduler.tries(key) == self.tries[key] for key in self.all)

    def teardown(self) -> None:
        """Workers who do their work bring it to the end, with as many batches as inputs at the most."""
        if not hasattr(self, "scheduler"):
            return
        if self.stopped:
            assert [ask(self.scheduler, worker) for worker in WORKERS] == [None] * 3
            return
        self.scheduler.add_worker(WORKERS[0])
        for _, batch in self.in_hand:
            self.counted.update(self.scheduler.claim(item.key for item in batch.inputs))
            assert complete(self.scheduler, batch) == {}
        for _ in range(self.scheduler.left):
            taken = None
            for worker in sorted(self.live | {WORKERS[0]}):
                try:
                    taken = ask(self.scheduler, worker, worth=lambda assignment: True, tries=len(self.all) + 1)
                except Waits:
                    continue
                break
            if taken is None:
                break
            self.counted.update(self.scheduler.claim(item.key for item in taken.inputs))
            assert complete(self.scheduler, taken) == {}
        assert self.scheduler.left == 0, "everybody waits for ever"
        assert {key: self.counted[key] + self.given_up[key] for key in self.all} == dict.fromkeys(self.all, 1)
        assert [ask(self.scheduler, worker) for worker in WORKERS] == [None] * 3


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
