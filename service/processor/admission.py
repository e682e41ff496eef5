"""Who may work now, who waits, who is sent away: slots for work and a bounded queue before them."""

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
    """Runs work in threads, `slots` at once and first come first served; at most `queue` wait."""

    def __init__(self, slots: int, queue: int, metrics: ProcessorMetrics) -> None:
        self.slots, self.queue, self.metrics = slots, queue, metrics
        self.free = asyncio.Semaphore(slots)
        self.pool = ThreadPoolExecutor(slots, "work")
        self.busy = self.waiting = 0
        self.usual = 0.05  # seconds a piece of work takes, as seen lately
        metrics.slots.set(slots)

    async def run(self, work: Callable[[], Result]) -> tuple[Result, float]:
        """Wait for a slot and do it; returns the result and the seconds waited. Raises Exhausted, and what `work` does.

        Who is cancelled while waiting leaves the queue, and nothing is done for them.
        """
        if self.busy >= self.slots and self.waiting >= self.queue:
            self.metrics.rejected.inc()
            seconds = min(10.0, max(0.05, self.usual * (self.waiting + 1) / self.slots))
            raise Exhausted("as many images as can wait are waiting: try again later", retry_after=seconds)
        began = time.perf_counter()
        await self.take()
        waited = time.perf_counter() - began
        self.metrics.queue_seconds.observe(waited)
        job = asyncio.get_running_loop().run_in_executor(self.pool, work)
        job.add_done_callback(lambda job: self.give_back(job, began + waited))
        # A thread can't be stopped: its slot is free when it is done, whoever still waits for it.
        return await asyncio.shield(job), waited

    async def take(self) -> None:
        """Take a slot, after all who came before."""
        self.waiting += 1
        self.metrics.queue_depth.set(self.waiting)
        try:
            await self.free.acquire()
            self.busy += 1
        finally:
            self.waiting -= 1
            self.metrics.queue_depth.set(self.waiting)
            self.metrics.busy.set(self.busy)

    def give_back(self, job: asyncio.Future[Result], began: float) -> None:
        """Free the slot of a job that is done."""
        job.exception()  # whoever asked for it may be gone: nobody else looks
        self.usual += (time.perf_counter() - began - self.usual) / 8
        self.busy -= 1
        self.metrics.busy.set(self.busy)
        self.free.release()
