"""Requests to the API, sent when they are due or so many at once, and what became of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from itertools import count
from typing import Any

import grpc

from service.loadtest import stats
from service.loadtest.ramp import Ramp

METHOD = "/imagescaler.ImageScaler/ScaleImage"
PAUSE = 0.1
"""Seconds that a closed loop waits after a failure: a refusal comes at once, and it would only collect them."""
IDLE = 0.05
"""Seconds after which a place of the closed loop that is not wanted asks again."""


class Pressure:
    """The requests of one run and the samples of those that have ended; times are seconds since it began."""

    def __init__(
        self, channels: Sequence[grpc.aio.Channel], requests: Sequence[bytes], *, limit: int, timeout: float, token: str
    ) -> None:
        # As bytes both ways: what is measured is the service, not this program's protobuf.
        calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [each.unary_unary(METHOD) for each in channels]
        self._calls = calls
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._requests, self._timeout = requests, timeout
        self._room = asyncio.Semaphore(limit)
        self._clock = asyncio.get_running_loop().time
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begun = self._clock()
        self.sent = 0
        self.samples: list[stats.Sample] = []
        self.codes: Counter[str] = Counter()
        self.messages: dict[str, str] = {}

    @property
    def seconds(self) -> float:
        """How long the run has been going on."""
        return self._clock() - self._begun

    @property
    def under_way(self) -> int:
        """How many requests have not ended yet, those that wait for room here among them."""
        return self.sent - len(self.samples)

    async def open_loop(self, ramp: Ramp) -> None:
        """Begin each request when it is due, however many are still under way; ends when all have ended.

        Its time counts from when it was due, even where it could only be sent later: else a service that stalls
        would be asked less, and look better than it is (coordinated omission).
        """
        for number in count():
            if (due := ramp.due(number)) >= ramp.seconds:
                break
            await asyncio.sleep(max(due - self.seconds, 0))
            self._begin(self._send(number, due))
        await self._finish()

    async def closed_loop(self, ramp: Ramp) -> None:
        """Keep as many requests under way as the ramp says, each beginning when one has ended; ends when all have."""
        numbers = count()

        async def fill(place: int) -> None:
            while (now := self.seconds) < ramp.seconds:
                if place >= round(ramp.level(now)):
                    await asyncio.sleep(IDLE)
                elif await self._send(next(numbers), now) != stats.OK:
                    await asyncio.sleep(PAUSE)

        for place in range(round(max(ramp.first, ramp.last))):
            self._begin(fill(place))
        await self._finish()

    async def stop(self) -> None:
        """Give up the requests that are under way: they are in no sample."""
        for task in self._tasks:
            task.cancel()
        await self._finish()

    async def _send(self, number: int, due: float) -> str:
        """Send a request whose time began at `due`, note what became of it, and return its code."""
        self.sent += 1
        code, call = stats.OK, self._calls[number % len(self._calls)]
        try:
            async with self._room:
                left = max(due + self._timeout - self.seconds, 0)
                await call(self._requests[number % len(self._requests)], timeout=left, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            self.messages.setdefault(code, error.details() or "")
        ended = self.seconds
        self.samples.append(stats.Sample(ended, ended - due, code))
        self.codes[code] += 1
        return code

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks.copy())
