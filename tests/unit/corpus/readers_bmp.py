"""Read BMP files by numpy, by the letter of the specification: alpha is there only where a mask says so."""

from __future__ import annotations

import struct

import numpy as np

from tests.service.golden import Pixels
from tests.unit.corpus.model import Picture


def masked(words: Pixels, mask: int) -> Pixels:
    """Return the bits of a mask, scaled to 0..255."""
    low = (mask & -mask).bit_length() - 1
    return np.asarray(((words.astype(np.int64) & mask) >> low) * (255.0 / (mask >> low)), np.float64)


def read_profile(content: bytes, size: int) -> bytes | None:
    """Return the colour profile that a header of `size` bytes has, if it has one."""
    if size < 124 or content[70:74] != b"DEBM":
        return None
    offset, length = struct.unpack_from("<II", content, 126)
    return content[14 + offset : 14 + offset + length]


def read_masks(content: bytes, size: int) -> tuple[int, ...]:
    """Return which bits of a pixel of 16 or 32 bits are red, green, blue and alpha."""
    bits, compression = struct.unpack_from("<HI", content, 28)
    if compression != 3:
        return (0xFF0000, 0xFF00, 0xFF, 0) if bits == 32 else (0x7C00, 0x3E0, 0x1F, 0)
    alpha = struct.unpack_from("<I", content, 66)[0] if size >= 56 else 0
    return (*struct.unpack_from("<III", content, 54), alpha)


def read_bmp(content: bytes) -> Picture:
    """Read an uncompressed BMP with a header of 40 bytes or more."""
    start, size, width, height = struct.unpack_from("<IIii", content, 10)
    bits, compression = struct.unpack_from("<HI", content, 28)
    colours = struct.unpack_from("<I", content, 46)[0]
    assert compression in (0, 3), compression
    profile = read_profile(content, size)
    stride = (width * bits + 31) // 32 * 4
    rows = np.frombuffer(content, np.uint8, stride * abs(height), start).reshape(abs(height), stride)
    rows = rows[::-1] if height > 0 else rows
    if bits <= 8:
        table = np.frombuffer(content, np.uint8, 4 * (colours or 2**bits), 14 + size).reshape(-1, 4)[:, 2::-1]
        planes = np.unpackbits(rows, axis=1).reshape(abs(height), -1, bits)
        indices = planes @ (1 << np.arange(bits)[::-1])
        return Picture(table[indices[:, :width]].astype(np.float64))
    if bits == 24:
        pixels = rows[:, : width * 3].reshape(abs(height), width, 3)[..., ::-1].astype(np.float64)
        return Picture(pixels, profile=profile)
    words = rows.view("<u4" if bits == 32 else "<u2")[:, :width].astype(np.float64)
    masks = read_masks(content, size)
    pixels = np.stack([masked(words, mask) for mask in masks[:3]], axis=-1)
    alpha = masked(words, masks[3]) if masks[3] else None
    if alpha is not None and not alpha.any():
        alpha = None  # as everybody shows it
    return Picture(pixels, alpha=alpha, profile=profile)
