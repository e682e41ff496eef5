"""Write PNG files chunk by chunk, with any depth, colour type, interlacing and ancillary chunks."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tests.unit.corpus.model import Array

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of Adam7: left, top, and the steps across and down."""
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def rows(samples: Array, bits: int) -> bytes:
    """Return rows of samples of shape (height, width, channels), each behind filter type 0."""
    lines = samples.reshape(samples.shape[0], -1)
    if bits < 8:
        planes = np.unpackbits(lines.astype(np.uint8)[..., None], axis=2)[..., -bits:]
        lines = np.packbits(planes.reshape(lines.shape[0], -1), axis=1)
    elif bits == 16:
        lines = lines.astype(">u2")
    return b"".join(b"\0" + line.tobytes() for line in lines)


def data(samples: Array, bits: int, interlaced: bool = False) -> bytes:
    """Return compressed image data."""
    if not interlaced:
        return zlib.compress(rows(samples, bits))
    parts = (samples[top::down, left::across] for left, top, across, down in PASSES)
    return zlib.compress(b"".join(rows(part, bits) for part in parts if part.size))


def encode(
    samples: Array, bits: int, colour: int, *chunks: bytes, interlaced: bool = False, after: tuple[bytes, ...] = ()
) -> bytes:
    """Return a PNG; `chunks` come before the image data, `after` behind it."""
    height, width = samples.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    body = chunk(b"IDAT", data(samples, bits, interlaced))
    return b"".join([SIGNATURE, chunk(b"IHDR", head), *chunks, body, *after, chunk(b"IEND", b"")])
