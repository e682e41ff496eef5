"""Admission of work: a number of slots, and a bounded queue of calls that wait for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.common.errors import Exhausted
from service.common.metrics import ProcessorMetrics

Result = TypeVar("Result")


class Admission:
    """Runs work in threads, `slots` at once and in order of arrival; at most `queue` calls wait."""

    def __init__(self, slots: int, queue: int, metrics: ProcessorMetrics) -> None:
        self.slots, self.queue, self.metrics = slots, queue, metrics
        self.free = asyncio.Semaphore(slots)
        self.pool = ThreadPoolExecutor(slots, "work")
        self.busy = self.waiting = 0
        self.recent_seconds = 0.05  # that a piece of work takes: a moving average
        metrics.slots.set(slots)

    async def run(self, work: Callable[[], Result]) -> tuple[Result, float]:
        """Wait for a slot and do the work; returns the result and the seconds waited.

        A caller that is cancelled while it waits leaves the queue, and its work is not done.
        Raises Exhausted if the queue is full, and whatever `work` raises.
        """
        if self.busy >= self.slots and self.waiting >= self.queue:
            self.metrics.rejected.inc()
            seconds = min(10.0, max(0.05, self.recent_seconds * (self.waiting + 1) / self.slots))
            raise Exhausted("as many images as can wait are waiting: try again later", retry_after=seconds)
        began = time.perf_counter()
        await self.take()
        waited = time.perf_counter() - began
        self.metrics.queue_seconds.observe(waited)
        job = asyncio.get_running_loop().run_in_executor(self.pool, work)
        job.add_done_callback(lambda job: self.release(job, began + waited))
        # A thread can't be stopped: its slot is free when it ends, even if nobody waits for its result.
        return await asyncio.shield(job), waited

    async def take(self) -> None:
        """Wait for a slot, after the callers that came earlier."""
        self.waiting += 1
        self.metrics.queue_depth.set(self.waiting)
        try:
            await self.free.acquire()
            self.busy += 1
        finally:
            self.waiting -= 1
            self.metrics.queue_depth.set(self.waiting)
            self.metrics.busy.set(self.busy)

    def release(self, job: asyncio.Future[Result], began: float) -> None:
        """Free the slot of a job that is done."""
        job.exception()  # the caller may be gone, and asyncio warns about exceptions that nobody reads
        self.recent_seconds += (time.perf_counter() - began - self.recent_seconds) / 8
        self.busy -= 1
        self.metrics.busy.set(self.busy)
        self.free.release()
