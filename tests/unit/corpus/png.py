"""PNG files: every colour type and depth, interlaced, transparent by tRNS, with colour chunks and EXIF, animated."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from tests.unit.corpus import icc, jpeg, model
from tests.unit.corpus.model import Array, Built, Picture, Sample, picture, with_
from tests.unit.corpus.png_writer import GRAY, GRAY_ALPHA, PALETTE, RGB, RGB_ALPHA, chunk, data, encode

GAMMA = struct.pack(">I", 100_000)  # linear light
WIDE = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)  # Adobe RGB's primaries
KINDS = {
    GRAY: ("gray", (1, 2, 4, 8, 16)),
    RGB: ("rgb", (8, 16)),
    GRAY_ALPHA: ("graya", (8, 16)),
    RGB_ALPHA: ("rgba", (8, 16)),
}


def samples_of(colour: int, bits: int) -> Array:
    """Return the scene for a colour type."""
    found = model.gray(bits) if colour in (GRAY, GRAY_ALPHA) else model.colours(bits)
    return np.dstack([found, model.alpha(bits)]) if colour in (GRAY_ALPHA, RGB_ALPHA) else found


def plain(colour: int, bits: int, *chunks: bytes, interlaced: bool = False) -> Built:
    """Build a file without a palette."""
    samples = samples_of(colour, bits)
    content = encode(samples, bits, colour, *chunks, interlaced=interlaced)
    return Built(content, picture(samples, bits, alpha=colour in (GRAY_ALPHA, RGB_ALPHA)))


def keyed(colour: int, bits: int, mask: int = 0) -> Built:
    """Build gray or RGB with one transparent value; `mask`: bits above the depth that readers must ignore."""
    samples = samples_of(colour, bits)
    samples[4:12, 6:30] = key = samples[14, 20].copy()
    content = encode(samples, bits, colour, chunk(b"tRNS", struct.pack(f">{len(key)}H", *(int(v) | mask for v in key))))
    opacity = np.where((samples == key).all(axis=2), 0.0, 255.0)
    shown = replace(picture(samples, bits), alpha=opacity, scaled=model.HARD)
    return Built(content, shown, needed=bits == 8 or colour == GRAY)


def indexed(bits: int, transparent: int, interlaced: bool = False, colours: int = 0) -> Built:
    """Build a palette; `transparent`: how many of its first entries have an alpha of their own."""
    random = np.random.default_rng(bits)
    amount = colours or 2**bits
    table = random.integers(0, 256, (amount, 3))
    indices = (model.gray(bits).astype(np.int64) % amount).astype(np.uint8)
    opacity = np.full(amount, 255)
    opacity[:transparent] = [0, 255, 128, 37, 0, 200, 90, 64][:transparent]
    chunks = [chunk(b"PLTE", table.astype(np.uint8).tobytes())]
    if transparent:
        chunks.append(chunk(b"tRNS", opacity[:transparent].astype(np.uint8).tobytes()))
    content = encode(indices, bits, PALETTE, *chunks, interlaced=interlaced)
    index = indices[..., 0].astype(np.intp)
    alpha = opacity[index].astype(np.float64) if transparent else None
    return Built(content, Picture(table[index].astype(np.float64), "RGB", alpha, scaled=model.HARD))


def basic() -> Iterator[Sample]:
    """Yield every colour type and depth, interlaced and not."""
    for interlaced in (False, True):
        end = "-interlaced" if interlaced else ""
        for colour, (name, depths) in KINDS.items():
            for bits in depths:
                yield Sample(f"png-{name}{bits}{end}.png", partial(plain, colour, bits, interlaced=interlaced))
        for bits in (1, 2, 4, 8):
            for transparent in (0, 1, min(8, 2**bits)):
                name = f"png-palette{bits}-trns{transparent}{end}.png"
                yield Sample(name, partial(indexed, bits, transparent, interlaced))
    yield Sample("png-palette8-5-colours.png", partial(indexed, 8, 2, False, 5))


def transparent() -> Iterator[Sample]:
    """Yield gray and RGB with a transparent value."""
    for colour in (GRAY, RGB):
        name, depths = KINDS[colour]
        for bits in depths:
            yield Sample(f"png-{name}{bits}-trns.png", partial(keyed, colour, bits))
    yield Sample("png-gray4-trns-high-bits.png", partial(keyed, GRAY, 4, 0xFF00))


def coloured(colour: int, bits: int, names: str) -> Built:
    """Build a file that says how its colours are meant."""
    profile = icc.gray_profile() if colour == GRAY else icc.wide_profile()
    chunks = {
        "gama": chunk(b"gAMA", GAMMA),
        "chrm": chunk(b"cHRM", WIDE),
        "srgb": chunk(b"sRGB", b"\0"),
        "iccp": chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile)),
        "cicp": chunk(b"cICP", bytes((12, 13, 0, 1))),
    }
    parts = names.split("+")
    built = plain(colour, bits, *(chunks[name] for name in parts))
    if "iccp" in parts:
        return with_(built, lambda picture: replace(picture, profile=profile))
    if "srgb" in parts:
        return built
    return with_(
        built,
        lambda picture: replace(
            picture, colour_chunks={chunk[4:8]: chunk[8:-4] for chunk in map(chunks.__getitem__, parts)}
        ),
    )


def meant() -> Iterator[Sample]:
    """Yield files with gAMA, cHRM, sRGB, cICP (Display P3) and iCCP."""
    for colour, bits in ((RGB, 8), (RGB, 16), (RGB_ALPHA, 8), (GRAY, 8), (GRAY, 16)):
        for names in ("gama", "gama+chrm", "srgb", "srgb+gama", "cicp", "iccp"):
            yield Sample(f"png-{KINDS[colour][0]}{bits}-{names}.png", partial(coloured, colour, bits, names))


def exif(orientation: int, after: bool) -> Built:
    """Build a file with EXIF's orientation, which counts before the image data alone."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    block = chunk(b"eXIf", tags.tobytes().removeprefix(b"Exif\0\0"))
    samples = model.colours()
    content = encode(samples, 8, RGB, *(() if after else (block,)), after=(block,) if after else ())
    return Built(content, replace(picture(samples, 8), orientation=1 if after else orientation), reader=not after)


