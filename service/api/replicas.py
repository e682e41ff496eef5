"""The API's processors, as `--processor` names them, and as a file may name others while calls flow."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from functools import partial

import grpc

from service.common.balancing import FILE, open_channel, read_target
from service.common.logs import log
from service.common.security import channel_credentials
from service.common.settings import Api
from service.common.threads import call_in_thread
from service.protos import imageprocessor_pb2 as pb
from service.protos import imageprocessor_pb2_grpc as pb_grpc

SERVICE = pb.DESCRIPTOR.services_by_name["ImageProcessor"].full_name
LOOK = 0.5
"""Seconds between two looks at a file of addresses."""
LOOKUP_TIMEOUT = 10.0
"""Seconds that a look-up of the processors may take: twice what the C library waits for one name server."""


class Replicas:
    """One channel to all processors; `stub` is the way to those there are now.

    A file of addresses is read again when it changes: calls that run end where they began, new ones go where it says.
    `read` returns gRPC's target for the text of `--processor`; it may block, so it is called in a thread.
    """

    def __init__(self, settings: Api, read: Callable[[str], str] = read_target) -> None:
        self.settings, self.read = settings, read
        self.lookup: asyncio.Future[str] | None = None
        self.credentials = channel_credentials(settings.processor_ca, settings.processor_cert, settings.processor_key)
        self.leaving = set[asyncio.Future[None]]()

    async def open(self) -> None:
        """Look the processors up and make the channel; raises ValueError, OSError, argparse.ArgumentTypeError."""
        self.use(await self.find())

    async def find(self) -> str:
        """Look the processors up; raises what `read` raises, and TimeoutError after LOOKUP_TIMEOUT seconds.

        A look-up that takes longer goes on, and the next call waits for it: there is never more than one.
        """
        if self.lookup is None:
            self.lookup = call_in_thread(partial(self.read, self.settings.processor))
        await asyncio.wait([self.lookup], timeout=LOOKUP_TIMEOUT)
        if not self.lookup.done():
            raise TimeoutError(f"the names in it are not resolved within {LOOKUP_TIMEOUT:g} s")
        lookup, self.lookup = self.lookup, None
        return lookup.result()

    def use(self, target: str) -> None:
        """Send new calls to this target."""
        self.target = target
        self.channel: grpc.aio.Channel = open_channel(target, SERVICE, self.credentials, self.settings.processor_name)
        self.stub = pb_grpc.ImageProcessorStub(self.channel)

    async def watch(self) -> None:
        """Follow the file, for ever; returns at once where there is none."""
        while self.settings.processor.startswith(FILE):
            await asyncio.sleep(LOOK)
            try:
                target = await self.find()
            except (ValueError, OSError, argparse.ArgumentTypeError) as error:
                log.warning("processors", extra={"fields": {"reason": str(error), "still": self.target}})
                continue
            if target != self.target:
                log.info("processors", extra={"fields": {"target": target}})
                left = asyncio.ensure_future(self.channel.close(self.settings.deadline))
                self.leaving.add(left)
                left.add_done_callback(self.leaving.discard)
                self.use(target)

    async def close(self) -> None:
        """End the connections."""
        await self.channel.close()
