"""What is known of lost workers, asked beside a run."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from fanrun.fanout.workers.termination import TerminationReasons
from fanrun.fleet.errors import FanrunError
from tests.waiting import wait_until


class Oracle:
    """Answers when it may; counts the questions."""

    def __init__(self) -> None:
        self.asked = 0
        self.known: dict[str, str] = {}
        self.may = threading.Event()
        self.told: list[tuple[str, str]] = []
        self.termination_reasons = TerminationReasons(self, lambda name, why: self.told.append((name, why)))

    def __call__(self) -> Mapping[str, str]:
        self.asked += 1
        self.may.wait(20)
        return self.known


def test_many_that_are_lost_at_once_are_few_questions() -> None:
    oracle = Oracle()
    oracle.known = {f"worker-{number}": "taken" for number in range(200)}
    for number in range(100):
        oracle.termination_reasons.lost(f"worker-{number}")
    oracle.may.set()
    wait_until(lambda: len(oracle.told) == 100)
    oracle.termination_reasons.close()
    assert oracle.asked <= 2
    assert len(oracle.told) == len(set(oracle.told)) == 100


def test_what_was_not_known_at_first_is_asked_once_more_at_the_end() -> None:
    oracle = Oracle()
    oracle.may.set()
    oracle.termination_reasons.lost("worker-1")
    wait_until(lambda: oracle.asked)
    oracle.known = {"worker-1": "taken", "worker-2": "taken"}
    oracle.termination_reasons.close()
    assert oracle.told == [("worker-1", "taken")]


def test_nobody_is_asked_where_nobody_is_lost() -> None:
    oracle = Oracle()
    oracle.termination_reasons.close()
    assert oracle.asked == 0


def test_an_error_is_no_harm() -> None:
    def ask() -> Mapping[str, str]:
        raise FanrunError("no permission")

    termination_reasons = TerminationReasons(ask, lambda name, why: None)
    termination_reasons.lost("worker-1")
    termination_reasons.close()
