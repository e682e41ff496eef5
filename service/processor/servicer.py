"""The processor: processes images as requests say, and stores nothing: python -m service.processor."""

from __future__ import annotations

import io
import os
import sys
import time
from functools import partial
from typing import NamedTuple

from imaging.rules import ImageError, Operations
from imaging.transform import transform
from service.common.calls import Context
from service.common.errors import InvalidImage, InvalidRequest
from service.common.images import LIMITS
from service.common.metrics import ProcessorMetrics
from service.common.security import Authenticator
from service.common.server import Running, run
from service.common.settings import IMAGE, MESSAGE, PIXELS, Processor, read_processor
from service.processor.admission import Admission
from service.protos import imageprocessor_pb2 as pb
from service.protos import imageprocessor_pb2_grpc as pb_grpc

NAME = pb.DESCRIPTOR.services_by_name["ImageProcessor"].full_name
HOW = {pb.Scale.EXACT: "exact", pb.Scale.FIT: "fit", pb.Scale.COVER: "cover"}


class Processed(NamedTuple):
    """A processed image, and the seconds that it took."""

    image: bytes
    seconds: float


def read_operations(request: pb.ProcessRequest) -> Operations:
    """Return the operations that a request asks for; raises InvalidRequest."""
    scale = request.scale
    if request.HasField("scale") and not (scale.width or scale.height):
        raise InvalidRequest("scale has neither width nor height")
    if scale.width * scale.height > PIXELS or max(scale.width, scale.height) > 65_535:
        raise InvalidRequest(f"{scale.width} x {scale.height} is more than the 24 megapixels that a result may have")
    if scale.how not in HOW:
        raise InvalidRequest("scale's how is none of EXACT, FIT, COVER")
    if request.rotate not in (0, 90, 180, 270):
        raise InvalidRequest("rotate is none of 0, 90, 180, 270 degrees")
    return Operations(scale.width, scale.height, HOW[scale.how], 0.0, request.grayscale, request.rotate)


def work(image: bytes, operations: Operations) -> Processed:
    """Process an image; raises InvalidImage."""
    began, target = time.perf_counter(), io.BytesIO()
    try:
        transform(io.BytesIO(image), target, operations, LIMITS)
    except ImageError as error:
        raise InvalidImage(str(error)) from None
    if target.tell() > MESSAGE - 1024:
        raise InvalidImage(f"the result has {target.tell()} bytes, more than the 32 MiB of a message")
    return Processed(target.getvalue(), time.perf_counter() - began)


class Servicer(pb_grpc.ImageProcessorServicer):
    """imageprocessor.ImageProcessor."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission

    async def Process(self, request: pb.ProcessRequest, context: Context) -> pb.ProcessReply:
        """Process the image as the request says, as soon as a slot is free."""
        if len(request.image) > IMAGE:
            raise InvalidImage(f"the image has {len(request.image)} bytes, at most 20 MiB may be")
        processed, waited = await self.admission.run(partial(work, request.image, read_operations(request)))
        stages = f"queue;dur={waited * 1000:.1f}, transform;dur={processed.seconds * 1000:.1f}"
        context.set_trailing_metadata((("server-timing", stages),))
        return pb.ProcessReply(image=processed.image)


async def serve(settings: Processor) -> None:
    """Serve until a signal comes."""
    running = Running(settings, NAME, Authenticator())
    admission = Admission(settings.slots, settings.queue, ProcessorMetrics())
    pb_grpc.add_ImageProcessorServicer_to_server(Servicer(admission), running.server)
    await running.start()
    await running.wait()


def main() -> int:
    """Run the program of the command line; returns its exit code."""
    return run(partial(serve, read_processor(sys.argv[1:], os.environ)), "service.processor")
