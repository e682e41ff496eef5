"""Read formats of plain rows by numpy: PNM, PFM, TGA, SGI, PCX, XBM."""

from __future__ import annotations

import re
import struct

import numpy as np

from tests.unit.corpus.model import Array, Picture
from tests.unit.corpus.readers_bmp import masked


def read_pnm(content: bytes) -> Picture:
    """Read PBM, PGM and PPM in bytes, and PFM."""
    kind = content[1:2]
    amount = 2 if kind == b"4" else 3
    found = re.match(rb"P.(?:\s+(?:#[^\n]*\n)*)" + rb"([-\d.]+)\s+" * (amount - 1) + rb"([-\d.]+)\s", content)
    assert found, content[:20]
    width, height = int(found[1]), int(found[2])
    body = content[found.end() :]
    if kind == b"4":
        stride = (width + 7) // 8
        rows = np.frombuffer(body, np.uint8, stride * height).reshape(height, stride)
        return Picture(255 - np.unpackbits(rows, axis=1)[:, :width, None].astype(np.float64) * 255, "L")
    if kind == b"f":
        values = np.frombuffer(body, "<f4" if float(found[3]) < 0 else ">f4", width * height)
        return Picture(values.reshape(height, width, 1)[::-1].astype(np.float64), "values", depth=32)
    top, channels = int(found[3]), 3 if kind == b"6" else 1
    samples = np.frombuffer(body, ">u2" if top > 255 else np.uint8, width * height * channels)
    pixels = samples.reshape(height, width, channels).astype(np.float64) * (255.0 / top)
    return Picture(pixels, "L" if channels == 1 else "RGB", depth=16 if top > 255 else 8)


def without_runs(body: bytes, size: int, amount: int) -> bytes:
    """Expand TGA's runs to so many pixels of `size` bytes."""
    found, place = bytearray(), 0
    while len(found) < amount * size:
        count, place = (body[place] & 127) + 1, place + 1
        if body[place - 1] & 128:
            found += body[place : place + size] * count
            place += size
        else:
            found += body[place : place + size * count]
            place += size * count
    return bytes(found)


def read_tga(content: bytes) -> Picture:
    """Read a TGA; alpha is there where the descriptor tells of it."""
    skipped, _, code, first, colours, wide = struct.unpack_from("<BBBHHB", content)
    width, height, bits, descriptor = struct.unpack_from("<HHBB", content, 12)
    start = 18 + skipped
    table = np.frombuffer(content, np.uint8, colours * wide // 8, start).reshape(colours, -1) if colours else None
    body, size = content[start + colours * wide // 8 :], (bits + 7) // 8
    body = without_runs(body, size, width * height) if code & 8 else body[: width * height * size]
    rows = np.frombuffer(body, np.uint8).reshape(height, width, -1)
    if bits == 1:
        raise ValueError("a TGA of one bit")
    rows = rows if descriptor & 0x20 else rows[::-1]
    rows = rows[:, ::-1] if descriptor & 0x10 else rows
    alpha = None
    if bits == 16 and code & 3 == 2:
        words = rows[..., 0] + rows[..., 1].astype(np.float64) * 256
        return Picture(np.dstack([masked(words, mask) for mask in (0x7C00, 0x3E0, 0x1F)]))
    if table is not None:
        rows = table[rows[..., 0].astype(np.intp) - first]
    if (rows.shape[2] in (2, 4) and descriptor & 15) or (table is not None and rows.shape[2] == 4):
        alpha = rows[..., -1].astype(np.float64)
    pixels = rows[..., :1] if code & 3 == 3 and bits in (8, 16) else rows[..., 2::-1]
    return Picture(pixels.astype(np.float64), "L" if pixels.shape[2] == 1 else "RGB", alpha)


def read_sgi(content: bytes) -> Picture:
    """Read an SGI without runs, as Pillow writes it."""
    _, runs, size, shape, width, height, channels = struct.unpack_from(">HBBHHHH", content)
    assert not runs
    channels = 1 if shape < 3 else channels
    samples = np.frombuffer(content, f">u{size}", width * height * channels, 512).reshape(channels, height, width)
    pixels = np.moveaxis(samples[:, ::-1], 0, 2).astype(np.float64) * (255.0 / (2 ** (8 * size) - 1))
    alpha = pixels[..., -1] if channels in (2, 4) else None
    pixels = pixels[..., :1] if channels < 3 else pixels[..., :3]
    return Picture(pixels, "L" if channels < 3 else "RGB", alpha, depth=8 * size)


def read_pcx(content: bytes) -> Picture:
    """Read a PCX of one bit, of 8 bits with a palette, or of three planes."""
    bits, left, top, right, bottom = struct.unpack_from("<3xBHHHH", content)
    planes, stride = struct.unpack_from("<BH", content, 65)
    width, height, place, found = right - left + 1, bottom - top + 1, 128, bytearray()
    while len(found) < height * planes * stride:
        count, value, place = 1, content[place], place + 1
        if value >= 0xC0:
            count, value, place = value & 63, content[place], place + 1
        found += bytes([value]) * count
    rows = np.frombuffer(bytes(found), np.uint8, height * planes * stride).reshape(height, planes, stride)
    if (bits, planes) == (1, 1):
        return Picture(np.unpackbits(rows[:, 0], axis=1)[:, :width, None].astype(np.float64) * 255, "L")
    assert bits == 8, bits
    if planes == 3:
        return Picture(np.moveaxis(rows[..., :width], 1, 2).astype(np.float64))
    table: Array = np.frombuffer(content[-768:], np.uint8).reshape(256, 3)
    return Picture(table[rows[:, 0, :width]].astype(np.float64))


def read_xbm(content: bytes) -> Picture:
    """Read an XBM."""
    width, height = (int(number) for number in re.findall(rb"_(?:width|height) (\d+)", content))
    body = np.array([int(value, 16) for value in re.findall(rb"0x([0-9a-fA-F]{2})", content)], np.uint8)
    bits = np.unpackbits(body.reshape(height, -1), axis=1, bitorder="little")[:, :width, None]
    return Picture(255 - bits.astype(np.float64) * 255, "L")


def read_spider(content: bytes) -> Picture:
    """Read a SPIDER file, whose byte order is that in which its header makes sense."""
    for order in "<>":
        head = np.frombuffer(content[:104], order + "f4")
        if head[0] == 1 and head[4] == 1:
            height, width, start = int(head[1]), int(head[11]), int(head[21])
            values = np.frombuffer(content, order + "f4", width * height, start).reshape(height, width, 1)
            return Picture(values.astype(np.float64), "values", depth=32)
    raise ValueError("no SPIDER file")


def read_dds(content: bytes) -> Picture:
    """Read an uncompressed DDS by its masks."""
    height, width = struct.unpack_from("<II", content, 12)
    flags, _, bits, *masks = struct.unpack_from("<IIIIIII", content, 80)
    assert not flags & 4, "compressed"
    size = bits // 8
    body = np.frombuffer(content, np.uint8, width * height * size, 128).reshape(height, width, size)
    words = (body.astype(np.int64) << (8 * np.arange(size))).sum(axis=2)
    channels = [masked(words.astype(np.float64), mask) for mask in masks if mask]
    gray = bool(flags & 0x20000)
    alpha = channels.pop() if masks[3] and flags & 1 else None
    return Picture(np.dstack(channels[:1] if gray else channels), "L" if gray else "RGB", alpha)
