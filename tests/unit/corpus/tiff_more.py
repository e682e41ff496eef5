"""More TIFF files: orientation, profiles, pages, BigTIFF, JPEG, fax, YCbCr and Lab."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import tifffile
from PIL import Image

from tests.unit.corpus import icc, jpeg, model
from tests.unit.corpus.model import HEIGHT, WIDTH, Array, Built, Picture, Sample, picture, with_
from tests.unit.corpus.tiff import NAMES, ORDERS, integers, premultiplied, samples_of
from tests.unit.corpus.tiff_writer import Layout, encode, pages


def orientation(number: int, bits: int) -> Built:
    """Build a file with the tag of orientation."""
    built = integers(model.colours(bits), Layout(bits, tags={274: (3, number)}, compression="lzw"))
    return with_(built, lambda picture: replace(picture, orientation=number))


def by_xmp(number: int) -> Built:
    """Build a file with an orientation in XMP alone, which some programs honour and some do not."""
    built = integers(model.colours(), Layout(tags={700: (7, jpeg.XMP.format(number).encode())}))
    return replace(with_(built, lambda picture: replace(picture, orientation=number, by_xmp=True)))


def profile(space: str, bits: int) -> Built:
    """Build a file with a colour profile."""
    content = {"gray": icc.gray_profile, "rgb": icc.wide_profile, "cmyk": icc.ink_profile}[space]()
    photometric = {name: number for number, name in NAMES.items()}[space]
    samples = samples_of(photometric, bits)
    built = with_(
        integers(samples, Layout(bits, photometric, tags={34675: (7, content)})),
        lambda picture: replace(picture, profile=content),
    )
    return with_(built, lambda picture: replace(picture, gray=icc.gray_of_inks(samples))) if space == "cmyk" else built


def several(first: Array, second: Array) -> Built:
    """Build a file of two pages, of which the first counts."""
    contents = [(first, Layout()), (second, Layout(photometric=1))]
    return replace(integers(first, Layout()), content=pages(contents))


def of_jpeg(photometric: int, planar: int) -> Built:
    """Build a file whose strips are JPEGs."""
    layout = Layout(8, photometric, compression="jpeg", rows=16, planar=planar)
    content = encode(samples_of(photometric, 8) if photometric != 6 else model.colours(), layout)
    found = tifffile.imread(io.BytesIO(content))
    if planar == 2:
        found = np.moveaxis(found, 0, 2)
    found = found[..., None] if found.ndim == 2 else found
    return Built(
        content, replace(picture(found, 8), psnr=45.0), needed=planar == 1 and photometric in (1, 6), reader=False
    )


def fax(name: str, white: int) -> Built:
    """Build a bilevel file of CCITT groups 3 or 4, which libtiff compresses."""
    bits = model.gray(1)[..., 0]
    target = io.BytesIO()
    options = {262: white}
    Image.fromarray(bits.astype(bool)).save(target, "TIFF", compression=name, tiffinfo=options)
    return Built(target.getvalue(), picture(bits[..., None], 1))


def ycc(order: Literal["<", ">"], subsampling: tuple[int, int]) -> Built:
    """Build uncompressed YCbCr, whose chroma may be subsampled into data units."""
    flat = np.zeros((HEIGHT, WIDTH, 3))
    flat[...] = (200, 100, 50)
    flat[:, WIDTH // 2 :] = (20, 140, 180)  # WIDTH // 2 is even: no block of chroma holds both
    from_rgb = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    samples = np.rint(flat @ from_rgb.T + (0, 128, 128)).astype(np.uint8)
    across, down = subsampling
    tags = {530: (3, list(subsampling)), 532: (5, [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1])}
    layout = Layout(photometric=6, order=order, rows=HEIGHT, tags=tags)
    content = encode(samples, layout)
    if subsampling != (1, 1):
        units = b""
        for top in range(0, HEIGHT, down):
            for left in range(0, WIDTH, across):
                block = samples[top : top + down, left : left + across]
                units += block[..., 0].tobytes() + block[0, 0, 1:].tobytes()
        raw = np.frombuffer(units, np.uint8)
        content = content.replace(samples.tobytes(), raw.tobytes().ljust(samples.size, b"\0"))
    shown = Picture(np.clip(flat, 0, 255), psnr=45.0)
    return Built(content, shown, needed=False, reader=False)


def video(compression: str) -> Built:
    """Build YCbCr of the range that video has, 16 to 235 and 240, as ReferenceBlackWhite says."""
    built = ycc("<", (1, 1))
    y = built.shown.pixels @ np.array([0.299, 0.587, 0.114])
    blue, red = (built.shown.pixels[..., 2] - y) / 1.772, (built.shown.pixels[..., 0] - y) / 1.402
    samples = np.dstack([y * 219 / 255 + 16, blue * 224 / 255 + 128, red * 224 / 255 + 128])
    tags = {530: (3, [1, 1]), 532: (5, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1])}
    layout = Layout(photometric=6, rows=HEIGHT, compression=compression, tags=tags)
    content = encode(np.rint(samples).astype(np.uint8), layout)
    return with_(replace(built, content=content), lambda picture: replace(picture, psnr=40.0, scaled=40.0))


def lab(bits: int, layout: Layout) -> Built:
    """Build CIE L*a*b* of 8 or 16 bits, which is shown as its numbers."""
    light = model.gray(bits)
    a, b = (model.colours(8)[..., k : k + 1].astype(np.int16) // 4 - 32 for k in (0, 2))
    kind = np.uint8 if bits == 8 else np.uint16
    scale = 1 if bits == 8 else 256
    samples = np.dstack([light.astype(kind), (a * scale).astype(kind), (b * scale).astype(kind)])
    shown = Picture(samples.astype(np.float64), "values", depth=bits)
    return Built(encode(samples, replace(layout, bits=bits, photometric=8)), shown, needed=False)


def old_jpeg() -> Built:
    """Build a file of old-style JPEG (compression 6), whose strip is a whole JPEG."""
    inner = jpeg.encoded(model.colours(), subsampling="444")
    start = 8 + 2 + 13 * 12 + 4
    values = {
        256: (3, WIDTH),
        257: (3, HEIGHT),
        258: (3, 8),
        259: (3, 6),
        262: (3, 6),
        273: (4, start),
        277: (3, 3),
        278: (3, HEIGHT),
        279: (4, len(inner)),
        512: (3, 1),
        513: (4, start),
        514: (4, len(inner)),
        530: (3, 1 | 1 << 16),
    }
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 2 if tag == 530 else 1, value) for tag, (kind, value) in values.items()
    )
    content = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + bytes(4) + inner
    return Built(content, replace(jpeg.decoded(inner), psnr=38.0, scaled=38.0), needed=False, reader=False)


def unknown_inks() -> Built:
    """Build four inks that are not cyan, magenta, yellow and black: what they show is not known."""
    content = encode(model.inks(), Layout(photometric=5, tags={332: (3, 2)}))
    return Built(content, Picture(model.inks().astype(np.float64), "unknown"), needed=False, reader=False)


def palette_and_more(kind: int) -> Built:
    """Build a palette with an extra sample, which is alpha (2) or not (0)."""
    table = np.random.default_rng(9).integers(0, 256, (256, 3))
    found = np.dstack([model.gray(), model.alpha()])
    layout = Layout(photometric=3, extras=(kind,), tags={320: (3, (table * 257).T.ravel().tolist())})
    alpha = model.ALPHA if kind == 2 else None
    shown = Picture(table[found[..., 0]].astype(np.float64), "RGB", alpha, scaled=model.HARD)
    return Built(encode(found, layout), shown, needed=False)


def extended() -> Iterator[Sample]:
    """Yield what is rare: more extra samples, old compressions, tiles that are turned."""
    more = np.dstack([model.colours(), model.alpha(), model.gray(), model.gray()])
    extras: tuple[tuple[int, ...], ...] = ((0, 0), (2, 0), (1, 0), (0, 0, 0), (2, 0, 0))
    for kinds in extras:
        for compression in ("none", "lzw"):
            found = more[..., : 3 + len(kinds)]
            if kinds[0] == 1:
                found = np.dstack([premultiplied(found[..., :4], 8), found[..., 4:]])
            layout = Layout(extras=kinds, compression=compression)
            name = f"tiff-rgb8-extra{''.join(map(str, kinds))}-{compression}.tif"
            yield Sample(name, partial(integers, found, layout, False))
    for compression in ("lzma", "old-deflate"):
        layout = Layout(compression=compression)
        yield Sample(f"tiff-rgb8-{compression}.tif", partial(integers, model.colours(), layout, False))
    for number in (3, 6):
        for planar in (1, 2):
            layout = Layout(tile=16, planar=planar, tags={274: (3, number)})
            build = partial(turned, layout, number)
            yield Sample(f"tiff-rgb8-tiles-planar{planar}-orientation{number}.tif", build)
    for kind in (0, 2):
        yield Sample(f"tiff-palette8-extra{kind}.tif", partial(palette_and_more, kind))
    yield Sample("tiff-old-jpeg.tif", old_jpeg)
    yield Sample("tiff-unknown-inks.tif", unknown_inks)


def turned(layout: Layout, number: int) -> Built:
    """Build a file that is turned by the tag of orientation."""
    return with_(integers(model.colours(), layout), lambda picture: replace(picture, orientation=number))


def samples() -> Iterator[Sample]:
    """Yield all TIFF files of this module."""
    for number in range(1, 9):
        for bits in (8, 16):
            yield Sample(f"tiff-rgb{bits}-orientation{number}.tif", partial(orientation, number, bits))
    for space, bits in (("gray", 8), ("gray", 16), ("rgb", 8), ("rgb", 16), ("cmyk", 8)):
        yield Sample(f"tiff-{space}{bits}-profile.tif", partial(profile, space, bits))
    yield Sample("tiff-rgb8-orientation6-xmp.tif", partial(by_xmp, 6))
    yield Sample("tiff-two-pages.tif", partial(several, model.colours(), model.gray()))
    yield from big_and_ycc()
    for photometric, name in ((1, "gray"), (2, "rgb"), (5, "cmyk"), (6, "ycc")):
        for planar in (1, 2) if photometric == 2 else (1,):
            yield Sample(f"tiff-jpeg-{name}-{planar}.tif", partial(of_jpeg, photometric, planar))
    yield Sample("tiff-webp-rgb8.tif", partial(integers, model.colours(), Layout(compression="webp"), False))
    for name in ("tiff_ccitt", "group3", "group4"):
        for white in (0, 1):
            yield Sample(f"tiff-{name.removeprefix('tiff_')}-{white}.tif", partial(fax, name, white))
    yield from lab_and_video()
    for bits in (8, 16):
        layout = Layout(bits, 1, planar=2)
        yield Sample(f"tiff-gray{bits}-planar.tif", partial(integers, model.gray(bits), layout, False))
    yield from extended()


def big_and_ycc() -> Iterator[Sample]:
    """Yield BigTIFF and uncompressed YCbCr, in both orders of bytes."""
    for order_name, order in ORDERS.items():
        for photometric, bits in ((1, 8), (1, 16), (2, 8), (2, 16)):
            layout = Layout(bits, photometric, order, big=True)
            name = f"tiff-big-{NAMES[photometric]}{bits}-{order_name}.tif"
            yield Sample(name, partial(integers, samples_of(photometric, bits), layout, order == "<"))
        for units in ((1, 1), (2, 1), (2, 2)):
            yield Sample(f"tiff-ycc-{units[0]}{units[1]}-{order_name}.tif", partial(ycc, order, units))


def lab_and_video() -> Iterator[Sample]:
    """Yield CIE L*a*b*, and YCbCr of the range that video has."""
    for bits in (8, 16):
        yield Sample(f"tiff-lab{bits}.tif", partial(lab, bits, Layout()))
    for compression in ("none", "lzw"):
        for planar in (1, 2):
            layout = Layout(compression=compression, planar=planar)
            name = f"tiff-lab8-{'planar' if planar == 2 else 'contig'}-{compression}.tif"
            yield Sample(name, partial(lab, 8, layout))
        yield Sample(f"tiff-ycc-video-{compression}.tif", partial(video, compression))
