"""JPEG files: colour spaces, subsampling, processes, depths, orientation, profiles, thumbnails."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

import imagecodecs
import numpy as np
import pyvips
from PIL import Image

from tests.unit.corpus import arithmetic, icc, model
from tests.unit.corpus.model import Array, Built, Picture, Sample, with_
from tests.unit.corpus.readers import read_vips

PSNR = 42.0
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/>'
    "</rdf:RDF></x:xmpmeta>"
)


def segment(marker: int, content: bytes) -> bytes:
    """Return a marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(content: bytes, *segments: bytes, drop: int = 0) -> bytes:
    """Return a JPEG with more segments at its beginning, and without those of marker `drop`."""
    found, place = [content[:2], *segments], 2
    while content[place + 1] != 0xDA:
        length = 2 + struct.unpack_from(">H", content, place + 2)[0]
        if content[place + 1] != drop:
            found.append(content[place : place + length])
        place += length
    return b"".join([*found, content[place:]])


def encoded(samples: Array, level: int = 92, **options: object) -> bytes:
    """Return a JPEG by imagecodecs."""
    whole = np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    return bytes(imagecodecs.jpeg8_encode(whole, level, **cast("dict[str, Any]", options)))


def decoded(content: bytes) -> Picture:
    """Return what a JPEG shows by libvips."""
    return replace(read_vips(content), psnr=PSNR, scaled=38.0)


def built(content: bytes, needed: bool = True) -> Built:
    """Build a file whose pixels libvips tells."""
    return Built(content, decoded(content), needed)


def of_gray() -> Built:
    """Build a gray file."""
    return built(encoded(model.gray()))


def of_colours(subsampling: str = "444") -> Built:
    """Build a file of colours."""
    return built(encoded(model.colours(), subsampling=subsampling))


def by_pillow(**options: object) -> Built:
    """Build a file of colours by Pillow, which writes other processes."""
    target = io.BytesIO()
    Image.fromarray(np.asarray(model.colours(), np.uint8)).save(target, "JPEG", quality=92, **options)
    return built(target.getvalue())


def rgb(drop: bool) -> Built:
    """Build RGB that Adobe's marker tells of, or without it the components' names."""
    content = encoded(model.colours(), colorspace="rgb", outcolorspace="rgb")
    content = with_segments(content, drop=0xEE if drop else 0)
    shown = Picture(model.colours().astype(np.float64), psnr=38.0, scaled=38.0)
    return Built(content, shown, needed=not drop)


def adobe(transform: int) -> bytes:
    """Return Adobe's segment."""
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def cmyk(space: str, profile: bool = False, marked: bool = True) -> Built:
    """Build inks, as CMYK or as YCCK, inverted as Adobe does it; all decoders expect that without its marker too."""
    samples = model.inks()
    stored = 255 - samples
    content = encoded(stored, level=95, colorspace="cmyk", outcolorspace=space, subsampling="444")
    content = with_segments(content, drop=0xEE)
    segments = [adobe(2 if space == "ycck" else 0)] if marked else []
    if profile:
        segments.append(segment(0xE2, b"ICC_PROFILE\0\1\1" + icc.ink_profile()))
    content = with_segments(content, *segments)
    shown = Picture(samples.astype(np.float64), "CMYK", psnr=33.0, scaled=33.0)
    if profile:
        shown = replace(shown, profile=icc.ink_profile(), gray=icc.gray_of_inks(samples))
    return Built(content, shown)


def lossless(samples: Array, bits: int, space: str = "gray") -> Built:
    """Build lossless JPEG, of which baseline decoders know nothing."""
    content = encoded(samples, 0, lossless=True, bitspersample=bits, colorspace=space, outcolorspace=space)
    shown = model.picture(samples, bits)
    return Built(content, replace(shown, psnr=PSNR, scaled=38.0, depth=8), needed=False, reader=bits == 8)


def twelve(samples: Array) -> Built:
    """Build JPEG of 12 bits."""
    content = encoded(samples, bitspersample=12)
    shown = replace(model.picture(samples, 12), psnr=PSNR, scaled=PSNR)
    return Built(content, shown, needed=False, reader=False)


def exif(orientation: int, thumbnail: bytes = b"", order: str = "<") -> bytes:
    """Return a segment of EXIF with orientation and dimensions, perhaps with a thumbnail."""
    mark = b"II*\0" if order == "<" else b"MM\0*"

    def entry(tag: int, kind: int, value: int) -> bytes:
        held = struct.pack(order + ("H" if kind == 3 else "I"), value).ljust(4, b"\0")
        return struct.pack(order + "HHI", tag, kind, 1) + held

    detail = 8 + 2 + 24 + 4
    first = struct.pack(order + "H", 2) + entry(0x0112, 3, orientation) + entry(0x8769, 4, detail)
    inner = struct.pack(order + "H", 2) + entry(0xA002, 4, model.WIDTH) + entry(0xA003, 4, model.HEIGHT) + bytes(4)
    second = detail + len(inner)
    start = second + 2 + 36 + 4
    last = struct.pack(order + "H", 3) + entry(0x0103, 3, 6) + entry(0x0201, 4, start)
    last += entry(0x0202, 4, len(thumbnail)) + bytes(4)
    link = struct.pack(order + "I", second if thumbnail else 0)
    body = mark + struct.pack(order + "I", 8) + first + link + inner + (last + thumbnail if thumbnail else b"")
    return segment(0xE1, b"Exif\0\0" + body)


