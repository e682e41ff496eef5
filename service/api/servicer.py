"""The API: decides what is done to an image, and has a processor do it: python -m service.api."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TypeVar

import grpc

from imaging.decode import inspect, verify
from imaging.rules import Header, ImageError, Limits, Operations, target_size
from service.api.fetch import Fetcher
from service.api.replicas import Replicas
from service.common.calls import Context, remaining
from service.common.errors import Exhausted, InvalidImage, InvalidRequest, ServiceError, from_processor
from service.common.images import LIMITS
from service.common.logs import REQUEST_ID, log, request_id
from service.common.metrics import ScalerMetrics
from service.common.security import Authenticator
from service.common.server import CannotStart, Running, run
from service.common.settings import IMAGE, Api, read_api
from service.protos import imageprocessor_pb2
from service.protos import imagescaler_pb2 as pb
from service.protos import imagescaler_pb2_grpc as pb_grpc

Inspected = TypeVar("Inspected")
NAME = pb.DESCRIPTOR.services_by_name["ImageScaler"].full_name


@dataclass
class Decision:
    """What is done to an image, and why; sizes are (width, height) as shown."""

    scale: bool
    grayscale: bool
    source: tuple[int, int]
    target: tuple[int, int]
    reason: str

    @property
    def name(self) -> str:
        """Return its name in metrics and trailers."""
        names = {"scale": self.scale, "grayscale": self.grayscale}
        return "+".join(name for name, chosen in names.items() if chosen) or "untouched"


def decide(header: Header, operations: Operations) -> Decision:
    """Compare an image with the operations that are configured."""
    size = (header.width, header.height)
    target = target_size(size, operations)
    margin = f"within {operations.margin:.3g} of {operations.width}x{operations.height}"
    reason = f"a side is not {margin}, {operations.how}" if target else f"each side is {margin}"
    reason += "; grayscale is " + ("on" if operations.grayscale else "off")
    return Decision(target is not None, operations.grayscale, size, target or size, reason)


def read_operations(settings: Api) -> Operations:
    """Return the operations that the settings ask for."""
    width, height = settings.size
    return Operations(
        width=width, height=height, how=settings.how, margin=settings.margin, grayscale=settings.grayscale
    )


@dataclass
class Clock:
    """Measures the stages of a call, for metrics and the trailer server-timing."""

    metrics: ScalerMetrics
    stages: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, however it ends."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self.metrics.stages.labels(name).observe(seconds)
            self.stages.append(f"{name};dur={seconds * 1000:.1f}")


class Servicer(pb_grpc.ImageScalerServicer):
    """imagescaler.ImageScaler."""

    def __init__(self, settings: Api, replicas: Replicas) -> None:
        self.settings, self.operations, self.replicas = settings, read_operations(settings), replicas
        self.fetcher = Fetcher(settings.allow_networks)
        self.metrics = ScalerMetrics()
        self.pool = ThreadPoolExecutor(
            4, "inspect"
        )  # decoding an image may take long, and must not block the event loop
        self.running = 0

    async def ScaleImage(self, request: pb.ScaleImageRequest, context: Context) -> pb.ScaleImageReply:
        """Bring an image to the configured size and colours."""
        if self.running >= self.settings.calls:
            raise Exhausted(f"{self.running} calls are at work, which is all: try again later", retry_after=1)
        self.running += 1
        try:
            return await self.scale(request.image, context)
        finally:
            self.running -= 1

    async def scale(self, image: pb.Image, context: Context) -> pb.ScaleImageReply:
        """Get the image, decide what to do, have it done, and report it in the trailers."""
        clock = Clock(self.metrics)
        content = await self.get(image, clock)
        with clock.stage("inspect"):
            header = await self.read_image(inspect, content)
        decision = decide(header, self.operations)
        self.metrics.decisions.labels(decision.name).inc()
        if decision.scale or decision.grayscale:
            with clock.stage("process"):
                content = await self.process(content, decision, clock, context)
        else:
            with clock.stage("verify"):
                await self.read_image(verify, content)
        sizes = ["{}x{}".format(*size) for size in (decision.source, decision.target)]
        context.set_trailing_metadata(
            (
                ("x-source-size", sizes[0]),
                ("x-target-size", sizes[1]),
                ("x-decision", decision.name),
                ("x-reason", decision.reason),
                ("server-timing", ", ".join(clock.stages)),
            )
        )
        return pb.ScaleImageReply(content=content)

    async def get(self, image: pb.Image, clock: Clock) -> bytes:
        """Return the bytes that were sent, else the content of the URL; raises ServiceError."""
        content = image.content
        if not content and not image.source.http_uri:
            raise InvalidRequest("there is no image: give image.content or image.source.http_uri")
        if not content:
            with clock.stage("fetch"):
                content = await self.fetch(image.source.http_uri)
        if len(content) > IMAGE:
            raise InvalidImage(f"the image has {len(content)} bytes, at most 20 MiB may be")
        return content

    async def fetch(self, uri: str) -> bytes:
        """Return the content of a URL, and count the fetch by its result."""
        result = "CANCELLED"
        try:
            content = await self.fetcher.fetch(uri)
            result = "OK"
            return content
        except ServiceError as error:
            result = error.code.name
            raise
        finally:
            self.metrics.fetches.labels(result).inc()

    async def read_image(self, reader: Callable[[IO[bytes], Limits], Inspected], content: bytes) -> Inspected:
        """Run a reader on an image, of its header or of all its pixels, in a thread; raises InvalidImage."""
        try:
            work = partial(reader, io.BytesIO(content), LIMITS)
            return await asyncio.get_running_loop().run_in_executor(self.pool, work)
        except ImageError as error:
            raise InvalidImage(str(error)) from None

    async def process(self, content: bytes, decision: Decision, clock: Clock, context: Context) -> bytes:
        """Call a processor, within the time that is left; raises ServiceError."""
        request = imageprocessor_pb2.ProcessRequest(image=content, grayscale=decision.grayscale)
        if decision.scale:
            width, height, how = self.operations[:3]
            request.scale.CopyFrom(imageprocessor_pb2.Scale(width=width, height=height, how=how.upper()))
        left = remaining(context)
        seconds = self.settings.deadline if left is None else left
        call = self.replicas.stub.Process(request, timeout=seconds, metadata=((REQUEST_ID, request_id.get()),))
        try:
            reply = await call
        except grpc.aio.AioRpcError as error:
            log.warning("processor", extra={"fields": {"code": error.code().name, "reason": error.details()}})
            raise from_processor(error) from error
        clock.stages += [str(value) for key, value in await call.trailing_metadata() if key == "server-timing"]
        return bytes(reply.image)


async def serve(settings: Api) -> None:
    """Serve until a signal comes."""
    try:
        authenticator = Authenticator(settings.tokens, settings.rate)
        replicas = Replicas(settings)
        await replicas.open()
    except (ValueError, OSError, argparse.ArgumentTypeError) as error:
        raise CannotStart(f"--tokens or --processor can't be used: {error}") from None
    running = Running(settings, NAME, authenticator)
    pb_grpc.add_ImageScalerServicer_to_server(Servicer(settings, replicas), running.server)
    await running.start()
    watching = asyncio.ensure_future(replicas.watch())
    await running.wait()
    watching.cancel()
    await replicas.close()


def main() -> int:
    """Run the program of the command line; returns its exit code."""
    return run(partial(serve, read_api(sys.argv[1:], os.environ)), "service.api")
