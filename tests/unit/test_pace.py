"""How fast a run is said to be, and when an estimate of the time left means something."""

from __future__ import annotations

import pytest

from fanrun.fleet.pace import SOONEST, WINDOW, Pace, clock_text, total_text


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_done_before_says_nothing_of_the_speed() -> None:
    clock = Clock()
    pace = Pace(100, clock)
    pace.skip(40)
    clock.now += 10
    pace.advance(20)
    assert (pace.done, pace.speed, pace.average) == (60, 2.0, 2.0)
    assert pace.left == 20


def test_the_speed_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    pace = Pace(1000, clock)
    for _ in range(60):
        clock.now += 1
        pace.advance(1)
    for _ in range(int(WINDOW)):
        clock.now += 1
        pace.advance(5)
    assert pace.speed == pytest.approx(5, rel=0.1)
    assert pace.average == pytest.approx((60 + 5 * WINDOW) / 90)


@pytest.mark.parametrize(("seconds", "done"), [(SOONEST - 0.1, 5), (10, 0), (10, 10)])
def test_no_estimate_is_better_than_one_that_means_nothing(seconds: float, done: int) -> None:
    clock = Clock()
    pace = Pace(10, clock)
    clock.now += seconds
    pace.advance(done)
    assert pace.left is None


def test_a_work_that_stands_still_becomes_slower() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    clock.now += 4
    pace.advance(4)
    left = pace.left
    clock.now += 8
    assert left is not None
    assert pace.left is not None
    assert pace.left > left


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (5.9, "0:05"), (754, "12:34"), (3723, "1:02:03")])
def test_a_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_the_line_about_the_whole() -> None:
    clock = Clock()
    pace = Pace(59, clock)
    clock.now += 5
    pace.advance(10)
    assert total_text(pace, "files") == "10/59 files, 2.0 files/s, 0:24 left"
    pace.advance(49)
    clock.now += 5
    assert total_text(pace, "files", is_over=True) == "59/59 files, 5.9 files/s"
