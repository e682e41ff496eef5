"""Read images without Pillow: what a file shows, by tifffile, libvips, imagecodecs or a few lines of numpy."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
import pyvips
import tifffile
from PIL import Image

from tests.service.golden import Pixels
from tests.unit.corpus.model import Array, Picture, picture
from tests.unit.corpus.readers_bmp import read_bmp
from tests.unit.corpus.readers_raster import read_dds, read_pcx, read_pnm, read_sgi, read_spider, read_tga, read_xbm


def read_tiff(content: bytes) -> Picture:
    """Read the first page by tifffile, by libvips where it has CCITT compression."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page: Any = file.pages[0]
        if int(page.compression) in (2, 3, 4):  # imagecodecs for Python 3.10 does not read CCITT
            return replace(read_vips(content), depth=1)
        found = by_channels(np.asarray(page.asarray()), page.planarconfig == 2 and page.samplesperpixel > 1)
        tags = {tag.code: tag.value for tag in page.tags}
        bits = int(page.bitspersample)
        photometric, kinds = int(page.photometric), tuple(int(kind) for kind in page.extrasamples)
        about: dict[str, Any] = {"depth": bits, "orientation": int(tags.get(274, 1)), "profile": tags.get(34675)}
        if page.sampleformat != 1 or bits > 16 or photometric == 8:
            return Picture(found.astype(np.float64), "values" if photometric else "values, white is 0", **about)
        if photometric == 3:
            table = (np.asarray(page.colormap).T >> 8).astype(np.float64)  # some write 256 times a shade, some 257
            opacity = found[..., 1].astype(np.float64) if kinds and kinds[0] in (1, 2) else None
            return Picture(table[found[..., 0].astype(np.intp)], "RGB", opacity, **{**about, "depth": 8})
        scaled = found.astype(np.float64) * (255 / (2**bits - 1))
        colours = {0: 1, 1: 1, 2: 3, 5: 4, 6: 3}[photometric]
        pixels, alpha = scaled[..., :colours], None
        if photometric == 0:
            pixels = 255 - pixels
        if photometric == 6 and int(page.compression) != 7:
            pixels = from_ycc(pixels)
        if kinds and kinds[0] in (1, 2):
            alpha = scaled[..., colours]
            pixels = unpremultiplied(pixels, alpha) if kinds[0] == 1 else pixels
        return Picture(pixels, {1: "L", 3: "RGB", 4: "CMYK"}[colours], alpha, **about)


def by_channels(samples: Array, is_planar: bool) -> Array:
    """Return the samples of a page as (height, width, channels)."""
    samples = np.moveaxis(samples, 0, -1) if is_planar else samples
    return samples[..., None] if samples.ndim == 2 else samples


