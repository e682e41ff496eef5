"""The backlog: every input that is not settled, where it is, and what a worker should take of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from fanrun.fanout.plan import Batch, Input, weight, within_bounds
from fanrun.fanout.schedule.assignment import Assignment, InFlight
from fanrun.fanout.schedule.completion import Completion
from fanrun.fanout.schedule.input_history import InputHistory
from fanrun.fanout.schedule.policy import Policy
from fanrun.fanout.schedule.retries import Retries, Retry, halves
from fanrun.fanout.schedule.shares import Shares


class Backlog:
    """The inputs of a run by where they are; the scheduler holds its lock.

    `shares` has what nobody has tried, `again` what has to be tried once more, `in_flight` what is with workers, and
    `inputs` what is known of each.  `live` are the workers that take part, `holders` the
    workers that have an input in their cache, by its key.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.shares = Shares()
        self.again = Retries()
        self.in_flight = InFlight()
        self.inputs = InputHistory()
        self.live: set[str] = set()
        self.holders: Mapping[bytes, Collection[str]] = {}
        self._numbers: Counter[str] = Counter()

    @property
    def weight(self) -> int:
        """The weight of all inputs that are with no worker."""
        return self.shares.weight + self.again.weight

    def open(self) -> dict[bytes, Input]:
        """Return all inputs on which something is to be done, by their keys."""
        in_flight = [item for assignment in self.in_flight for item in assignment.batch.inputs]
        everything = [*self.shares.inputs(), *self.again.inputs(), *in_flight]
        return {item.key: item for item in everything if not self.inputs.is_over(item.key)}

    def try_again(
        self, inputs: list[Input], avoid: Iterable[str] = (), *, alone: bool, exclusive: bool = False
    ) -> None:
        """Let inputs be tried once more, neither where any of them has failed nor on the workers to `avoid`."""
        self.again.add(Retry(inputs, self.inputs.failed_at(inputs).union(avoid), alone, exclusive))

    def idle(self, inputs: Iterable[Input]) -> list[Input]:
        """Return those inputs that are neither settled nor with a worker, and do not wait to be tried again."""
        waiting = {item.key for item in self.again.inputs()}
        return [
            item
            for item in inputs
            if not (self.inputs.is_over(item.key) or self.in_flight.has(item.key) or item.key in waiting)
        ]

    def idle_besides_copies(self, inputs: Iterable[Input]) -> list[Input]:
        """Return those inputs that are neither settled nor with a worker other than one that has a copy."""
        has = self.in_flight.has
        return [item for item in inputs if not (self.inputs.is_over(item.key) or has(item.key, besides_copies=True))]

    def try_apart(self, batch: Batch, open_: Sequence[Input], outcome: Completion) -> None:
        """Try inputs of which nothing is known again: in the groups given, else fewer at a time and never the same lot.

        A copy of the batch is likely to fail as well, so nothing waits for that.
        """
        grouped = {item.key for item in self.again.inputs()}
        for keys in outcome.apart:
            again = [item for item in open_ if item.key in keys and item.key not in grouped | set(outcome.failed)]
            group = self.idle_besides_copies(again)
            self.try_again(group, alone=True)
        short = self.idle_besides_copies([item for item in open_ if item.key in outcome.exclusive])
        self.try_again(short, alone=True, exclusive=True)
        known = {*outcome.failed, *outcome.exclusive, *grouped, *(key for keys in outcome.apart for key in keys)}
        unknown = [item for item in open_ if item.key not in known]
        inputs = self.idle_besides_copies(unknown)
        for part in halves(inputs) if len(unknown) == len(batch.inputs) else [inputs]:
            self.try_again(part, alone=True)

    def next(self, worker: str, max_weight: int) -> Assignment | None:
        """Return what a worker should do next; None if there is nothing for it now."""
        if (retry := self._retry(worker, max_weight)).inputs:
            return self._assignment(worker, retry.inputs, exclusive=retry.exclusive)
        share = self._share_for(worker)
        if inputs := self._fresh(worker, max_weight):
            return self._assignment(worker, inputs, share)
        # What has failed on all workers comes last: first they show that they can do other things.
        if not self.shares and (retry := self._retry(worker, max_weight, everywhere=True)).inputs:
            return self._assignment(worker, retry.inputs, exclusive=retry.exclusive)
        if inputs := self._copy(worker):
            return self._assignment(worker, inputs, is_copy=True)
        return None

    def _assignment(
        self,
        worker: str,
        inputs: Sequence[Input],
        share: str = "",
        *,
        is_copy: bool = False,
        exclusive: bool = False,
    ) -> Assignment:
        self._numbers[worker] += 1
        batch = Batch(f"{worker}.{self._numbers[worker]:04}", tuple(inputs), exclusive)
        return Assignment(worker, batch, time.monotonic(), share=share, is_copy=is_copy)

    def _retry(self, worker: str, max_weight: int, *, everywhere: bool = False) -> Retry:
        """Return inputs that were tried before and that the worker need not avoid, and fresh ones if there is room.

        With `everywhere` return those that have failed on all workers.
        """
        self.again.refresh(self.idle_besides_copies)
        retry = self.again.take(worker, max_weight, self.live if everywhere else None)
        room = max_weight - sum(map(weight, retry.inputs))
        if not retry.inputs or retry.alone or room <= 0:
            return retry
        more = self._fresh(worker, room)
        if within_bounds([*retry.inputs, *more]):
            return Retry([*retry.inputs, *more])
        self.again.add(Retry(more))
        return retry

    def _share_for(self, worker: str) -> str:
        """Return whose share a worker takes from: its own, else the heaviest; "" while it has batches to process."""
        if self.shares.has(worker):
            return worker
        if any(not assignment.processing for assignment in self.in_flight.of(worker)):
            return ""  # others may be faster
        return self.shares.heaviest()

    def _fresh(self, worker: str, max_weight: int) -> list[Input]:
        """Take inputs from the front of the worker's own share, or from the end of another's.

        Inputs that the other worker has in its cache, and this worker has not, are taken only if they are done clearly
        earlier then.
        """
        owner = self._share_for(worker)
        if not owner:
            return []
        inputs = self.shares.take(owner, max_weight, from_end=owner != worker)
        if owner != worker and not self._may_move(inputs, owner, worker):
            self.shares.put_back(owner, inputs, to_end=True)
            return []
        return inputs

    def _may_move(self, inputs: Sequence[Input], owner: str, worker: str) -> bool:
        """Return whether a worker may process inputs that were just taken from the share of their owner."""
        holders = [self.holders.get(item.key, ()) for item in inputs]
        if owner not in self.live or not all(owner in names and worker not in names for names in holders):
            return True
        load = sum(map(weight, inputs))
        busy = load + self.shares.weight_of(owner) + sum(each.weight for each in self.in_flight.of(owner))
        return self.policy.is_worth_sending(worker, owner, load, busy)

    def _copy(self, worker: str) -> list[Input]:
        """Return what is left of another worker's batch that has no copy yet, if a copy is worth it.

        Only a worker with a container to spare gets one: a copy must not keep it from its own inputs.
        """
        if len(self.in_flight.of(worker)) >= self.policy.model(worker).containers:
            return []
        for assignment in sorted(self.in_flight, key=lambda each: -each.since):
            inputs = [item for item in assignment.batch.inputs if not self.inputs.is_over(item.key)]
            if not inputs or assignment.worker == worker or any(self.in_flight.count(item.key) > 1 for item in inputs):
                continue
            assignments = self.in_flight.of(assignment.worker)
            if worker not in self.inputs.failed_at(inputs) and self.policy.is_worth_copying(
                worker, assignment, assignments
            ):
                return inputs
        return []
