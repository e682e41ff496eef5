"""The API's processors, as `--processor` names them, and as a file may name others while calls flow."""

from __future__ import annotations

import argparse
import asyncio

import grpc

from service.balancing import FILE, open_channel, read_target
from service.logs import log
from service.protos import imageprocessor_pb2 as pb
from service.protos import imageprocessor_pb2_grpc as pb_grpc
from service.security import channel_credentials
from service.settings import Api

SERVICE = pb.DESCRIPTOR.services_by_name["ImageProcessor"].full_name
LOOK = 0.5
"""Seconds between two looks at a file of addresses."""


class Replicas:
    """One channel to all processors; `stub` is the way to those there are now.

    A file of addresses is read again when it changes: calls that run end where they began, new ones go where it says.
    Raises what read_target raises.
    """

    def __init__(self, settings: Api) -> None:
        self.settings = settings
        self.credentials = channel_credentials(settings.processor_ca, settings.processor_cert, settings.processor_key)
        self.leaving = set[asyncio.Future[None]]()
        self.use(read_target(settings.processor))

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
                target = read_target(self.settings.processor)
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