def by_xmp(number: int, after: bool) -> Built:
    """Build a file with an orientation in XMP alone, which some programs honour and some do not."""
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + jpeg.XMP.format(number).encode()
    shown = replace(picture(model.colours(), 8), orientation=number, by_xmp=True)
    block = chunk(b"iTXt", text)
    content = encode(model.colours(), 8, RGB, *(() if after else (block,)), after=(block,) if after else ())
    return Built(content, shown)


def animated(hidden: bool) -> Built:
    """Build an APNG of two frames; `hidden`: its still image is no part of the animation."""
    first, second = model.colours(), model.colours()[::-1]
    height, width = first.shape[:2]
    controls = [
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 10, 0, 0)) for number in (0, 1)
    ]
    start = [chunk(b"acTL", struct.pack(">II", 1 if hidden else 2, 0)), *controls[: 0 if hidden else 1]]
    number = 0 if hidden else 1
    frame = chunk(b"fdAT", struct.pack(">I", number + 1) + data(second, 8))
    content = encode(first, 8, RGB, *start, after=(controls[number], frame))
    return Built(content, picture(first, 8), reader=not hidden)


def others() -> Iterator[Sample]:
    """Yield files with EXIF, animations, and image data in many chunks."""
    for number in range(1, 9):
        yield Sample(f"png-orientation{number}.png", partial(exif, number, False))
    for after in (False, True):
        yield Sample(f"png-orientation6-xmp{'-after' * after}.png", partial(by_xmp, 6, after))
    yield Sample("png-orientation6-after.png", partial(exif, 6, True))
    yield Sample("png-animated.png", partial(animated, False))
    yield Sample("png-animated-hidden.png", partial(animated, True))


def samples() -> Iterator[Sample]:
    """Yield all PNG files."""
    for group in (basic, transparent, meant, others):
        yield from group()
