"""Write TIFF files with control over every tag, by struct; compressed parts come from imagecodecs."""

from __future__ import annotations

import lzma
import struct
from dataclasses import dataclass, field
from typing import Any, Literal

import imagecodecs
import numpy as np

from tests.unit.corpus.model import Array

COMPRESSIONS = {
    "none": 1,
    "lzw": 5,
    "jpeg": 7,
    "deflate": 8,
    "packbits": 32773,
    "lzma": 34925,
    "old-deflate": 32946,
    "zstd": 50000,
    "webp": 50001,
}
CODES = {1: "B", 3: "H", 4: "I", 5: "I", 6: "b", 12: "d", 16: "Q"}
"""Types of tags by number -> struct's letter; a rational is two numbers."""
REVERSED = bytes(int(f"{number:08b}"[::-1], 2) for number in range(256))


@dataclass(frozen=True)
class Layout:
    """How samples lie in a TIFF file; the names are those of the specification."""

    bits: int = 8
    photometric: int = 2
    order: Literal["<", ">"] = "<"
    big: bool = False
    planar: int = 1
    compression: str = "none"
    predictor: int = 1
    fill_order: int = 1
    sample_format: int = 1
    extras: tuple[int, ...] = ()
    tile: int = 0  # the side of a tile in pixels; 0: strips
    rows: int = 9  # of a strip; 28 rows make four strips, the last one short
    tags: dict[int, tuple[int, Any]] = field(default_factory=dict)  # number -> type and value


def packed(part: Array, layout: Layout) -> bytes:
    """Return samples of shape (rows, width, channels) as the bytes of a strip or tile, not compressed."""
    rows = part.reshape(part.shape[0], -1)
    if layout.bits in (1, 2, 4, 12):
        wide = rows.astype(">u2")[..., None].view(np.uint8)
        bits = np.unpackbits(wide, axis=2)[..., -layout.bits :].reshape(rows.shape[0], -1)
        return np.packbits(bits, axis=1).tobytes()
    return rows.astype(rows.dtype.newbyteorder(layout.order)).tobytes()


def predicted(part: Array, layout: Layout) -> Array | bytes:
    """Return differences from the sample to the left, as predictor 2 wants them, or bytes for predictor 3."""
    if layout.predictor == 2:
        return np.concatenate([part[:, :1], part[:, 1:] - part[:, :-1]], axis=1)
    if layout.predictor == 3:
        native = np.ascontiguousarray(part.astype(part.dtype.newbyteorder(layout.order)))
        return bytes(imagecodecs.floatpred_encode(native, axis=-2).tobytes())
    return part


def compressed(part: Array, layout: Layout) -> bytes:
    """Return the bytes of one strip or tile."""
    if layout.compression == "jpeg":
        whole = np.ascontiguousarray(part if part.shape[2] != 1 else part[..., 0])
        space = "gray" if part.shape[2] == 1 else {2: "rgb", 6: "ycbcr", 5: "cmyk"}[layout.photometric]
        outer = {"ycbcr": "rgb"}.get(space, space)
        return bytes(imagecodecs.jpeg8_encode(whole, 95, colorspace=outer, outcolorspace=space, subsampling="444"))
    if layout.compression == "webp":
        return bytes(imagecodecs.webp_encode(np.ascontiguousarray(part), lossless=True))
    found = predicted(part, layout)
    content = found if isinstance(found, bytes) else packed(found, layout)
    if layout.compression == "packbits":  # each row on its own, as the specification demands
        size = len(content) // part.shape[0]
        rows = (content[start : start + size] for start in range(0, len(content), size))
        content = b"".join(bytes(imagecodecs.packbits_encode(row)) for row in rows)
    encoders: dict[str, Any] = {
        "lzw": imagecodecs.lzw_encode,
        "deflate": imagecodecs.zlib_encode,
        "zstd": imagecodecs.zstd_encode,
        "lzma": lzma.compress,
        "old-deflate": imagecodecs.zlib_encode,
    }
    if layout.compression in encoders:
        content = bytes(encoders[layout.compression](content))
    return content.translate(REVERSED) if layout.fill_order == 2 else content


