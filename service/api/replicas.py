"""The API's processors, as `--processor` names them; a file of addresses may change while calls run."""

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
POLL_INTERVAL = 0.5
"""Seconds between two reads of a file of addresses."""
LOOKUP_TIMEOUT = 10.0
"""Seconds that a look-up of the processors may take: twice what the C library waits for one name server."""


class Replicas:
    """One channel to all processors; `stub` calls the current ones.

    A file of addresses is read again and again. When it changes, running calls end where they began, and new calls go
    to the new addresses.
    `read` returns gRPC's target for the text of `--processor`; it may block, so it is called in a thread.
    """

    def __init__(self, settings: Api, read: Callable[[str], str] = read_target) -> None:
        self.settings, self.read = settings, read
        self.lookup: asyncio.Future[str] | None = None
        self.credentials = channel_credentials(settings.processor_ca, settings.processor_cert, settings.processor_key)
        self.leaving = set[asyncio.Future[None]]()

    async def open(self) -> None:
        """Resolve the processors and open the channel; raises ValueError, OSError, argparse.ArgumentTypeError."""
        self.switch_to(await self.find())

    async def find(self) -> str:
        """Resolve the processors; raises what `read` raises, and TimeoutError after LOOKUP_TIMEOUT seconds.

        A look-up that takes longer goes on, and the next call waits for it: there is never more than one.
        """
        if self.lookup is None:
            self.lookup = call_in_thread(partial(self.read, self.settings.processor))
        await asyncio.wait([self.lookup], timeout=LOOKUP_TIMEOUT)
        if not self.lookup.done():
            raise TimeoutError(f"the names in it are not resolved within {LOOKUP_TIMEOUT:g} s")
        lookup, self.lookup = self.lookup, None
        return lookup.result()

    def switch_to(self, target: str) -> None:
        """Send new calls to this target."""
        self.target = target
        self.channel: grpc.aio.Channel = open_channel(target, SERVICE, self.credentials, self.settings.processor_name)
        self.stub = pb_grpc.ImageProcessorStub(self.channel)

    async def watch(self) -> None:
        """Follow the file of addresses until cancelled; returns at once if there is none."""
        while self.settings.processor.startswith(FILE):
            await asyncio.sleep(POLL_INTERVAL)
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
                self.switch_to(target)

    async def close(self) -> None:
        """Close the channel."""
        await self.channel.close()
