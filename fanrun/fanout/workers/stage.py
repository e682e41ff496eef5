"""The stages of a worker's pipeline, and the queues between them."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass

from fanrun.fanout.results.attempt import Attempt


@dataclass
class Stage:
    """A stage's work, the queue that it fills, which its last thread closes, and how many threads are left."""

    work: Callable[[], None]
    following: queue.Queue[Attempt | None] | None
    left: int = 0


def take(attempts: queue.Queue[Attempt | None]) -> Attempt | None:
    """Wait for the next attempt; None, also for all who ask later, when there will be no other."""
    attempt = attempts.get()
    if attempt is None:
        attempts.put(None)
    return attempt
