"""How fast a piece of work goes, and how long the rest will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW = 30.0
"""Seconds that a speed is measured over."""
SOONEST = 3.0
"""Seconds after which a first estimate of the time left means something."""


class Pace:
    """The progress of so many items (`total`, None if unknown): `done` counts those that are done or were before."""

    def __init__(self, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done = total, 0
        self._clock, self._begun = clock, clock()
        self._worked = 0
        self._samples = deque([(self._begun, 0)])

    def advance(self, count: int) -> None:
        """Count so many more items as done by this work."""
        self.done += count
        self._worked += count
        self._samples.append((self._clock(), self._worked))

    def skip(self, count: int) -> None:
        """Count so many more items as done before: they say nothing of the speed."""
        self.done += count

    @property
    def elapsed(self) -> float:
        """Return the seconds since the beginning."""
        return self._clock() - self._begun

    @property
    def average(self) -> float:
        """Return the items per second since the beginning."""
        return self._worked / max(self.elapsed, 0.001)

    @property
    def speed(self) -> float:
        """Return the items per second of the last WINDOW seconds."""
        now = self._clock()
        while len(self._samples) > 1 and self._samples[1][0] < now - WINDOW:
            self._samples.popleft()
        at, count = self._samples[0]
        return (self._worked - count) / max(now - at, 0.001)

    @property
    def left(self) -> float | None:
        """Return the seconds that the rest will take; None where that can't be said, or nothing is left."""
        rest = (self.total or 0) - self.done
        if rest <= 0 or self.elapsed < SOONEST or not (speed := self.speed):
            return None
        return rest / speed


def clock_text(seconds: float) -> str:
    """Return a duration as a clock shows it: 0:05, 12:34, 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def total_text(pace: Pace, unit: str, *, is_over: bool = False) -> str:
    """Return how much is done, how fast, and how long the rest will take."""
    speed = pace.average if is_over or pace.done == pace.total else pace.speed
    left = "" if is_over or pace.left is None else f", {clock_text(pace.left)} left"
    fast = f", {speed:.1f} {unit}/s" if speed else ""
    return f"{pace.done}/{pace.total} {unit}{fast}{left}"