def unpremultiplied(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Return colours of 0..255 that alpha had been multiplied into."""
    share = np.maximum(alpha, 1e-9)[..., None] / 255
    return np.clip(np.where(share > 1e-6, pixels / share, 0), 0, 255)


def from_ycc(pixels: Pixels) -> Pixels:
    """Convert YCbCr of JFIF to RGB."""
    y, cb, cr = pixels[..., 0], pixels[..., 1] - 128, pixels[..., 2] - 128
    found = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    return np.asarray(np.clip(found, 0, 255), np.float64)


def read_vips(content: bytes) -> Picture:
    """Read PNG, JPEG, WebP, GIF and AVIF by libvips."""
    image = pyvips.Image.new_from_buffer(content, "")
    fields = image.get_fields()
    profile = bytes(image.get("icc-profile-data")) if "icc-profile-data" in fields else None
    turned = int(image.get("orientation")) if "orientation" in fields else 1
    found = np.asarray(image.numpy(), np.float64)
    found = found[..., None] if found.ndim == 2 else found
    deep = image.format == "ushort"
    found = found / 257 if deep else found
    space = "CMYK" if image.interpretation == "cmyk" else "RGB" if found.shape[2] > 2 else "L"
    channels = {"CMYK": 4, "RGB": 3, "L": 1}[space]
    alpha = found[..., channels] if found.shape[2] > channels else None
    return Picture(found[..., :channels], space, alpha, 16 if deep else 8, turned, profile=profile)


def read_png(content: bytes) -> Picture:
    """Read a PNG by libvips, what tells of its colours from the chunks."""
    found, place, chunks = read_vips(content), 8, {}
    while place < len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        if name in (b"gAMA", b"cHRM", b"cICP"):
            chunks[name] = content[place + 8 : place + 8 + length]
        place += 12 + length
    return replace(found, colour_chunks=chunks)


def read_qoi(content: bytes) -> Picture:
    """Read a QOI by imagecodecs."""
    return picture(np.asarray(imagecodecs.qoi_decode(content)), 8, alpha=content[12] == 4)


def read_jpeg2000(content: bytes) -> Picture:
    """Read JPEG 2000 by imagecodecs."""
    found = np.asarray(imagecodecs.jpeg2k_decode(content))
    found = found[..., None] if found.ndim == 2 else found
    bits = content[content.index(b"\xff\x51") + 40] + 1  # of the first component, in the SIZ segment
    return picture(found, bits, alpha=found.shape[2] in (2, 4))


def read_ico(content: bytes) -> Picture:
    """Read the largest picture of an ICO, a PNG."""
    amount = struct.unpack_from("<H", content, 4)[0]
    entries = [struct.unpack_from("<BBBBHHII", content, 6 + 16 * number) for number in range(amount)]
    _, _, _, _, _, _, length, start = max(entries, key=lambda entry: (entry[0] or 256) * (entry[1] or 256))
    return read_png(content[start : start + length])


def read_pillow(content: bytes) -> Picture:
    """Read by Pillow what nothing else among the dependencies can."""
    with Image.open(io.BytesIO(content)) as image:
        found = np.asarray(image.convert("L") if image.mode == "1" else image)
        return picture(found[..., None] if found.ndim == 2 else found, 8, alpha=image.mode in ("LA", "RGBA"))


def read_icns(content: bytes) -> Picture:
    """Read the last PNG of an ICNS that is as large as any."""
    found, place = [], 8
    while place < len(content):
        length = struct.unpack_from(">I", content, place + 4)[0]
        if content[place + 8 :].startswith(b"\x89PNG"):
            found.append(read_png(content[place + 8 : place + length]))
        place += length
    return max(found, key=lambda picture: picture.size)


READERS: tuple[tuple[bytes, Callable[[bytes], Picture]], ...] = (
    (b"BM", read_bmp),
    (b"II", read_tiff),
    (b"MM", read_tiff),
    (b"\x89PNG", read_png),
    (rb"P[4-6f]\s", read_pnm),
    (b"\x01\xda", read_sgi),
    (rb"\n[\x00-\x05]\x01", read_pcx),
    (b"#define", read_xbm),
    (b"qoif", read_qoi),
    (b"\0\0\0\x0cjP", read_jpeg2000),
    (b"\xff\x4f\xff\x51", read_jpeg2000),
    (b"DDS ", read_dds),
    (b"\0\0\1\0", read_ico),
    (b"icns", read_icns),
)
"""A pattern of the first bytes, and who reads what begins so; libvips reads the rest."""


def read(content: bytes, name: str = "") -> Picture:
    """Tell what a file shows; of some the name must tell what it is."""
    if name.endswith(".tga"):
        return read_tga(content)
    if name.endswith(".spi"):
        return read_spider(content)
    if name.endswith((".im", ".msp")):
        return read_pillow(content)
    if name.endswith(".dib"):
        return read_bmp(b"BM" + bytes(8) + struct.pack("<I", 14 + content[0]) + content)
    return next((reader for begin, reader in READERS if re.match(begin, content, re.DOTALL)), read_vips)(content)
