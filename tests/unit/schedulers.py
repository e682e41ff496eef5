"""Taking batches from a scheduler at once, for its tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.schedule.assignment import Assignment
from fanrun.fanout.schedule.completion import Completion
from fanrun.fanout.schedule.policy import MAX_EXCESS, Policy
from fanrun.fanout.schedule.scheduler import Scheduler

WORKERS = ["worker-1", "worker-2", "worker-3"]
ALL = 10**15
ONE = 1
"""The weight of a batch of one input: the next one would be too much."""


class Waits(Exception):
    """The worker found nothing, and would wait."""


def make(worker: str, count: int, size: int = 1) -> list[Input]:
    return [Input(f"{worker}.{n}".encode(), size) for n in range(count)]


Worth = Callable[[Assignment], bool]


def never(assignment: Assignment) -> bool:
    return False


class ScriptedPolicy(Policy):
    """One that answers as each test, in each of its threads, says."""

    def __init__(self) -> None:
        super().__init__()
        self._script = threading.local()

    def script(
        self, most: Callable[[int], int], worth: Callable[[Assignment, Sequence[Assignment]], bool]
    ) -> ScriptedPolicy:
        """Set what most(waiting) a worker gets, and whether worth(assignment, all of its worker) is copied."""
        self._script.most, self._script.worth = most, worth
        return self

    def next_weight(self, worker: str, waiting: int, in_flight: int = 0) -> int:
        return int(getattr(self._script, "most", lambda waiting: ALL)(waiting))

    def is_far_too_heavy(self, worker: str, load: int, waiting: int) -> bool:
        return load > MAX_EXCESS * self.next_weight(worker, waiting)

    def is_worth_sending(self, worker: str, owner: str, load: int, busy: int) -> bool:
        return bool(getattr(self._script, "sends", True))

    def sends(self, worth: bool) -> None:
        """Set whether a worker is sent inputs that their owner has in its cache."""
        self._script.sends = worth

    def is_worth_copying(self, worker: str, assignment: Assignment, assignments: Sequence[Assignment]) -> bool:
        return bool(getattr(self._script, "worth", lambda *_: False)(assignment, assignments))


def scripted(
    scheduler: Scheduler,
    most: Callable[[int], int],
    worth: Callable[[Assignment, Sequence[Assignment]], bool] = lambda *_: False,
) -> Scheduler:
    """Return the scheduler with a policy that answers so."""
    assert isinstance(scheduler.policy, ScriptedPolicy)
    scheduler.policy.script(most, worth)
    return scheduler


def take(scheduler: Scheduler, worker: str, most: int = ALL, worth: Worth = never) -> Batch:
    """Take what must be there, at once; raises Waits, and AssertionError when it gets None."""
    batch = ask(scheduler, worker, most, worth)
    assert batch is not None
    return batch


def ask(scheduler: Scheduler, worker: str, most: int = ALL, worth: Worth = never, tries: int = 1) -> Batch | None:
    """Take, but raise Waits after so many looks at the scheduler instead of waiting."""
    looks = 0

    def heaviest(waiting: int) -> int:
        nonlocal looks
        looks += 1
        if looks > tries:
            raise Waits
        return most

    return scripted(scheduler, heaviest, lambda assignment, _: worth(assignment)).next_batch(worker)


def requeue(scheduler: Scheduler, batch: Batch, most: Callable[[int], int]) -> bool:
    """Put a batch back if it is far more than most(waiting)."""
    return scripted(scheduler, most).requeue(batch)


def complete(scheduler: Scheduler, batch: Batch, failed: Collection[bytes] = ()) -> dict[bytes, int]:
    """Tell the scheduler that a batch is over, and which of its inputs failed."""
    return scheduler.complete(batch, Completion(failed))


def keys(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [item.key.decode() for item in batch.inputs]


def dealt(counts: dict[str, int], *, retries: int = 0) -> Scheduler:
    scheduler = Scheduler(retries=retries, policy=ScriptedPolicy())
    scheduler.deal({worker: make(worker, count) for worker, count in counts.items()})
    return scheduler