def parts(samples: Array, layout: Layout) -> list[bytes]:
    """Cut samples of shape (height, width, channels) into compressed strips or tiles, in the order of the file."""
    planes = [samples] if layout.planar == 1 else [samples[..., k : k + 1] for k in range(samples.shape[2])]
    found = []
    for plane in planes:
        if layout.tile:
            side = layout.tile
            down, across = -plane.shape[0] % side, -plane.shape[1] % side
            padded = np.pad(plane, ((0, down), (0, across), (0, 0)), mode="edge")
            for top in range(0, padded.shape[0], side):
                lefts = range(0, padded.shape[1], side)
                found += [compressed(padded[top : top + side, left : left + side], layout) for left in lefts]
        else:
            tops = range(0, plane.shape[0], layout.rows)
            found += [compressed(plane[top : top + layout.rows], layout) for top in tops]
    return found


def tags_of(samples: Array, layout: Layout, chunks: list[bytes]) -> dict[int, tuple[int, Any]]:
    """Return all tags but the offsets of strips or tiles: number -> type and values."""
    height, width, channels = samples.shape
    sizes = [len(chunk) for chunk in chunks]
    found: dict[int, tuple[int, Any]] = {
        256: (3, width),
        257: (3, height),
        258: (3, [layout.bits] * channels),
        259: (3, COMPRESSIONS[layout.compression]),
        262: (3, layout.photometric),
        277: (3, channels),
    }
    if layout.tile:
        found |= {322: (3, layout.tile), 323: (3, layout.tile), 325: (4, sizes)}
    else:
        found |= {278: (3, layout.rows), 279: (4, sizes)}
    if layout.planar != 1:
        found[284] = (3, layout.planar)
    if layout.predictor != 1:
        found[317] = (3, layout.predictor)
    if layout.fill_order != 1:
        found[266] = (3, layout.fill_order)
    if layout.sample_format != 1:
        found[339] = (3, [layout.sample_format] * channels)
    if layout.extras:
        found[338] = (3, list(layout.extras))
    return found | layout.tags


def encode(samples: Array, layout: Layout) -> bytes:
    """Return a TIFF file of one page."""
    return pages([(samples, layout)])


def value_of(tag: tuple[int, Any], order: str) -> tuple[int, bytes]:
    """Return how many values a tag has, and their bytes."""
    kind, value = tag
    values = value if isinstance(value, (list, tuple)) else [value]
    if kind in (2, 7):
        return len(value), bytes(value)
    return len(values) // (2 if kind == 5 else 1), struct.pack(order + CODES[kind] * len(values), *values)


def directory(tags: dict[int, tuple[int, Any]], place: int, layout: Layout) -> tuple[bytes, bytes]:
    """Return a directory without its link to the next, and the values that do not fit in it, which lie at `place`."""
    word, count = ("Q", "Q") if layout.big else ("I", "H")
    room, entries, outside = struct.calcsize("=" + word), b"", b""
    for number, tag in sorted(tags.items()):
        amount, content = value_of(tag, layout.order)
        held = content.ljust(room, b"\0")
        if len(content) > room:
            held = struct.pack(layout.order + word, place + len(outside))
            outside += content + b"\0" * (len(content) % 2)
        entries += struct.pack(layout.order + "HH" + word, number, tag[0], amount) + held
    return struct.pack(layout.order + count, len(tags)) + entries, outside


def pages(contents: list[tuple[Array, Layout]]) -> bytes:
    """Return a TIFF file of several pages, which have one byte order."""
    order, big = contents[0][1].order, contents[0][1].big
    word = "Q" if big else "I"
    file = bytearray(b"II" if order == "<" else b"MM")
    file += struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    link = len(file)  # where the place of the next directory stands
    file += bytes(struct.calcsize("=" + word))
    for samples, layout in contents:
        chunks, offsets = parts(samples, layout), []
        for chunk in chunks:
            offsets.append(len(file))
            file += chunk + b"\0" * (len(chunk) % 2)
        tags = tags_of(samples, layout, chunks) | {324 if layout.tile else 273: (4, offsets)}
        entries, outside = directory(tags, len(file), layout)
        file += outside
        struct.pack_into(order + word, file, link, len(file))
        file += entries
        link = len(file)
        file += bytes(struct.calcsize("=" + word))
    return bytes(file)
