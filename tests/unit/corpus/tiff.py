"""TIFF files: photometric interpretations, bit depths, planes, strips, tiles, compressions, extra samples, pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from tests.unit.corpus import icc, jpeg, model
from tests.unit.corpus.model import ALPHA, GRAY, HEIGHT, SCENE, WIDTH, Array, Built, Picture, Sample, picture, with_
from tests.unit.corpus.tiff_writer import Layout, encode, pages

ORDERS = {"le": "<", "be": ">"}
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


def orientation(number: int, bits: int) -> Built:
    """Build a file with the tag of orientation."""
    built = integers(model.colours(bits), Layout(bits, tags={274: (3, number)}, compression="lzw"))
    return with_(built, orientation=number)


def by_xmp(number: int) -> Built:
    """Build a file with an orientation in XMP alone, which some programs honour and some do not."""
    built = integers(model.colours(), Layout(tags={700: (7, jpeg.XMP.format(number).encode())}))
    return replace(with_(built, orientation=number, by_xmp=True), reader=False)


def profile(space: str, bits: int) -> Built:
    """Build a file with a colour profile."""
    content = {"gray": icc.gray_profile, "rgb": icc.wide_profile, "cmyk": icc.ink_profile}[space]()
    photometric = {name: number for number, name in NAMES.items()}[space]
    samples = samples_of(photometric, bits)
    built = with_(integers(samples, Layout(bits, photometric, tags={34675: (7, content)})), profile=content)
    return with_(built, gray=icc.gray_of_inks(samples)) if space == "cmyk" else built


def several(first: Array, second: Array) -> Built:
    """Build a file of two pages, of which the first counts."""
    contents = [(first, Layout()), (second, Layout(photometric=1))]
    return replace(integers(first, Layout()), content=pages(contents))


def of_jpeg(photometric: int, planar: int) -> Built:
    """Build a file whose strips are JPEGs."""
    import tifffile

    layout = Layout(8, photometric, compression="jpeg", rows=16, planar=planar)
    content = encode(samples_of(photometric, 8) if photometric != 6 else model.colours(), layout)
    found = tifffile.imread(io.BytesIO(content))
    if planar == 2:
        found = np.moveaxis(found, 0, 2)
    found = found[..., None] if found.ndim == 2 else found
    shown = picture(found, 8)
    return Built(content, replace(shown, psnr=45.0), needed=planar == 1 and photometric in (1, 6), reader=False)


def fax(name: str, white: int) -> Built:
    """Build a bilevel file of CCITT groups 3 or 4, which libtiff compresses."""
    bits = model.gray(1)[..., 0]
    target = io.BytesIO()
    options = {262: white}
    Image.fromarray(bits.astype(bool)).save(target, "TIFF", compression=name, tiffinfo=options)
    return Built(target.getvalue(), picture(bits[..., None], 1))


def ycc(order: str, subsampling: tuple[int, int]) -> Built:
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


def lab(bits: int) -> Built:
    """Build CIE L*a*b* of 8 or 16 bits, which is shown as its numbers."""
    light = model.gray(bits)
    a, b = (model.colours(8)[..., k : k + 1].astype(np.int16) // 4 - 32 for k in (0, 2))
    kind = np.uint8 if bits == 8 else np.uint16
    scale = 1 if bits == 8 else 256
    samples = np.dstack([light.astype(kind), (a * scale).astype(kind), (b * scale).astype(kind)])
    shown = Picture(samples.astype(np.float64), "values", depth=bits)
    return Built(encode(samples, Layout(bits, photometric=8)), shown, needed=False)


def others() -> Iterator[Sample]:
    """Yield what fits nowhere else."""
    for number in range(1, 9):
        for bits in (8, 16):
            yield Sample(f"tiff-rgb{bits}-orientation{number}.tif", partial(orientation, number, bits))
    for space, bits in (("gray", 8), ("gray", 16), ("rgb", 8), ("rgb", 16), ("cmyk", 8)):
        yield Sample(f"tiff-{space}{bits}-profile.tif", partial(profile, space, bits))
    yield Sample("tiff-rgb8-orientation6-xmp.tif", partial(by_xmp, 6))
    yield Sample("tiff-two-pages.tif", partial(several, model.colours(), model.gray()))
    for order_name, order in ORDERS.items():
        for photometric, bits in ((1, 8), (1, 16), (2, 8), (2, 16)):
            layout = Layout(bits, photometric, order, big=True)
            name = f"tiff-big-{NAMES[photometric]}{bits}-{order_name}.tif"
            yield Sample(name, partial(integers, samples_of(photometric, bits), layout, order == "<"))
        for units in ((1, 1), (2, 1), (2, 2)):
            yield Sample(f"tiff-ycc-{units[0]}{units[1]}-{order_name}.tif", partial(ycc, order, units))
    for photometric, name in ((1, "gray"), (2, "rgb"), (5, "cmyk"), (6, "ycc")):
        for planar in (1, 2) if photometric in (2,) else (1,):
            yield Sample(f"tiff-jpeg-{name}-{planar}.tif", partial(of_jpeg, photometric, planar))
    yield Sample("tiff-webp-rgb8.tif", partial(integers, model.colours(), Layout(compression="webp"), False))
    for name in ("group3", "group4"):
        for white in (0, 1):
            yield Sample(f"tiff-{name}-{white}.tif", partial(fax, name, white))
    for bits in (8, 16):
        yield Sample(f"tiff-lab{bits}.tif", partial(lab, bits))


GROUPS: tuple[Callable[[], Iterator[Sample]], ...] = (
    planes, compressions, alphas, fill_order, values, palettes, others,
)  # fmt: skip


def samples() -> Iterator[Sample]:
    """Yield all TIFF files."""
    for group in GROUPS:
        yield from group()


assert ALPHA.shape == GRAY.shape == SCENE.shape[:2]
