"""A model of the scheduler: where each input is, and who may have it next."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from fanrun.fanout.plan import Batch, weight
from fanrun.fanout.schedule.scheduler import Scheduler
from tests.unit.schedulers import WORKERS, ScriptedPolicy, make


class SchedulerModel(RuleBasedStateMachine):
    """What is where, and what is always so; the rules are added by the test."""

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
