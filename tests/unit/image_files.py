"""Image files in memory for tests: encoded, processed, and refused."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image

from imaging.rules import ImageError, Limits, Operations
from imaging.transform import transform
from tests.unit.shown_pixels import Array

CASES = Path(__file__).resolve().parents[1] / "cases"


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as a file of that format."""
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def processed(content: bytes, operations: Operations, limits: Limits | None = None) -> bytes:
    """Return the result of operations on a file."""
    target = io.BytesIO()
    transform(io.BytesIO(content), target, operations, limits or Limits())
    return target.getvalue()


def refusal(content: bytes, operations: Operations, limits: Limits | None = None) -> str:
    """Return the kind and the text of the error for a file that must be refused."""
    with pytest.raises(ImageError) as found:
        processed(content, operations, limits)
    return f"{found.value.kind}: {found.value}"


def tiff(samples: Array, tags: dict[int, tuple[int, ...]], order: str = "<") -> bytes:
    """An uncompressed TIFF whose pixels lie as the array does: (planes, height, width) or (height, width, samples)."""
    data = samples.tobytes()
    planes = tags.get(284) == (2,)
    height, width = samples.shape[1:3] if planes else samples.shape[:2]
    count = samples.shape[0] if planes else samples.shape[2]
    size = len(data) // (count if planes else 1)
    strips = tuple(8 + size * number for number in range(count if planes else 1))
    found = {
        256: (width,),
        257: (height,),
        259: (1,),
        273: strips,
        277: (count,),
        278: (height,),
        279: (size,) * len(strips),
        **tags,
    }
    entries, extra, end = b"", b"", 8 + len(data) + 2 + 12 * len(found) + 4
    for tag, values in sorted(found.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            packed, extra = struct.pack(f"{order}I", end + len(extra)), extra + packed
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(found)) + entries + b"\0\0\0\0" + extra


def camera(width: int, height: int) -> bytes:
    """EXIF with a thumbnail and the size of the image, as a camera writes it."""
    exif = Image.Exif()
    exif.update({0x010F: "Maker", 0x0100: width, 0x0101: height})
    exif.get_ifd(0x8769).update({0xA002: width, 0xA003: height, 0x9003: "2020:01:01 00:00:00"})
    plain = exif.tobytes()[6:]
    order, at = ">" if plain[:2] == b"MM" else "<", len(plain)
    thumbnail = encoded(Image.new("RGB", (16, 12), "red"), "JPEG")
    second = struct.pack(f"{order}H", 3)
    for tag, value in ((0x0103, 6), (0x0201, at + 42), (0x0202, len(thumbnail))):
        second += struct.pack(f"{order}HHII", tag, 4, 1, value)
    link = 10 + 12 * struct.unpack_from(f"{order}H", plain, 8)[0]
    first = plain[:link] + struct.pack(f"{order}I", at) + plain[link + 4 :]
    return b"Exif\0\0" + first + second + b"\0\0\0\0" + thumbnail