def oriented(number: int, order: str = "<", thumbnail: bool = False) -> Built:
    """Build a file with EXIF's orientation."""
    small = encoded(model.colours()[::4, ::4], level=50) if thumbnail else b""
    content = with_segments(encoded(model.colours()), exif(number, small, order))
    return replace(built(content), secret=small)


def oriented_by_xmp(number: int) -> Built:
    """Build a file with an orientation in XMP alone, which some programs honour and some do not."""
    packet = b"http://ns.adobe.com/xap/1.0/\0" + XMP.format(number).encode()
    content = with_segments(encoded(model.colours()), segment(0xE1, packet))
    return Built(content, replace(decoded(content), orientation=number, by_xmp=True))


def profiled(gray: bool) -> Built:
    """Build a file with a colour profile."""
    content = of_gray().content if gray else of_colours().content
    profile = icc.gray_profile() if gray else icc.wide_profile()
    content = with_segments(content, segment(0xE2, b"ICC_PROFILE\0\1\1" + profile))
    return with_(built(content), lambda picture: replace(picture, profile=profile))


def several() -> Built:
    """Build a file of two pictures (MPO), of which the first counts."""
    target = io.BytesIO()
    first, second = (Image.fromarray(np.asarray(model.colours()[::step], np.uint8)) for step in (1, -1))
    first.save(target, "MPO", save_all=True, append_images=[second], quality=92)
    return built(target.getvalue())


def restarted() -> Built:
    """Build a file with restart markers."""
    colours = np.ascontiguousarray(model.colours().astype(np.uint8))
    image = pyvips.Image.new_from_memory(colours.tobytes(), model.WIDTH, model.HEIGHT, 3, "uchar")
    return built(bytes(image.copy(interpretation="srgb").jpegsave_buffer(Q=92, restart_interval=2)))


def trailing() -> Built:
    """Build a file with bytes behind its end."""
    found = of_colours()
    return replace(found, content=found.content + b"\0" * 40 + b"more")


def samples() -> Iterator[Sample]:
    """Yield all JPEG files."""
    yield Sample("jpeg-gray.jpg", of_gray)
    for subsampling in ("444", "422", "420", "411", "440"):
        yield Sample(f"jpeg-ycc{subsampling}.jpg", partial(of_colours, subsampling=subsampling))
    yield Sample("jpeg-progressive.jpg", partial(by_pillow, progressive=True))
    yield Sample("jpeg-progressive-444.jpg", partial(by_pillow, progressive=True, subsampling=0))
    yield Sample("jpeg-optimized.jpg", partial(by_pillow, optimize=True))
    yield Sample("jpeg-restarts.jpg", restarted)
    yield Sample("jpeg-rgb-adobe.jpg", partial(rgb, False))
    yield Sample("jpeg-rgb-by-names.jpg", partial(rgb, True))
    for space in ("cmyk", "ycck"):
        for profile in (False, True):
            yield Sample(f"jpeg-{space}{'-profile' if profile else ''}.jpg", partial(cmyk, space, profile))
    yield Sample("jpeg-cmyk-no-adobe.jpg", partial(cmyk, "cmyk", False, False))
    for name, content in (("gray", arithmetic.GRAY), ("progressive", arithmetic.PROGRESSIVE)):
        yield Sample(f"jpeg-arithmetic-{name}.jpg", partial(built, content, False))
    yield Sample("jpeg-lossless-gray.jpg", partial(lossless, model.gray(), 8))
    yield Sample("jpeg-lossless-rgb.jpg", partial(lossless, model.colours(), 8, "rgb"))
    for bits in (12, 16):
        yield Sample(f"jpeg-lossless-gray{bits}.jpg", partial(lossless, model.gray(bits), bits))
    yield Sample("jpeg-gray12.jpg", partial(twelve, model.gray(12)))
    yield Sample("jpeg-ycc12.jpg", partial(twelve, model.colours(12)))
    yield from with_metadata()
    yield Sample("jpeg-two-pictures.jpg", several)
    yield Sample("jpeg-trailing.jpg", trailing)


def with_metadata() -> Iterator[Sample]:
    """Yield files with an orientation, a thumbnail or a colour profile."""
    for number in range(1, 9):
        yield Sample(f"jpeg-orientation{number}.jpg", partial(oriented, number, "<>"[number % 2]))
        yield Sample(f"jpeg-orientation{number}-xmp.jpg", partial(oriented_by_xmp, number))
    yield Sample("jpeg-thumbnail.jpg", partial(oriented, 1, "<", True))
    yield Sample("jpeg-thumbnail-orientation6.jpg", partial(oriented, 6, ">", True))
    for gray in (False, True):
        yield Sample(f"jpeg-{'gray' if gray else 'ycc'}-profile.jpg", partial(profiled, gray))
