"""How many batches of a worker may be on their way to its containers."""

from __future__ import annotations

import contextlib
import queue
import threading

import pytest

from fanrun.fanout.schedule.throughput import ThroughputModel
from fanrun.fanout.workers.warm_up import PERMITS, WarmUp
from tests.unit.throughput_models import MB, even


class Pushers:
    """Threads that wait until another batch may follow, more than there are permits."""

    def __init__(self, warm_up: WarmUp) -> None:
        self._warm_up, self._taken = warm_up, queue.Queue[None]()
        for _ in range(20):
            threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        self._warm_up.acquire()
        self._taken.put(None)

    def count(self) -> int:
        """Return how many could go on since the last time."""
        count = 0
        with contextlib.suppress(queue.Empty):
            while True:
                self._taken.get(timeout=0.3)
                count += 1
        return count


ALL = 1 + sum(PERMITS.values())


@pytest.mark.parametrize("containers", [1, 2, 7])
def test_each_container_more_lets_one_batch_more_follow(containers: int) -> None:
    assert Pushers(WarmUp(even(1), containers)).count() == ALL - 1 + containers


def test_the_first_batch_of_each_container_is_not_provisional() -> None:
    model = ThroughputModel()
    model.observe("push", MB, 1.0)
    warm_up = WarmUp(model, 3)
    assert [warm_up.is_provisional() for _ in range(5)] == [False, False, False, True, True]


def test_their_number_follows_the_containers() -> None:
    warm_up = WarmUp(even(1), 1)
    pushers = Pushers(warm_up)
    assert pushers.count() == ALL
    warm_up.resize(4)
    assert pushers.count() == 3
    warm_up.resize(2)
    for _ in range(4):
        warm_up.release()
    warm_up.resize(2)
    assert pushers.count() == 2, "two of four were too many"


def test_containers_that_are_taken_back_before_any_has_left_count_again() -> None:
    warm_up = WarmUp(even(1), 4)
    pushers = Pushers(warm_up)
    assert pushers.count() == ALL + 3
    warm_up.resize(2)
    warm_up.resize(3)
    warm_up.release()
    warm_up.release()
    warm_up.release()
    assert pushers.count() == 2
