"""Waiting and retrying, with a clock that does not sleep."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.poll import Clock, RetryPolicy, poll, retry, wait_until


@dataclass
class FakeTime:
    """Time that passes only where something sleeps or works."""

    seconds: float = 100.0
    draw: float = 0.5
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.sleep, lambda: self.draw)


def test_what_is_done_at_once_is_not_waited_for() -> None:
    time = FakeTime()
    assert poll(lambda: "up", lambda value: value == "up", RetryPolicy(10, 1), time.clock) == "up"
    assert time.slept == []


def test_it_is_read_until_it_is_done() -> None:
    time, values = FakeTime(), iter(["down", "down", "up", "down"])
    assert poll(lambda: next(values), lambda value: value == "up", RetryPolicy(10, 1), time.clock) == "up"
    assert time.slept == [1, 1]


def test_the_last_value_is_returned_when_time_is_over() -> None:
    time, values = FakeTime(), iter(range(100))
    assert poll(lambda: next(values), lambda value: False, RetryPolicy(2.5, 1), time.clock) == 3
    assert time.slept == [1, 1, 0.5], "no pause goes beyond the deadline, and the last attempt is at its end"


@pytest.mark.parametrize("timeout", [0, -5])
def test_without_time_there_is_one_attempt(timeout: float) -> None:
    time, answers = FakeTime(), iter([False, True])
    assert not wait_until(lambda: next(answers), RetryPolicy(timeout, 1), time.clock)
    assert time.slept == []


def test_what_takes_its_time_counts_too() -> None:
    time = FakeTime()

    def slow() -> bool:
        time.seconds += 4
        return False

    assert not wait_until(slow, RetryPolicy(10, 1), time.clock)
    assert time.slept == [1, 1]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 10))
def test_a_pause_differs_by_no_more_than_its_jitter(draw: float, jitter: float, pause: float) -> None:
    time = FakeTime(draw=draw)
    wait_until(lambda: False, RetryPolicy(1000, pause, attempts=2, jitter=jitter), time.clock)
    assert time.slept == [pytest.approx(pause, rel=jitter + 1e-9)]


def test_an_error_is_retried_while_it_is_temporary() -> None:
    time, errors = FakeTime(), iter([OSError("away"), OSError("away")])

    def call() -> str:
        for error in errors:
            raise error
        return "here"

    assert retry(call, lambda error: isinstance(error, OSError), RetryPolicy(10, 2), time.clock) == "here"
    assert time.slept == [2, 2]


def test_another_error_is_raised_at_once() -> None:
    time = FakeTime()
    with pytest.raises(ZeroDivisionError):
        retry(lambda: 1 // 0, lambda error: isinstance(error, OSError), RetryPolicy(10, 2), time.clock)
    assert time.slept == []


@pytest.mark.parametrize(("policy", "pauses"), [(RetryPolicy(5, 2), 3), (RetryPolicy(50, 2, attempts=3), 2)])
def test_the_last_error_is_raised_in_the_end(policy: RetryPolicy, pauses: int) -> None:
    time = FakeTime()
    errors = iter(OSError(f"attempt {n}") for n in range(1, 100))

    def call() -> None:
        raise next(errors)

    with pytest.raises(OSError, match=f"attempt {pauses + 1}$"):
        retry(call, lambda error: True, policy, time.clock)
    assert len(time.slept) == pauses


def test_an_interruption_is_never_retried() -> None:
    time = FakeTime()

    def call() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retry(call, lambda error: True, RetryPolicy(10, 2), time.clock)
    assert time.slept == []
