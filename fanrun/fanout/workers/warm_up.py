"""A worker's warm-up: how many batches it gets while its speeds are not known."""

from __future__ import annotations

import threading

from fanrun.fanout.schedule.throughput import ThroughputModel

PERMITS = {"push": 1, "process": 2}
"""At first a single batch may be on its way to the container or in it.  Once the speed of a stage is known, so many
more may be, as the next batches then have the right size.  The second batch is provisional: it is sized by the uplink's
speed alone, and goes back if the first container shows that it is far too heavy.  With all permits one batch is
processed, two are pushed and one is ready to follow; with several containers, one more for each.  Where there may be
more containers before long no batch is provisional: each of them gets a small one."""
SECOND_BATCH_DELAY = 0.4
"""Seconds after which a second batch, as small as the first, follows though that one is still on the uplink, so that a
slow uplink has something to do meanwhile."""


class WarmUp:
    """The permits of one worker: each batch holds one until it has left the container."""

    def __init__(self, model: ThroughputModel, containers: int = 1) -> None:
        self._model, self._containers = model, containers
        self._lock = threading.Lock()
        self._learned = {stage for stage in PERMITS if model.knows(stage)}
        self._permits = threading.Semaphore(containers + sum(PERMITS[stage] for stage in self._learned))
        self._taken = self._surplus = self._withheld = 0
        self._is_second_early = False
        self.first_processed = threading.Event()
        """Set when a first container has ended, or nothing more will run."""

    def acquire(self) -> None:
        """Wait until one batch more may be on its way."""
        if not self._knows("push"):
            if self._permits.acquire(timeout=SECOND_BATCH_DELAY):
                return
            with self._lock:
                self._is_second_early = "push" not in self._learned
            if self._is_second_early:
                return
        self._permits.acquire()

    def release(self) -> None:
        """Let another batch follow one that has left the container, or did not get there."""
        with self._lock:
            if self._surplus:
                self._surplus -= 1
                return
        self._permits.release()

    def resize(self, containers: int) -> None:
        """Let so many containers work at the same time."""
        with self._lock:
            more = containers - self._containers
            self._containers = containers
            if more < 0:
                self._surplus -= more
                return
            kept = min(self._surplus, more)
            self._surplus -= kept
        if more > kept:
            self._permits.release(more - kept)

    def learned(self, stage: str) -> None:
        """Note that the speed of a stage is known; more batches may follow the first time."""
        with self._lock:
            if stage not in PERMITS or stage in self._learned:
                return
            self._learned.add(stage)
            if stage == "push" and self._model.expects_more():
                self._withheld = PERMITS[stage]
                return
            early = stage == "process" and self._is_second_early  # it has taken one permit in advance
            count = PERMITS[stage] + self._withheld - (1 if early else 0)
            self._withheld = 0
        self._permits.release(count)

    def is_provisional(self) -> bool:
        """Return whether the batch just taken was sized by the uplink's speed alone, with others before it."""
        with self._lock:
            self._taken += 1
            is_first = self._taken <= self._containers
        return not is_first and self._model.knows("push") and not self._model.knows("process")

    def _knows(self, stage: str) -> bool:
        with self._lock:
            return stage in self._learned
