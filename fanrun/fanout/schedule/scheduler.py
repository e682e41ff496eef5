"""The scheduler: which inputs go to which worker next."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.schedule.backlog import Backlog
from fanrun.fanout.schedule.completion import UNKNOWN, Completion
from fanrun.fanout.schedule.policy import Policy
from fanrun.fanout.schedule.retries import halves
from fanrun.fanout.schedule.throughput import ThroughputModel

IDLE_SECONDS = 0.5
"""Seconds after which an idle worker asks again whether a speculative copy is worth it."""


class Scheduler:
    """Hands out inputs in batches until every input is settled; safe to use from many threads.

    A worker gets inputs that failed elsewhere first, then its own share.  When that is empty and the worker has begun
    to process all it got, it takes from the heaviest share, and at last a speculative copy of another's batch.  The
    first result of an input counts.  An input is given up when it has failed 1 + `retries` times.
    """

    def __init__(self, *, retries: int = 0, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._backlog = Backlog(self.policy)
        self._retries = retries
        self._change = threading.Condition()
        self._stopped = False

    def deal(
        self, dealt: Mapping[str, Sequence[Input]], holders: Mapping[bytes, Collection[str]] | None = None
    ) -> None:
        """Add these workers, each with its share of the inputs.

        `holders` has the workers that have an input in their cache, by its key.
        """
        with self._change:
            self._backlog.holders = holders or {}
            for name, share in dealt.items():
                self._backlog.shares.add(name, share)
                self._backlog.inputs.left += len(share)
                self._backlog.live.add(name)
                self.policy.model(name)  # so that the first batches are sized for as many workers

    @property
    def left(self) -> int:
        """How many inputs are not settled."""
        return self._backlog.inputs.left

    @property
    def stopped(self) -> bool:
        """Whether nothing more is handed out."""
        return self._stopped

    def waiting(self) -> int:
        """Return the weight of all inputs that are with no worker."""
        return self._backlog.weight

    def wait(self, timeout: float) -> bool:
        """Wait until every input is settled, or for `timeout` seconds; return whether every input is."""
        with self._change:
            return self._change.wait_for(lambda: not self.left, timeout)

    def model(self, worker: str) -> ThroughputModel:
        """Return what was measured of a worker, to be read."""
        with self._change:
            return self.policy.model(worker)

    def observe(self, worker: str, stage: str, load: int, seconds: float) -> None:
        """Learn that a worker's stage took so many seconds for a batch of that weight."""
        with self._change:
            self.policy.model(worker).observe(stage, load, seconds)

    def set_containers(self, worker: str, count: int, expected: int) -> None:
        """Learn how many containers run on a worker at the same time, and how many may before long."""
        with self._change:
            self.policy.model(worker).set_containers(count, expected)

    def next_batch(self, worker: str) -> Batch | None:
        """Return the worker's next batch; wait while there might still be one.

        Return None when nothing is left, the worker was removed or the scheduler is stopped.
        """
        with self._change:
            while not self._stopped and self.left and worker in self._backlog.live:
                in_flight = len(self._backlog.in_flight.of(worker))
                max_weight = max(self.policy.next_weight(worker, self.waiting(), in_flight), 1)
                assignment = self._backlog.next(worker, max_weight)
                if assignment is not None:
                    self._backlog.in_flight.start(assignment)
                    return assignment.batch
                self._change.wait(IDLE_SECONDS)
            return None

    def requeue(self, batch: Batch) -> bool:
        """Put a batch back into the share that it came from, if it is far too heavy for its worker.

        Return whether it was put back.  Inputs that were tried before are not: they were grouped for a reason.
        """
        with self._change:
            assignment = self._backlog.in_flight.get(batch)
            if assignment is None or not assignment.share:
                return False
            load = assignment.weight
            if not self.policy.is_far_too_heavy(assignment.worker, load, self.waiting() + load):
                return False
            self._backlog.in_flight.end(batch)
            self._backlog.shares.put_back(assignment.share, self._backlog.idle(batch.inputs))
            self._change.notify_all()
            return True

    def start_processing(self, batch: Batch) -> None:
        """Note that its worker begins to process a batch; to say so again changes nothing."""
        with self._change:
            assignment = self._backlog.in_flight.get(batch)
            if assignment is not None and not assignment.processing:
                assignment.processing = time.monotonic()
                self._change.notify_all()

    def is_needed(self, batch: Batch) -> bool:
        """Return whether any input of the batch is still to be done; False once a copy has overtaken it."""
        with self._change:
            return not all(self._backlog.inputs.is_over(item.key) for item in batch.inputs)

    def is_settled(self, key: bytes) -> bool:
        """Return whether an input is done or given up."""
        return self._backlog.inputs.is_settled(key)

    def claim(self, keys: Iterable[bytes]) -> list[bytes]:
        """Settle inputs as done; return those that were not settled yet, which the caller has to count."""
        with self._change:
            claimed = self._backlog.inputs.still_open(keys)
            self._settle(claimed)
            return claimed

    def hold(self, keys: Iterable[bytes]) -> list[bytes]:
        """Hand these inputs out no more, though they are not settled yet; return those that were still needed."""
        with self._change:
            held = self._backlog.inputs.still_open(keys)
            self._backlog.inputs.hold(held)
            return held

    def release(self, keys: Iterable[bytes]) -> None:
        """Settle inputs that were held."""
        with self._change:
            self._settle(self._backlog.inputs.held(keys))

    def complete(self, batch: Batch, outcome: Completion = UNKNOWN) -> dict[bytes, int]:
        """Note that a batch is over: its failed inputs, and those of which nothing is known, are tried again.

        Failed inputs go to another worker; of unknown inputs fewer are tried at a time.  Return {key: tries} of the
        inputs that are given up: those that failed for the last time or are final.
        """
        with self._change:
            assignment = self._backlog.in_flight.end(batch)
            if assignment is None:  # its worker was removed, and all it had has gone to the others
                return {}
            open_ = [item for item in batch.inputs if not self._backlog.inputs.is_over(item.key)]
            for item in open_:
                if item.key in outcome.failed or item.key in outcome.suspects:
                    is_suspect = item.key not in outcome.failed
                    self._backlog.inputs.failed(item.key, assignment.worker, is_suspect=is_suspect)
            failed = [item for item in open_ if item.key in outcome.failed]
            tries = {item.key: self._backlog.inputs.tries(item.key) for item in failed}
            gone = {key: count for key, count in tries.items() if key in outcome.final or count > self._retries}
            self._settle(gone)
            self._backlog.again.drop(outcome.failed)  # what waits is told anew where not to go
            for item in self._backlog.idle(failed):
                self._backlog.try_again([item], alone=len(batch.inputs) == 1)
            self._backlog.try_apart(batch, open_, outcome)
            self._change.notify_all()
            return gone

    def tries(self, key: bytes) -> int:
        """Return how often an input has failed."""
        return self._backlog.inputs.tries(key)

    def has_failed_elsewhere(self, key: bytes, worker: str) -> bool:
        """Return whether an input has failed, or was suspected, on another worker; on any if there is no other."""
        return self._backlog.inputs.has_failed_elsewhere(key, worker, self._backlog.live)

    def remove_worker(self, worker: str, parts: Mapping[str, int] | None = None) -> int:
        """Remove a worker; its batches go to others.  Return how many batches it had.

        `parts` has the names of batches that may be the reason why it was lost: their inputs are processed with no
        others, in so many groups.  Its share stays: it is the first that others take from.
        """
        with self._change:
            self._backlog.live.discard(worker)
            assignments = self._backlog.in_flight.of(worker)
            for assignment in assignments:
                self._backlog.in_flight.end(assignment.batch)
                inputs = self._backlog.idle(assignment.batch.inputs)
                count = (parts or {}).get(assignment.batch.name, 0)
                for group in halves(inputs) if count > 1 else [inputs]:
                    self._backlog.try_again(group, {worker}, alone=bool(count), exclusive=bool(count))
            self._change.notify_all()
            return len(assignments)

    def drain(self, worker: str) -> None:
        """Give a worker no further batch; those that it has are its own, and its share is for others."""
        with self._change:
            self._backlog.live.discard(worker)
            self._change.notify_all()

    def add_worker(self, worker: str) -> None:
        """Add a worker that was removed before, or is new."""
        with self._change:
            self._backlog.shares.add(worker)
            self._backlog.live.add(worker)
            self._change.notify_all()

    def give_up_rest(self) -> list[Input]:
        """Give up all inputs that are not settled; return them."""
        with self._change:
            left = self._backlog.open()
            self._settle(left)
            self._change.notify_all()
            return sorted(left.values())

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def _settle(self, keys: Iterable[bytes]) -> None:
        self._backlog.inputs.settle(keys)
        if not self.left:
            self._change.notify_all()
