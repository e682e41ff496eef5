"""Taking batches from a scheduler at once, for its tests."""

from __future__ import annotations

from collections.abc import Callable

from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.schedule.scheduler import Assignment, Scheduler

WORKERS = ["worker-1", "worker-2", "worker-3"]
ALL = 10**15
ONE = 1
"""The weight of a batch of one input: the next one would be too much."""


class Waits(Exception):
    """The worker found nothing, and would wait."""


def make(worker: str, count: int, size: int = 1) -> list[Input]:
    return [Input(f"{worker}.{n}".encode(), size) for n in range(count)]


def take(
    scheduler: Scheduler, worker: str, most: int = ALL, worth: Callable[[Assignment], bool] = lambda assignment: False
) -> Batch:
    """Take what must be there, at once; raises Waits, and AssertionError when it gets None."""
    batch = ask(scheduler, worker, most, worth)
    assert batch is not None
    return batch


def ask(
    scheduler: Scheduler,
    worker: str,
    most: int = ALL,
    worth: Callable[[Assignment], bool] = lambda assignment: False,
    tries: int = 1,
) -> Batch | None:
    """Take, but raise Waits after so many looks at the scheduler instead of waiting."""
    looks = 0

    def heaviest(waiting: int) -> int:
        nonlocal looks
        looks += 1
        if looks > tries:
            raise Waits
        return most

    return scheduler.next_batch(worker, heaviest, lambda assignment, assignments: worth(assignment))


def keys(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [item.key.decode() for item in batch.inputs]


def dealt(counts: dict[str, int], *, retries: int = 0) -> Scheduler:
    scheduler = Scheduler(retries=retries)
    scheduler.deal({worker: make(worker, count) for worker, count in counts.items()})
    return scheduler
