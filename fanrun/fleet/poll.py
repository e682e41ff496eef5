"""The one way to wait for something, and to retry what may fail for a while."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Clock:
    """Tells the time in seconds, sleeps, and draws numbers from 0 to 1; tests pass in one that does not sleep."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = secrets.SystemRandom().random


SYSTEM_CLOCK = Clock()


@dataclass(frozen=True)
class RetryPolicy:
    """How long and how often to try.

    `timeout` and `pause` are in seconds.  Each pause is longer or shorter by up to the share `jitter` of it, so that
    clients that begin together do not stay together.  `attempts` is the highest number of attempts, None for any.
    """

    timeout: float
    pause: float
    attempts: int | None = None
    jitter: float = 0.1


def poll(read: Callable[[], T], is_done: Callable[[T], bool], policy: RetryPolicy, clock: Clock = SYSTEM_CLOCK) -> T:
    """Call read() until is_done(value) or until the policy ends; return the last value.

    It is read at least once, and once more when the time is over.
    """
    attempts = _Attempts(policy, clock)
    while not is_done(value := read()) and attempts.wait():
        pass
    return value


def wait_until(is_true: Callable[[], bool], policy: RetryPolicy, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Call is_true() until it returns True; return False if it never did within the policy."""
    return poll(is_true, bool, policy, clock)


def retry(
    call: Callable[[], T], is_temporary: Callable[[Exception], bool], policy: RetryPolicy, clock: Clock = SYSTEM_CLOCK
) -> T:
    """Return what call() returns, and call it again after errors that are temporary.

    Raises any other error at once, and the last temporary one when the policy ends.
    """
    attempts = _Attempts(policy, clock)
    while True:
        try:
            return call()
        except Exception as error:
            if not is_temporary(error) or not attempts.wait():
                raise


class _Attempts:
    """Counts the attempts under a policy, and waits between them."""

    def __init__(self, policy: RetryPolicy, clock: Clock) -> None:
        self._policy, self._clock = policy, clock
        self._end = clock.now() + policy.timeout
        self._made = 0

    def wait(self) -> bool:
        """Note a failed attempt and sleep before the next one; return False if there is none."""
        self._made += 1
        left = self._end - self._clock.now()
        if left <= 0 or self._made == self._policy.attempts:
            return False
        spread = self._policy.jitter * (2 * self._clock.random() - 1)
        self._clock.sleep(min(self._policy.pause * (1 + spread), left))
        return True
