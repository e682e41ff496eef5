"""BMP files: every depth, header and mask, top-down, with alpha, with an alpha that is zero everywhere, compressed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tests.unit.corpus import icc, model
from tests.unit.corpus.model import HEIGHT, WIDTH, Array, Built, Picture, Sample

MASKS = {
    "555": (16, (0x7C00, 0x3E0, 0x1F, 0)),
    "565": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "444": (16, (0xF00, 0xF0, 0xF, 0)),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "xrgb": (32, (0xFF0000, 0xFF00, 0xFF, 0)),
    "xbgr": (32, (0xFF, 0xFF00, 0xFF0000, 0)),
    "bgrx": (32, (0xFF000000, 0xFF0000, 0xFF00, 0)),
    "rgbx": (32, (0xFF00, 0xFF0000, 0xFF000000, 0)),
    "argb": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "abgr": (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "rgba": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
    "bgra": (32, (0xFF00, 0xFF0000, 0xFF000000, 0xFF)),
    "101010": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
    "2101010": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    "565-32": (32, (0xF800, 0x7E0, 0x1F, 0)),
}
"""Name -> bits a pixel, masks of red, green, blue, alpha."""


@dataclass(frozen=True)
class Header:
    """What a BMP says of itself beside its size."""

    size: int = 40  # of the header: 12, 40, 52, 56, 108 (V4) or 124 (V5)
    compression: int = 0  # 1, 2: by runs; 3: masks
    masks: tuple[int, int, int, int] | None = None
    top_down: bool = False
    colours: int = 0  # in the palette, if fewer than the depth allows


def wrapped(rows: list[bytes], bits: int, header: Header, palette: bytes = b"") -> bytes:
    """Return a file with its rows, given from the top."""
    rows = [row + bytes(-len(row) % 4) for row in (rows if header.top_down else rows[::-1])]
    return assembled(b"".join(rows), bits, header, palette)


def assembled(body: bytes, bits: int, header: Header, palette: bytes = b"") -> bytes:
    """Return a file with headers before what is its pixel data."""
    height = -HEIGHT if header.top_down else HEIGHT
    if header.size == 12:
        info = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
    else:
        fields = (header.size, WIDTH, height, 1, bits, header.compression, len(body), 2835, 2835, header.colours, 0)
        info = struct.pack("<IiiHHIIiiII", *fields)
    if header.masks:
        amount = 3 if header.size in (40, 52) else 4
        info += struct.pack(f"<{amount}I", *header.masks[:amount])
    if header.size >= 108:
        info = info.ljust(56, b"\0") + b"BGRs"  # colours are those of sRGB
        info = info.ljust(header.size, b"\0")
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body


def indexed(bits: int, header: Header) -> Built:
    """Build a file with a palette."""
    amount = header.colours or 2**bits
    indices = (model.gray(bits)[..., 0].astype(np.int64) % amount).astype(np.uint8)
    table = np.random.default_rng(bits).integers(0, 256, (amount, 3)).astype(np.uint8)
    planes = np.unpackbits(indices[..., None], axis=2)[..., 8 - bits :]
    rows = [row.tobytes() for row in np.packbits(planes.reshape(HEIGHT, -1), axis=1)]
    entries = table[:, ::-1]
    if header.size != 12:
        entries = np.dstack([entries[None], np.zeros((1, amount, 1), np.uint8)])[0]
    content = wrapped(rows, bits, header, entries.tobytes())
    shown = Picture(table[indices].astype(np.float64), scaled=model.HARD)
    return Built(content, shown, reader=header.size != 12)


def shaded(shades: Array) -> Built:
    """Build a file whose palette is gray."""
    bits = 1 if len(shades) == 2 else 8
    indices = model.gray(bits)[..., 0]
    entries = np.dstack([shades, shades, shades, shades * 0])[0].astype(np.uint8).tobytes()
    rows = [row.tobytes() for row in (np.packbits(indices, axis=1) if bits == 1 else indices)]
    shown = Picture(shades[indices][..., None].astype(np.float64), "L", scaled=model.HARD)
    return Built(wrapped(rows, bits, Header(), entries), shown)


def profiled() -> Built:
    """Build a file of 24 bits with an embedded colour profile (V5)."""
    built, profile = true_colour(Header(124)), icc.wide_profile()
    content = bytearray(built.content)
    content[14 + 56 : 14 + 60] = b"DEBM"  # PROFILE_EMBEDDED, the lowest byte first
    content[14 + 112 : 14 + 120] = struct.pack("<II", len(content) - 14, len(profile))
    shown = replace(built.shown, profile=profile)
    return Built(bytes(content) + profile, shown, needed=False)


def true_colour(header: Header) -> Built:
    """Build a file of 24 bits."""
    colours = model.colours()
    content = wrapped([row.tobytes() for row in colours[..., ::-1]], 24, header)
    return Built(content, Picture(colours.astype(np.float64)), reader=header.size != 12)


def words(channels: Array, bits: int, masks: tuple[int, int, int, int]) -> tuple[Array, Array]:
    """Return channels of 0..255 packed by masks, and what they are after that."""
    packed = np.zeros(channels.shape[:2], np.uint64)
    shown = np.zeros(channels.shape, np.float64)
    for place, mask in enumerate(masks[: channels.shape[2]]):
        if mask:
            top = mask // (mask & -mask)
            value = np.rint(channels[..., place] * (top / 255.0)).astype(np.uint64)
            packed |= value * np.uint64(mask & -mask)
            shown[..., place] = value * (255.0 / top)
    return packed.astype("<u4" if bits == 32 else "<u2"), shown


def masked(name: str, header: Header, opacity: str = "real") -> Built:
    """Build a file whose channels lie where masks say; `opacity`: real, zero, or junk in bits without a mask."""
    bits, masks = MASKS[name]
    alpha = model.alpha() if opacity == "real" else np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    packed, shown = words(np.dstack([model.colours(), alpha]), bits, masks)
    if opacity == "junk":  # what lies in the fourth byte means nothing without a mask
        packed |= model.alpha()[..., 0].astype("<u4") << np.uint32(24)
    content = wrapped([row.tobytes() for row in packed], bits, header)
    found = shown[..., 3] if masks[3] and opacity == "real" else None
    deep = 10 if name.endswith("101010") else 8
    least = 45.0 if name not in ("1555", "2101010", "444", "4444") else model.HARD
    needed = name in ("555", "565", "xrgb", "argb")
    shown_as = Picture(shown[..., :3], alpha=found, depth=deep, slack=float(bits == 16), scaled=least)
    return Built(content, shown_as, needed)


def runs(bits: int) -> Built:
    """Build a file compressed by runs, in runs alone, without jumps."""
    indices = model.gray(bits)[..., 0]
    table = np.random.default_rng(bits).integers(0, 256, (2**bits, 3)).astype(np.uint8)
    body = b""
    for row in indices[::-1]:
        body += b"".join(bytes((1, int(index) << (8 - bits))) for index in row) + b"\0\0"
    entries = np.dstack([table[:, ::-1][None], np.zeros((1, 2**bits, 1), np.uint8)])[0].tobytes()
    content = assembled(body + b"\0\1", bits, Header(compression=1 if bits == 8 else 2), entries)
    shown = Picture(table[indices].astype(np.float64), scaled=model.HARD)
    return Built(content, shown, needed=False, reader=False)


def samples() -> Iterator[Sample]:
    """Yield all BMP files."""
    for bits in (1, 4, 8):
        for size in (12, 40, 108, 124):
            for top_down in (False, True) if size != 12 else (False,):
                name = f"bmp-palette{bits}-header{size}{'-top-down' if top_down else ''}.bmp"
                yield Sample(name, partial(indexed, bits, Header(size, top_down=top_down)))
    yield Sample("bmp-palette8-7-colours.bmp", partial(indexed, 8, Header(colours=7)))
    yield Sample("bmp-palette4-3-colours.bmp", partial(indexed, 4, Header(colours=3)))
    for size in (12, 40, 108, 124):
        yield Sample(f"bmp-rgb24-header{size}.bmp", partial(true_colour, Header(size)))
    yield Sample("bmp-rgb24-top-down.bmp", partial(true_colour, Header(top_down=True)))
    yield Sample("bmp-rgb24-profile.bmp", profiled)
    for shades in ((0, 255), (255, 0), (255, 255), (40, 200)):
        yield Sample(f"bmp-two-shades-{shades[0]}-{shades[1]}.bmp", partial(shaded, np.array(shades)))
    yield Sample("bmp-gray.bmp", partial(shaded, np.arange(256)))
    yield Sample("bmp-gray-reversed.bmp", partial(shaded, np.arange(256)[::-1]))
    yield from with_masks()
    for size in (40, 108, 124):
        for top_down in (False, True):
            header = Header(size, top_down=top_down)
            end = f"header{size}{'-top-down' if top_down else ''}.bmp"
            yield Sample(f"bmp-rgb16-{end}", partial(masked, "555", header))
            yield Sample(f"bmp-rgb32-zero-{end}", partial(masked, "xrgb", header, "zero"))
            yield Sample(f"bmp-rgb32-junk-{end}", partial(masked, "xrgb", header, "junk"))
    for bits in (4, 8):
        yield Sample(f"bmp-runs{bits}.bmp", partial(runs, bits))


def with_masks() -> Iterator[Sample]:
    """Yield files with masks, with every header that has room for them."""
    for name, (_, masks) in MASKS.items():
        for size in (56, 108, 124) if masks[3] else (40, 52, 56, 108, 124):
            for top_down in (False, True) if size in (40, 124) else (False,):
                header = Header(size, 3, masks, top_down)
                end = f"header{size}{'-top-down' if top_down else ''}.bmp"
                yield Sample(f"bmp-masks-{name}-{end}", partial(masked, name, header))
                if masks[3]:
                    yield Sample(f"bmp-masks-{name}-zero-{end}", partial(masked, name, header, "zero"))
