"""The scheduler: every input of a run that is not settled yet, where it is, and who gets it next."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fanrun.fanout.plan import MAX_BYTES, MAX_INPUTS, Batch, Input, weight, within_bounds

IDLE_SECONDS = 0.5
"""Seconds after which an idle worker asks anew whether a copy would be worth it."""


@dataclass
class Assignment:
    """A batch that is with a worker since a time of the monotonic clock, `processing` since another (0: not yet).

    `share` is whose share it came from, "" if it is a copy (`is_copy`) or what was tried before.
    """

    worker: str
    batch: Batch
    since: float
    processing: float = 0.0
    share: str = ""
    is_copy: bool = False


@dataclass
class _Group:
    """Inputs that are tried once more, by another than `avoid` if there is one; `alone`: with nothing else beside."""

    inputs: list[Input]
    avoid: frozenset[str]
    alone: bool


class Scheduler:
    """Hands out inputs in batches until every one is settled; safe to use from many threads.

    A worker gets what others failed at first, then its own share; when that is out, and all it has is on the way
    through its container, from whoever has most left; at last a copy of a batch that is still with another.
    The first result of an input counts; a failure counts as one of its 1 + `retries` tries.
    """

    def __init__(self, *, retries: int = 0) -> None:
        self._shares: dict[str, deque[Input]] = {}
        self._weights: dict[str, int] = {}
        self._groups: list[_Group] = []
        self._assignments: dict[str, Assignment] = {}
        self._in_flight: Counter[bytes] = Counter()
        self._copied: Counter[bytes] = Counter()
        self._tries: Counter[bytes] = Counter()
        self._failed_at: dict[bytes, set[str]] = {}
        self._suspected_at: dict[bytes, set[str]] = {}
        self._settled: set[bytes] = set()
        self._held: set[bytes] = set()
        self._left = 0
        self._live: set[str] = set()
        self._numbers: Counter[str] = Counter()
        self._retries = retries
        self._change = threading.Condition()
        self._stopped = False

    def deal(self, dealt: Mapping[str, Sequence[Input]]) -> None:
        """Take these workers in, each with its share of the inputs."""
        with self._change:
            for name, share in dealt.items():
                self._shares[name] = deque(share)
                self._weights[name] = sum(map(weight, share))
                self._left += len(share)
                self._live.add(name)

    @property
    def left(self) -> int:
        """How many inputs are not settled."""
        return self._left

    @property
    def stopped(self) -> bool:
        """Whether nothing more is handed out."""
        return self._stopped

    def waiting(self) -> int:
        """The weight of all inputs that are with no worker."""
        return sum(self._weights.values()) + sum(weight(item) for group in self._groups for item in group.inputs)

    def wait(self, timeout: float) -> bool:
        """Wait until every input is settled, `timeout` seconds at the most; whether it is so."""
        with self._change:
            return self._change.wait_for(lambda: not self._left, timeout)

    def next_batch(
        self, worker: str, most: Callable[[int], int], worth: Callable[[Assignment, list[Assignment]], bool]
    ) -> Batch | None:
        """The worker's next batch; waits while there might yet be one.

        most(waiting) is the weight it can take of what waits in all; worth(assignment, the assignments of its worker)
        tells whether a copy of it would be home sooner.  None when nothing is left, or the worker is out.
        """
        with self._change:
            while not self._stopped and self._left and worker in self._live:
                room = max(most(self.waiting()), 1)
                if inputs := self._retry(worker, room):
                    return self._start(worker, inputs)
                share = self._share_for(worker)
                if inputs := self._fresh(worker, room):
                    return self._start(worker, inputs, share)
                # What has failed on all workers comes last: first they show that they can do other things.
                if not any(self._shares.values()) and (inputs := self._retry(worker, room, everywhere=True)):
                    return self._start(worker, inputs)
                if inputs := self._copy(worker, worth):
                    return self._start(worker, inputs, is_copy=True)
                self._change.wait(IDLE_SECONDS)
            return None

    def requeue(self, batch: Batch, most: Callable[[int], int]) -> bool:
        """Put a batch back into the share that it came from, if it is more than twice what its worker can take.

        Returns whether it was.  What was tried before is not: it was cut so for a reason.
        """
        with self._change:
            assignment, load = self._assignments.get(batch.name), sum(map(weight, batch.inputs))
            if assignment is None or not assignment.share or load <= 2 * most(self.waiting() + load):
                return False
            self._end(batch)
            inputs = self._idle(batch.inputs)
            self._shares[assignment.share].extendleft(reversed(inputs))
            self._weights[assignment.share] += sum(map(weight, inputs))
            self._change.notify_all()
            return True

    def start_processing(self, batch: Batch) -> None:
        """The worker begins to process the batch; to say so again changes nothing."""
        with self._change:
            if batch.name in self._assignments and not self._assignments[batch.name].processing:
                self._assignments[batch.name].processing = time.monotonic()
                self._change.notify_all()

    def is_needed(self, batch: Batch) -> bool:
        """Whether any of its inputs is still without a fate; False for one that a copy overtook."""
        with self._change:
            return not all(self._is_over(item.key) for item in batch.inputs)

    def is_settled(self, key: bytes) -> bool:
        """Whether an input has its fate."""
        return key in self._settled

    def claim(self, keys: Iterable[bytes]) -> list[bytes]:
        """Settle inputs as done; returns those that were not yet, and that are the caller's to count."""
        with self._change:
            won = [key for key in keys if not self._is_over(key)]
            self._settle(won)
            return won

    def hold(self, keys: Iterable[bytes]) -> list[bytes]:
        """Hand these inputs out no more, though they are not settled yet; returns those that were still wanted."""
        with self._change:
            held = [key for key in keys if not self._is_over(key)]
            self._held.update(held)
            return held

    def release(self, keys: Iterable[bytes]) -> None:
        """Settle inputs that were held."""
        with self._change:
            self._settle(key for key in keys if key in self._held and key not in self._settled)

    def _is_over(self, key: bytes) -> bool:
        """Whether nothing more is to be done about an input."""
        return key in self._settled or key in self._held

    def complete(
        self,
        batch: Batch,
        failed: Collection[bytes] = (),
        *,
        final: Collection[bytes] = (),
        apart: Sequence[Sequence[bytes]] = (),
        suspects: Collection[bytes] = (),
    ) -> dict[bytes, int]:
        """The batch is over: inputs `failed` for themselves; what was not claimed either is of unknown fate.

        Both are tried again: failed ones elsewhere, unknown ones fewer at a time, and those of each group of `apart`
        together, with no others.  Of unknown ones this was a try for the `suspects`.  Returns {key: tries} of those
        that are given up: after their last try, or those for which this try is `final`.
        """
        with self._change:
            assignment = self._end(batch)
            if assignment is None:  # its worker was lost, and all it had has gone to the others
                return {}
            open_ = [item for item in batch.inputs if not self._is_over(item.key)]
            bad = [item for item in open_ if item.key in failed]
            for item in open_:
                if item.key in failed or item.key in suspects:
                    self._tries[item.key] += 1
                    # One of many suspects is as likely to be done there as elsewhere.
                    where = self._failed_at if item.key in failed else self._suspected_at
                    where.setdefault(item.key, set()).add(assignment.worker)
            tries = {item.key: self._tries[item.key] for item in bad}
            gone = {key: count for key, count in tries.items() if key in final or count > self._retries}
            self._settle(gone)
            for item in self._idle(bad):
                self._groups.append(_Group([item], self._avoid([item]), alone=len(batch.inputs) == 1))
            # A copy of the batch is likely to fail as well, so nothing waits for that.
            grouped = {item.key for group in self._groups for item in group.inputs}
            for keys in apart:
                again = [item for item in open_ if item.key in keys and item.key not in grouped | set(failed)]
                if group := self._idle(again, besides_copies=True):
                    self._groups.append(_Group(group, self._avoid(group), alone=True))
            known = {*failed, *grouped, *(key for keys in apart for key in keys)}
            self._regroup(batch, [item for item in open_ if item.key not in known])
            self._change.notify_all()
            return gone

    def tries(self, key: bytes) -> int:
        """How often an input has failed."""
        return self._tries[key]

    def has_failed_elsewhere(self, key: bytes, worker: str) -> bool:
        """Whether an input has failed before, or was suspected, on another worker; on any if there is no other."""
        where = self._failed_at.get(key, set()) | self._suspected_at.get(key, set())
        return bool(where - {worker} if self._live - {worker} else where)

    def remove_worker(self, worker: str, parts: Mapping[str, int] | None = None) -> int:
        """Take a worker out; what it had in hand goes to others.  Returns how many batches that were.

        `parts` has the names of batches that may be the reason: their inputs are processed with no others, in so many
        groups.  Its share stays where it is: it is the first that others take from.
        """
        with self._change:
            self._live.discard(worker)
            assignments = [assignment for assignment in self._assignments.values() if assignment.worker == worker]
            for assignment in assignments:
                self._end(assignment.batch)
                inputs = self._idle(assignment.batch.inputs)
                count = (parts or {}).get(assignment.batch.name, 0)
                for group in halves(inputs) if count > 1 else [inputs]:
                    if group:
                        self._groups.append(_Group(group, self._avoid(group) | {worker}, alone=bool(count)))
            self._change.notify_all()
            return len(assignments)

    def add_worker(self, worker: str) -> None:
        """Take a worker in that was lost before, or is new."""
        with self._change:
            self._shares.setdefault(worker, deque())
            self._weights.setdefault(worker, 0)
            self._live.add(worker)
            self._change.notify_all()

    def give_up_rest(self) -> list[Input]:
        """Give up all inputs that are not settled; returns them."""
        with self._change:
            assignments = [assignment.batch.inputs for assignment in self._assignments.values()]
            everywhere = [*self._shares.values(), *(group.inputs for group in self._groups), *assignments]
            left = {item.key: item for inputs in everywhere for item in inputs if not self._is_over(item.key)}
            self._settle(left)
            self._change.notify_all()
            return sorted(left.values())

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def _settle(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._settled.add(key)
            self._left -= 1
        if not self._left:
            self._change.notify_all()

    def _start(self, worker: str, inputs: Sequence[Input], share: str = "", *, is_copy: bool = False) -> Batch:
        self._numbers[worker] += 1
        batch = Batch(f"{worker}.{self._numbers[worker]:04}", tuple(inputs))
        self._assignments[batch.name] = Assignment(worker, batch, time.monotonic(), share=share, is_copy=is_copy)
        self._in_flight.update(item.key for item in inputs)
        if is_copy:
            self._copied.update(item.key for item in inputs)
        return batch

    def _end(self, batch: Batch) -> Assignment | None:
        assignment = self._assignments.pop(batch.name, None)
        if assignment is not None:
            self._in_flight.subtract(item.key for item in batch.inputs)
            if assignment.is_copy:
                self._copied.subtract(item.key for item in batch.inputs)
        return assignment

    def _idle(self, inputs: Iterable[Input], *, besides_copies: bool = False) -> list[Input]:
        """Return those that are neither settled nor with a worker, or with none but in a copy."""

        def is_with_worker(key: bytes) -> bool:
            return self._in_flight[key] > (self._copied[key] if besides_copies else 0)

        return [item for item in inputs if not self._is_over(item.key) and not is_with_worker(item.key)]

    def _regroup(self, batch: Batch, unknown: Sequence[Input]) -> None:
        """Try inputs of unknown fate again: fewer at a time, never the same lot."""
        inputs = self._idle(unknown, besides_copies=True)
        for part in halves(inputs) if len(unknown) == len(batch.inputs) else [inputs]:
            if part:
                self._groups.append(_Group(part, self._avoid(part), alone=True))

    def _avoid(self, inputs: Iterable[Input]) -> frozenset[str]:
        """Where any of them has failed."""
        return frozenset().union(*(self._failed_at.get(item.key, ()) for item in inputs))

    def _retry(self, worker: str, most: int, *, everywhere: bool = False) -> list[Input]:
        """Inputs that were tried before: a lot that must stand alone, or others, and fresh ones beside them.

        None that this worker is to avoid, but those that failed `everywhere`.
        """
        for group in self._groups:
            group.inputs = self._idle(group.inputs, besides_copies=True)  # a copy may have settled some
        self._groups = [group for group in self._groups if group.inputs]
        mine = [group for group in self._groups if worker not in group.avoid]
        if everywhere:
            mine = [group for group in self._groups if self._live <= group.avoid]
        chosen = [group for group in mine if group.alone][:1] or mine[:1]
        if not chosen:
            return []
        inputs = list(chosen[0].inputs)
        for group in mine if not chosen[0].alone else ():
            both = [*inputs, *group.inputs]
            if group is not chosen[0] and sum(map(weight, both)) <= most and within_bounds(both):
                chosen.append(group)
                inputs = both
        self._groups = [group for group in self._groups if not any(group is each for each in chosen)]
        room = most - sum(map(weight, inputs))
        if room > 0 and not chosen[0].alone:
            more = self._fresh(worker, room)
            if within_bounds([*inputs, *more]):
                return [*inputs, *more]
            self._groups.append(_Group(more, frozenset(), alone=False))
        return inputs

    def _share_for(self, worker: str) -> str:
        """Whose share it takes from: its own, else the one with most left; "" while it has not run dry."""
        if self._shares[worker]:
            return worker
        if any(assignment.worker == worker and not assignment.processing for assignment in self._assignments.values()):
            return ""  # others may be quicker
        return max(self._weights, key=lambda name: self._weights[name])

    def _fresh(self, worker: str, most: int) -> list[Input]:
        """From its own share, else from the end of another's."""
        owner = self._share_for(worker)
        if not owner:
            return []
        share = self._shares[owner]
        # A rest that is hardly worth a container of its own goes along.
        if self._weights[owner] <= 1.5 * most:
            most = self._weights[owner]
        taken: list[Input] = []
        total = size = 0
        while share and len(taken) < MAX_INPUTS and total < most:
            item = share[0] if owner == worker else share[-1]
            if taken and size + item.size > MAX_BYTES:
                break
            share.popleft() if owner == worker else share.pop()
            taken.append(item)
            total, size = total + weight(item), size + item.size
        self._weights[owner] -= total
        return taken

    def _copy(self, worker: str, worth: Callable[[Assignment, list[Assignment]], bool]) -> list[Input]:
        """What is unsettled of another's batch, if nobody runs a copy of it yet and one is worth it.

        Only for a worker with nothing else in hand: a copy must not keep it from what is its own.
        """
        if any(assignment.worker == worker for assignment in self._assignments.values()):
            return []
        for assignment in sorted(self._assignments.values(), key=lambda each: -each.since):
            inputs = [item for item in assignment.batch.inputs if not self._is_over(item.key)]
            if not inputs or any(self._in_flight[item.key] > 1 for item in inputs):
                continue
            if not any(worker in self._failed_at.get(item.key, ()) for item in inputs) and worth(
                assignment, [each for each in self._assignments.values() if each.worker == assignment.worker]
            ):
                return inputs
        return []


def halves(inputs: list[Input]) -> list[list[Input]]:
    """Return the inputs in two lists, the first of which may be empty."""
    middle = len(inputs) // 2
    return [inputs[:middle], inputs[middle:]]
