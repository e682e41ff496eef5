"""TIFF files: photometric interpretations, bit depths, planes, strips, tiles, compressions, extra samples, pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from tests.unit.corpus import model
from tests.unit.corpus.model import GRAY, Array, Built, Picture, Sample, picture
from tests.unit.corpus.tiff_writer import Layout, encode

ORDERS: dict[str, Literal["<", ">"]] = {"le": "<", "be": ">"}
COMPRESSED = ("none", "lzw", "deflate", "packbits", "zstd")


def integers(samples: Array, layout: Layout, needed: bool = True) -> Built:
    """Build a file of unsigned samples that are gray, RGB or CMYK, perhaps with alpha."""
    content = encode(samples, layout)
    shown = samples
    has_alpha = bool(layout.extras) and layout.extras[0] in (1, 2)
    colours = {0: 1, 1: 1, 2: 3, 5: 4}[layout.photometric]
    shown = samples[..., : colours + has_alpha]
    found = picture(shown, layout.bits, alpha=has_alpha)
    if layout.photometric == 0:
        found = replace(found, pixels=255 - found.pixels)
    if has_alpha and layout.extras[0] == 1:
        assert found.alpha is not None
        share = np.maximum(found.alpha, 1e-9)[..., None] / 255
        found = replace(found, pixels=np.clip(np.where(share > 1e-6, found.pixels / share, 0), 0, 255), slack=1.0)
    return Built(content, found, needed)


def premultiplied(samples: Array, bits: int) -> Array:
    """Return colours and alpha where the colours are multiplied by alpha."""
    top = 2**bits - 1
    found = samples.astype(np.float64)
    found[..., :-1] = np.rint(found[..., :-1] * found[..., -1:] / top)
    return found.astype(samples.dtype)


def with_alpha(samples: Array, bits: int, kind: int) -> Array:
    """Append an alpha channel: 1 associated, 2 unassociated; 0 unspecified data."""
    found = np.dstack([samples, model.alpha(bits)])
    return premultiplied(found, bits) if kind == 1 else found


def samples_of(photometric: int, bits: int) -> Array:
    """Return the scene for a photometric interpretation."""
    if photometric in (0, 1):
        return model.gray(bits)
    if photometric == 5:
        return model.inks(bits)
    return model.colours(bits)


NAMES = {0: "miniswhite", 1: "gray", 2: "rgb", 5: "cmyk"}


def planes() -> Iterator[Sample]:
    """Yield every interpretation, depth and byte order, contiguous and planar, in strips and in tiles."""
    for photometric, name in NAMES.items():
        for bits in (1, 2, 4, 8, 12, 16) if photometric < 2 else (2, 4, 8, 16):
            for order_name, order in ORDERS.items():
                for planar in (1, 2) if photometric in (2, 5) else (1,):
                    for tile in (0, 16):
                        layout = Layout(bits, photometric, order, planar=planar, tile=tile)
                        common = bits in (1, 8) or (bits == 16 and (planar, tile) == (1, 0))
                        needed = common and bits >= 8 and not (bits == 16 and (planar == 2 or photometric != 1))
                        where = f"{'planar' if planar == 2 else 'contig'}-{'tiles' if tile else 'strips'}"
                        build = partial(integers, samples_of(photometric, bits), layout, needed)
                        yield Sample(f"tiff-{name}{bits}-{where}-{order_name}.tif", build)


def compressions() -> Iterator[Sample]:
    """Yield every compression with every depth that it takes, with and without predictor 2."""
    for name in COMPRESSED[1:]:
        for photometric, bits in ((1, 1), (1, 4), (1, 8), (0, 8), (1, 16), (0, 16), (2, 8), (2, 16), (5, 8), (5, 16)):
            for planar in (1, 2) if photometric in (2, 5) else (1,):
                for predictor in (1, 2) if bits >= 8 and name in ("lzw", "deflate") else (1,):
                    for order_name, order in ORDERS.items():
                        layout = Layout(bits, photometric, order, planar=planar, compression=name, predictor=predictor)
                        end = f"{'planar' if planar == 2 else 'contig'}-p{predictor}-{order_name}"
                        build = partial(integers, samples_of(photometric, bits), layout, bits == 8)
                        yield Sample(f"tiff-{NAMES[photometric]}{bits}-{name}-{end}.tif", build)


def tiles() -> Iterator[Sample]:
    """Yield compressed tiles of every interpretation, contiguous and planar, with and without predictor 2."""
    for photometric, bits in ((1, 8), (1, 16), (2, 8), (2, 16), (5, 8), (5, 16)):
        for compression, predictor in (("lzw", 1), ("deflate", 2)):
            for planar in (1, 2):
                for order_name, order in ORDERS.items():
                    layout = Layout(
                        bits, photometric, order, planar=planar, compression=compression, predictor=predictor, tile=16
                    )
                    name = f"tiff-{NAMES[photometric]}{bits}-tiles-{compression}-{planar}-{order_name}.tif"
                    yield Sample(name, partial(integers, samples_of(photometric, bits), layout, False))
    for photometric, bits in ((1, 8), (1, 16), (2, 8), (2, 16)):
        for planar in (1, 2):
            for compression in ("none", "lzw"):
                layout = Layout(bits, photometric, planar=planar, compression=compression, tile=16, extras=(2,))
                samples = with_alpha(samples_of(photometric, bits), bits, 2)
                name = f"tiff-{NAMES[photometric]}{bits}-alpha-tiles-{compression}-{planar}.tif"
                yield Sample(name, partial(integers, samples, layout, False))


def alphas() -> Iterator[Sample]:
    """Yield gray, RGB and CMYK with an extra sample that is unspecified, associated alpha or unassociated alpha."""
    for kind, kind_name in ((0, "unspecified"), (1, "associated"), (2, "unassociated")):
        for photometric in (1, 0, 2, 5):
            for bits in (8, 16):
                for planar in (1, 2):
                    for compression in ("none", "lzw"):
                        for order_name, order in ORDERS.items():
                            layout = Layout(
                                bits, photometric, order, planar=planar, extras=(kind,), compression=compression
                            )
                            samples = with_alpha(samples_of(photometric, bits), bits, kind)
                            end = f"{kind_name}-{'planar' if planar == 2 else 'contig'}-{compression}-{order_name}"
                            needed = bits == 8 and planar == 1 and photometric == 2
                            build = partial(integers, samples, layout, needed)
                            yield Sample(f"tiff-{NAMES[photometric]}{bits}-{end}.tif", build)
    two = np.dstack([with_alpha(model.colours(), 8, 2), model.gray()])
    for planar in (1, 2):
        layout = Layout(planar=planar, extras=(2, 0))
        yield Sample(f"tiff-rgb8-alpha-and-more-{planar}.tif", partial(integers, two, layout, False))
    four = np.dstack([model.colours(), model.alpha()])
    yield Sample("tiff-rgb8-four-samples-unnamed.tif", partial(unnamed, four))


def unnamed(samples: Array) -> Built:
    """Build RGB with a fourth sample of which no tag tells what it is; most programs take it for alpha."""
    built = integers(samples, Layout(extras=(2,)))
    return replace(built, content=encode(samples, Layout()), needed=False, reader=False)


def fill_order() -> Iterator[Sample]:
    """Yield files whose bits run from the lowest to the highest."""
    for photometric, bits in ((1, 1), (0, 1), (1, 2), (1, 4), (1, 8), (2, 8), (1, 16)):
        for compression in ("none", "lzw", "packbits"):
            layout = Layout(bits, photometric, fill_order=2, compression=compression)
            build = partial(integers, samples_of(photometric, bits), layout, False)
            yield Sample(f"tiff-{NAMES[photometric]}{bits}-fill2-{compression}.tif", build)


def numbers(kind: str, layout: Layout, interpretation: int = 1) -> Built:
    """Build signed or long integers or floats, whose white nobody knows."""
    step = GRAY[..., None] - 100.0
    if kind.startswith("float"):
        samples = (step / 37).astype({"float16": "f2", "float32": "f4", "float64": "f8"}[kind])
    elif kind == "uint32":
        samples = (GRAY[..., None] * 16_000_000).astype(np.uint32)
    else:
        bits = int(kind[3:])
        samples = (step * 2 ** (bits - 8)).clip(-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1).astype(f"i{bits // 8}")
    shown = samples.repeat(3, axis=2) if interpretation == 2 else samples
    space = "values" if interpretation else "values, white is 0"
    found = Picture(shown.astype(np.float64), space, depth=layout.bits)
    return Built(encode(shown, replace(layout, photometric=interpretation)), found, needed=False)


def values() -> Iterator[Sample]:
    """Yield signed and long integers and floats, with predictors 2 and 3."""
    kinds = {"int8": 2, "int16": 2, "int32": 2, "uint32": 1, "float16": 3, "float32": 3, "float64": 3}
    for kind, sample_format in kinds.items():
        bits = int(kind.lstrip("uintfloa"))
        for order_name, order in ORDERS.items():
            for compression, predictor in (("none", 1), ("deflate", 1), ("lzw", 3 if sample_format == 3 else 2)):
                for interpretation in (0, 1, 2):
                    layout = Layout(
                        bits, order=order, compression=compression, predictor=predictor, sample_format=sample_format
                    )
                    end = f"{NAMES[interpretation]}-{compression}-p{predictor}-{order_name}"
                    yield Sample(f"tiff-{kind}-{end}.tif", partial(numbers, kind, layout, interpretation))


def palette(bits: int, layout: Layout) -> Built:
    """Build a file of colours in a palette of 16 bits a channel."""
    indices = model.gray(bits)
    table = np.random.default_rng(bits).integers(0, 256, (2**bits, 3)) * 257
    layout = replace(layout, bits=bits, photometric=3, tags={320: (3, table.T.ravel().tolist())})
    shown = Picture(table[indices[..., 0]] / 257.0, "RGB", scaled=model.HARD)
    return Built(encode(indices, layout), shown, needed=bits == 8 and layout.compression == "none")


def palettes() -> Iterator[Sample]:
    """Yield palettes of every depth."""
    for bits in (1, 2, 4, 8):
        for compression in ("none", "lzw"):
            for order_name, order in ORDERS.items():
                for fill in (1, 2):
                    layout = Layout(order=order, compression=compression, fill_order=fill)
                    name = f"tiff-palette{bits}-{compression}-fill{fill}-{order_name}.tif"
                    yield Sample(name, partial(palette, bits, layout))


def samples() -> Iterator[Sample]:
    """Yield all TIFF files of this module."""
    for group in (planes, compressions, tiles, alphas, fill_order, values, palettes):
        yield from group()
