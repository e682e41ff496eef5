"""Small colour profiles: gray with a gamma of its own, and inks that are not those of the textbook."""

from __future__ import annotations

import itertools
import struct
from functools import cache

import numpy as np
import pyvips

from tests.service.golden import Pixels, luma
from tests.unit.corpus.model import Array

D50 = (0.9642, 1.0, 0.8249)
INKS = np.array([[0, 160, 230], [220, 0, 130], [250, 230, 0], [40, 40, 40]]) / 255.0
"""What cyan, magenta, yellow and black leave of white paper, as sRGB."""
TO_XYZ = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])


def fixed(*values: float) -> bytes:
    """Return numbers as s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def profile(kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return a profile of version 2."""
    about = b"a profile for tests\0"
    common = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(about)) + about + bytes(78),
        b"cprt": b"text\0\0\0\0public domain\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50),
    }
    tags = common | tags
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, kind, space, pcs)
    head += struct.pack(">6H4s4sIIIQI", 2020, 1, 1, 0, 0, 0, b"acsp", b"APPL", 0, 0, 0, 0, 0)
    return (head + fixed(*D50)).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


@cache
def gray_profile() -> bytes:
    """Return a profile of gray with a gamma of 1.8."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(1.8 * 256))
    return profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})


@cache
def wide_profile() -> bytes:
    """Return a profile of RGB with a gamma of 2.2 and primaries wider than those of sRGB."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256))
    columns = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
    tags = {
        name: b"XYZ \0\0\0\0" + fixed(*column)
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
    }
    return profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def lab_of(colour: Pixels) -> tuple[int, int, int]:
    """Return a colour of sRGB, 0..1, as L*a*b* of 8 bits."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in TO_XYZ @ linear / D50)
    return round((116 * y - 16) * 2.55), round(500 * (x - y)) + 128, round(200 * (y - z)) + 128


@cache
def ink_profile() -> bytes:
    """Return a profile of CMYK, whose table has the sixteen corners."""
    corners = itertools.product((0, 1), repeat=4)
    colours = [np.prod(np.where(np.array(corner)[:, None] == 1, INKS, 1.0), axis=0) for corner in corners]
    table = bytes(value for colour in colours for value in lab_of(colour))
    straight = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": head + straight * 4 + table + straight * 3})


def gray_of_inks(samples: Array) -> Pixels:
    """Return the luma of CMYK (0..255) that is brought to sRGB through the profile of inks, by libvips."""
    height, width, _ = samples.shape
    image = pyvips.Image.new_from_memory(samples.astype(np.uint8).tobytes(), width, height, 4, "uchar")
    image = image.copy(interpretation="cmyk")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", ink_profile())
    found = image.icc_transform("srgb", embedded=True, intent="relative")
    return luma(np.asarray(found.numpy(), np.float64))
