"""The scheduler: whatever workers do in any order, no input is lost and none counts twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from fanrun.fanout.plan import HANDLING, Batch
from fanrun.fanout.schedule import scheduler as schedulers
from fanrun.fanout.schedule.completion import Completion
from tests.unit.scheduler_model import SchedulerModel
from tests.unit.schedulers import ALL, ONE, WORKERS, Waits, ask, complete, requeue

workers = st.sampled_from([*WORKERS, "worker-4"])


@pytest.fixture(autouse=True, scope="module")
def look_again_at_once() -> Iterator[None]:
    """A waiting worker looks again at once; what wakes it otherwise has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedulers, "IDLE_SECONDS", 0)
        yield


class SchedulerMachine(SchedulerModel):
    """Everything that workers may do in any order, beside a model of what is where."""

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
        if fresh | mine:
            self.check_inputs(batch, fresh | mine)
        else:
            assert {item.key for item in batch.inputs} in copies
            self.copied.add(batch.name)
        self.note_taken(worker, batch)

    def check_inputs(self, batch: Batch, offered: set[bytes]) -> None:
        """Compare a batch that is not a copy with the inputs that its worker may have."""
        found = {item.key for item in batch.inputs}
        assert not any(self.in_flight(key) for key in found - self.apart), "a copy, and there is something else"
        assert found <= offered, "a failed input goes elsewhere while there is an elsewhere"
        assert all(len(found) <= self.at_most.get(key, len(found)) for key in found), "fewer at a time"

    def note_taken(self, worker: str, batch: Batch) -> None:
        """Note that a worker has a batch, with whatever is true of every batch."""
        found = {item.key for item in batch.inputs}
        assert found
        assert len(found) == len(batch.inputs), "once in a batch"
        assert not any(map(self.settled, found))
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
