"""Build GIF files, one for each feature of the format."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tests.unit.corpus import model
from tests.unit.corpus.model import HEIGHT, WIDTH, Array, Built, Picture, Sample


@dataclass(frozen=True)
class Frame:
    """One picture of a GIF, of indices."""

    indices: Array  # (height, width)
    left: int = 0
    top: int = 0
    palette: Array | None = None  # (colours, 3); its own
    transparent: int | None = None
    interlaced: bool = False
    disposal: int = 0


def packed(indices: Array, bits: int) -> bytes:
    """Return indices as LZW codes, none of which stands for more than one pixel."""
    least = max(2, bits)
    clear, width, held, found, amount = 1 << least, least + 1, 0, bytearray(), 0
    codes: list[int] = []
    for place, index in enumerate(indices.ravel().tolist()):
        if place % (clear - 2) == 0:  # before the codes would grow by a bit
            codes.append(clear)
        codes.append(index)
    for code in [*codes, clear + 1]:
        held |= code << amount
        amount += width
        while amount >= 8:
            found.append(held & 255)
            held >>= 8
            amount -= 8
    if amount:
        found.append(held)
    blocks = [bytes(found[start : start + 255]) for start in range(0, len(found), 255)]
    return bytes([least]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def table(palette: Array) -> tuple[int, bytes]:
    """Return the bits of a colour table and its bytes."""
    bits = max(1, (len(palette) - 1).bit_length())
    return bits, palette.astype(np.uint8).tobytes().ljust(3 << bits, b"\0")


def encode(palette: Array | None, *frames: Frame, background: int = 0, loops: bool = False) -> bytes:
    """Return a GIF; without a palette of its own each frame has one."""
    bits, colours = table(palette) if palette is not None else (1, b"")
    flags = (0x80 | (bits - 1)) if palette is not None else 0
    old = all(frame.transparent is None and not frame.disposal for frame in frames) and not loops
    content = b"GIF87a" if old else b"GIF89a"
    content += struct.pack("<HHBBB", WIDTH, HEIGHT, flags, background, 0) + colours
    if loops:
        content += b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0"
    for frame in frames:
        if not old:
            key = frame.transparent
            flags = frame.disposal << 2 | (key is not None)
            content += struct.pack("<BBBBHBB", 0x21, 0xF9, 4, flags, 10, key or 0, 0)
        own, inner = table(frame.palette) if frame.palette is not None else (bits, b"")
        flags = (0x80 | (own - 1)) * (frame.palette is not None) | 0x40 * frame.interlaced
        height, width = frame.indices.shape
        content += struct.pack("<BHHHHB", 0x2C, frame.left, frame.top, width, height, flags) + inner
        rows = [*range(0, height, 8), *range(4, height, 8), *range(2, height, 4), *range(1, height, 2)]
        lines = frame.indices[rows] if frame.interlaced else frame.indices
        content += packed(lines, own)
    return content + b";"


def colours(bits: int, seed: int = 0) -> Array:
    """Return a palette."""
    return np.random.default_rng(bits + seed).integers(0, 256, (2**bits, 3))


def indices(bits: int) -> Array:
    """Return the gray scene as indices."""
    return model.gray(bits)[..., 0]


def shown(palette: Array, found: Array, transparent: int | None = None) -> Picture:
    """Return what indices show."""
    alpha = None if transparent is None else np.where(found == transparent, 0.0, 255.0)
    return Picture(palette[found].astype(np.float64), alpha=alpha, scaled=22.0)


def plain(bits: int, transparent: bool, interlaced: bool, local: bool) -> Built:
    """Build a file of one frame."""
    palette, found = colours(bits), indices(bits)
    key = int(found[14, 20]) if transparent else None
    frame = Frame(found, palette=palette if local else None, transparent=key, interlaced=interlaced)
    return Built(encode(None if local else palette, frame), shown(palette, found, key))


def several(transparent: bool, disposal: int) -> Built:
    """Build an animation, of which the first frame counts."""
    palette, found = colours(6), indices(6)
    key = int(found[14, 20]) if transparent else None
    second = Frame(found[::-1][4:20, 8:30], 8, 4, palette=colours(6, 1), transparent=key, disposal=disposal)
    first = Frame(found, transparent=key, disposal=disposal)
    return Built(encode(palette, first, second, loops=True), shown(palette, found, key))


def smaller(transparent: bool) -> Built:
    """Build a file whose only frame does not fill the screen, the rest of which has the background's colour.

    Browsers show nothing there, and others do so if there is a transparent colour.
    """
    palette, found = colours(6), indices(6)
    key = int(found[14, 20]) if transparent else None
    frame = Frame(found[4:20, 8:30], 8, 4, transparent=key)
    pixels = np.tile(palette[5].astype(np.float64), (HEIGHT, WIDTH, 1))
    pixels[4:20, 8:30] = palette[found[4:20, 8:30]]
    alpha = None
    if transparent:
        alpha = np.zeros((HEIGHT, WIDTH))
        alpha[4:20, 8:30] = np.where(found[4:20, 8:30] == key, 0, 255)
    content = encode(palette, frame, background=5)
    shown = Picture(pixels, alpha=alpha, scaled=22.0)
    around = np.zeros((HEIGHT, WIDTH))
    around[4:20, 8:30] = 255
    also = None if transparent else replace(shown, alpha=around)
    return Built(content, shown, needed=False, also=also, reader=transparent)


def ending(content: bytes) -> Built:
    """Build a complete file with other bytes behind its end."""
    built = plain(6, False, False, False)
    return replace(built, content=built.content + content)


def shades(bits: int) -> Built:
    """Build a file whose palette is gray."""
    palette = np.rint(np.linspace(0, 255, 2**bits))[:, None].repeat(3, axis=1).astype(np.int64)
    found = shown(palette, indices(bits))
    return Built(encode(palette, Frame(indices(bits))), replace(found, scaled=model.HARD if bits < 8 else 40.0))


def samples() -> Iterator[Sample]:
    """Yield all GIF files."""
    for bits in (1, 2, 4, 5, 8):
        for transparent in (False, True):
            for interlaced in (False, True):
                for local in (False, True):
                    ends = ("-trns" * transparent, "-interlaced" * interlaced, "-local" * local)
                    build = partial(plain, bits, transparent, interlaced, local)
                    yield Sample(f"gif-palette{bits}{''.join(ends)}.gif", build)
        yield Sample(f"gif-gray{bits}.gif", partial(shades, bits))
    for transparent in (False, True):
        for disposal in (0, 1, 2, 3):
            name = f"gif-animated-{disposal}{'-trns' * transparent}.gif"
            yield Sample(name, partial(several, transparent, disposal))
        yield Sample(f"gif-smaller-frame{'-trns' * transparent}.gif", partial(smaller, transparent))
    for name, content in (("zeros", bytes(100)), ("junk", b"junk" * 40), ("trailer", b";;\r\n"), ("space", b"  \n")):
        yield Sample(f"gif-trailing-{name}.gif", partial(ending, content))
