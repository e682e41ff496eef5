"""The API: says what is to become of an image, and has a processor do it: python -m service.api."""

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
from service.common.security import Doorkeeper
from service.common.server import CannotStart, Running, run
from service.common.settings import IMAGE, Api, read_api
from service.protos import imageprocessor_pb2
from service.protos import imagescaler_pb2 as pb
from service.protos import imagescaler_pb2_grpc as pb_grpc

Found = TypeVar("Found")
NAME = pb.DESCRIPTOR.services_by_name["ImageScaler"].full_name


@dataclass
class Decision:
    """What shall become of an image, and why; sizes are (width, height) as shown."""

    scale: bool
    grayscale: bool
    source: tuple[int, int]
    target: tuple[int, int]
    reason: str

    @property
    def name(self) -> str:
        """In the metrics."""
        return "+".join(word for word in ("scale" * self.scale, "grayscale" * self.grayscale) if word) or "untouched"


def decide(header: Header, wish: Operations) -> Decision:
    """Compare an image with what is wanted."""
    size = (header.width, header.height)
    target = target_size(size, wish)
    within = f"each side is within {wish.margin:.3g} of {wish.width}x{wish.height}"
    reason = f"a side is not within {wish.margin:.3g} of {wish.width}x{wish.height}, {wish.how}" if target else within
    reason += "; grayscale is " + ("on" if wish.grayscale else "off")
    return Decision(target is not None, wish.grayscale, size, target or size, reason)


def operations(settings: Api) -> Operations:
    """Return what every image is to become."""
    width, height = settings.size
    return Operations(
        width=width, height=height, how=settings.how, margin=settings.margin, grayscale=settings.grayscale
    )


@dataclass
class Clock:
    """Measures the stages of a call; `others` is what the processor tells of its own."""

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
        self.settings, self.wish, self.replicas = settings, operations(settings), replicas
        self.fetcher = Fetcher(settings.allow_networks)
        self.metrics = ScalerMetrics()
        self.pool = ThreadPoolExecutor(4, "inspect")  # images are others' bytes: none may keep the loop
        self.running = 0

    async def ScaleImage(self, request: pb.ScaleImageRequest, context: Context) -> pb.ScaleImageReply:
        """Bring an image to the size and colours that are wanted."""
        if self.running >= self.settings.calls:
            raise Exhausted(f"{self.running} calls are at work, which is all: try again later", retry_after=1)
        self.running += 1
        try:
            return await self.scale(request.image, context)
        finally:
            self.running -= 1

    async def scale(self, image: pb.Image, context: Context) -> pb.ScaleImageReply:
        """Get the image, decide, do it, and tell in the trailers what was done."""
        clock = Clock(self.metrics)
        content = await self.get(image, clock)
        with clock.stage("inspect"):
            header = await self.look(inspect, content)
        decision = decide(header, self.wish)
        self.metrics.decisions.labels(decision.name).inc()
        if decision.scale or decision.grayscale:
            with clock.stage("process"):
                content = await self.process(content, decision, clock, context)
        else:
            with clock.stage("verify"):
                await self.look(verify, content)
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
        """The bytes that were sent, else those behind the URL; raises ServiceError."""
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
        """What is behind a URL, counted by how it went."""
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

    async def look(self, how: Callable[[IO[bytes], Limits], Found], content: bytes) -> Found:
        """Have an image read in a thread, its header or all of it; raises InvalidImage."""
        try:
            work = partial(how, io.BytesIO(content), LIMITS)
            return await asyncio.get_running_loop().run_in_executor(self.pool, work)
        except ImageError as error:
            raise InvalidImage(str(error)) from None

    async def process(self, content: bytes, decision: Decision, clock: Clock, context: Context) -> bytes:
        """Have a processor do it, in the time that is left; raises ServiceError."""
        wish, request = self.wish, imageprocessor_pb2.ProcessRequest(image=content, grayscale=decision.grayscale)
        if decision.scale:
            scale = imageprocessor_pb2.Scale(width=wish.width, height=wish.height, how=wish.how.upper())
            request.scale.CopyFrom(scale)
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
    """Answer until a signal comes."""
    try:
        doorkeeper = Doorkeeper(settings.tokens, settings.rate)
        replicas = Replicas(settings)
        await replicas.open()
    except (ValueError, OSError, argparse.ArgumentTypeError) as error:
        raise CannotStart(f"--tokens or --processor can't be used: {error}") from None
    running = Running(settings, NAME, doorkeeper)
    pb_grpc.add_ImageScalerServicer_to_server(Servicer(settings, replicas), running.server)
    await running.start()
    watching = asyncio.ensure_future(replicas.watch())
    await running.wait()
    watching.cancel()
    await replicas.close()


def main() -> int:
    """Run the program of the command line; returns its exit code."""
    return run(partial(serve, read_api(sys.argv[1:], os.environ)), "service.api")
