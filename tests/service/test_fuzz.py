"""Random and broken bytes for both services: no crash, no leak, no bug; the health service keeps answering.

`--fuzz-seconds=60` goes on for a minute (default: 8); `--fuzz-seed` tries other bytes than those of each run.
"""

from __future__ import annotations

import io
import random
import time
from collections import Counter
from collections.abc import Callable

import grpc
import pytest
from PIL import Image

from service.protos import imageprocessor_pb2 as pb
from tests.service.conftest import picture
from tests.service.servers import BIG, Farm, Served, content, health, scaler

GOOD = ("OK", "INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAVAILABLE")
METHODS = ("/imagescaler.ImageScaler/ScaleImage", "/imageprocessor.ImageProcessor/Process")


def modes() -> list[bytes]:
    """Small images of every format and of many kinds."""
    found = [picture(90, 70, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")]
    for mode, kind in [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"), ("1", "TIFF")]:
        target = io.BytesIO()
        Image.new("RGBA" if mode == "P" else mode, (50, 40)).convert(mode).save(target, kind)
        found.append(target.getvalue())
    frames, target = [Image.new("P", (30, 30), color) for color in range(3)], io.BytesIO()
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:])
    return [*found, target.getvalue()]


def spoil(image: bytes, chance: random.Random) -> bytes:
    """Return an image cut off, or with bytes changed, repeated or removed; or bytes that are no image."""
    data = bytearray(image)
    way = chance.randrange(6)
    if way == 0:
        del data[chance.randrange(len(data)) :]
    elif way == 1:
        return chance.randbytes(chance.randrange(300))
    elif way == 2:
        place = chance.randrange(len(data))
        data[place:place] = data[: chance.randrange(200)]
    elif way == 3:
        place = chance.randrange(len(data))
        del data[place : place + chance.randrange(1, 50)]
    for _ in range(chance.choice((0, 1, 3, 20))):
        if data:
            # Headers are where the dangerous numbers are.
            data[chance.randrange(min(len(data), chance.choice((40, 200, 10**6))))] = chance.choice(
                (0, 1, 127, 128, 255)
            )
    return bytes(data)


def request(method: str, image: bytes, chance: random.Random) -> bytes:
    """Return a request with that image; some are broken as protobuf messages."""
    raw = content(image, chance.choice(("", "http://127.0.0.1/", "\u2603"))).SerializeToString()
    if method != METHODS[0]:
        scale = pb.Scale(width=chance.choice((0, 1, 99, 2**32 - 1)), height=chance.choice((0, 1, 70, 70_000)))
        message = pb.ProcessRequest(image=image, grayscale=chance.random() < 0.5, rotate=chance.choice((0, 90, 270, 7)))
        if chance.random() < 0.8:
            message.scale.CopyFrom(scale)
        raw = message.SerializeToString()
    return spoil(raw, chance) if chance.random() < 0.2 else raw


def ask(call: Callable[..., object], raw: bytes) -> str:
    """Return the code that a call ends with."""
    try:
        call(raw, timeout=20)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


@pytest.mark.alone
def test_broken_bytes_break_nothing(farm: Farm, pytestconfig: pytest.Config, fuzz_seed: int) -> None:
    api, served = farm.pair("--size", "64x48", "--grayscale")
    chance, images, codes = random.Random(fuzz_seed), modes(), Counter[tuple[str, str]]()
    channels = [grpc.insecure_channel(f"127.0.0.1:{each.ready['listen']}", BIG) for each in (api, served)]
    calls: list[tuple[str, Callable[..., object]]] = [
        (name, channel.unary_unary(name)) for channel, name in zip(channels, METHODS, strict=True)
    ]
    end = time.monotonic() + float(pytestconfig.getoption("--fuzz-seconds"))
    while time.monotonic() < end:
        for method, call in calls:
            raw = request(method, spoil(chance.choice(images), chance), chance)
            code = ask(call, raw)
            codes[method, code] += 1
            bugs = [line["error"] for line in served.lines("a bug")] if code not in GOOD else []
            assert code in GOOD, (f"repeat with --fuzz-seed={fuzz_seed}", sum(codes.values()), code, raw[:2000], bugs)
        if sum(codes.values()) % 200 == 0:
            assert [health(channel, timeout=1) for channel in channels] == ["SERVING"] * 2
    assert all(codes[method, code] for method in METHODS for code in ("OK", "INVALID_ARGUMENT")), codes
    # Headers may lie up to 24 megapixels, in each slot: what that took is kept by the allocator.
    assert max(api.memory(), served.memory()) < 600 * 2**20
    for each in (api, served):
        assert each.process.poll() is None
        assert each.lines("a bug") == []


@pytest.mark.long
def test_memory_is_flat_over_10_000_requests(farm: Farm) -> None:
    api, served = farm.pair("--size", "32x24", "--grayscale")
    # One channel a thread would be one connection; a few calls at once keep both servers busy.
    image, stub = picture(48, 36), scaler(api)

    def pour(count: int, at_once: int = 8) -> None:
        for _ in range(count // at_once):
            for call in [stub.ScaleImage.future(content(image), timeout=60) for _ in range(at_once)]:
                assert call.result().content

    def sizes(*all_: Served) -> list[int]:
        return [each.memory() for each in all_]

    pour(2_000)  # caches fill, threads start
    before = sizes(api, served)
    pour(10_000)
    grown = [after - first for after, first in zip(sizes(api, served), before, strict=True)]
    assert max(grown) < 8 * 2**20, grown
