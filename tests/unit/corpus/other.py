"""Other formats that process.py takes by default: JPEG 2000, AVIF, ICO, DDS, SPIDER, MSP; some it only reads."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import imagecodecs
import numpy as np
from PIL import Image

from tests.unit.corpus import model, png, png_writer
from tests.unit.corpus.model import HEIGHT, WIDTH, Array, Built, Picture, Sample, picture
from tests.unit.corpus.png_writer import RGB_ALPHA


def samples_of(channels: int, bits: int) -> Array:
    """Return the scene as gray, gray and alpha, RGB or RGBA."""
    found = model.gray(bits) if channels < 3 else model.colours(bits)
    found = np.dstack([found, model.alpha(bits)]) if channels in (2, 4) else found
    return np.ascontiguousarray(found[..., 0] if channels == 1 else found)


def shown_of(channels: int, bits: int) -> Picture:
    """Return what the scene shows."""
    found = samples_of(channels, bits)
    return picture(found[..., None] if channels == 1 else found, bits, alpha=channels in (2, 4))


def jpeg2000(channels: int, bits: int, container: str) -> Built:
    """Build lossless JPEG 2000."""
    samples = samples_of(channels, bits)
    content = bytes(imagecodecs.jpeg2k_encode(samples, codecformat=container, reversible=True, bitspersample=bits))
    return Built(content, shown_of(channels, bits), needed=bits == 8 and channels != 2)


def avif(channels: int, lossless: bool) -> Built:
    """Build an AVIF, lossy by default."""
    samples = samples_of(channels, 8)
    content = bytes(imagecodecs.avif_encode(samples, 100 if lossless else 90, speed=10, numthreads=1))
    found = np.asarray(imagecodecs.avif_decode(content))
    shown = picture(found, 8, alpha=found.shape[2] == 4)
    return Built(content, replace(shown, psnr=38.0), needed=False)


def deep_avif() -> Built:
    """Build an AVIF of 10 bits."""
    content = bytes(imagecodecs.avif_encode(samples_of(3, 10), 95, speed=10, bitspersample=10, numthreads=1))
    shown = picture(np.asarray(imagecodecs.avif_decode(content)), 10)
    return Built(content, replace(shown, psnr=38.0), needed=False, reader=False)


def large_icon() -> Built:
    """Build an ICNS of one picture of 128 x 128 pixels."""
    samples = np.tile(samples_of(4, 8), (5, 3, 1))[:128, :128]
    inner = png_writer.encode(samples, 8, RGB_ALPHA)
    content = b"icns" + struct.pack(">I4sI", 16 + len(inner), b"ic07", 8 + len(inner)) + inner
    return Built(content, picture(samples, 8, alpha=True), needed=False)


def icon(kind: str) -> Built:
    """Build an ICO of one picture: PNG, or a DIB of 24 or 32 bits with a mask."""
    colours, mask = model.colours().astype(np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:10, :20] = 1
    shown = Picture(colours.astype(np.float64), alpha=np.where(mask, 0.0, 255.0))
    if kind == "png":
        content = png.plain(RGB_ALPHA, 8).content
        shown = png.plain(RGB_ALPHA, 8).shown
    else:
        bits = int(kind)
        pixels = colours[::-1, :, ::-1]
        if bits == 32:
            pixels = np.dstack([pixels, model.alpha()[::-1].astype(np.uint8)])
            mask[:] = 0
            shown = replace(shown, alpha=model.ALPHA)
        stride = (WIDTH + 31) // 32 * 4
        rows = [row.tobytes().ljust(stride, b"\0") for row in np.packbits(mask[::-1], axis=1)]
        head = struct.pack("<IiiHHIIiiII", 40, WIDTH, 2 * HEIGHT, 1, bits, 0, 0, 0, 0, 0, 0)
        content = head + pixels.tobytes() + b"".join(rows)
    depth = 32 if kind == "png" else int(kind)
    entry = struct.pack("<BBBBHHII", WIDTH, HEIGHT, 0, 0, 1, depth, len(content), 22)
    return Built(struct.pack("<HHH", 0, 1, 1) + entry + content, shown, needed=False, reader=kind == "png")


DDS = {
    "rgba": (0x41, 32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "bgra": (0x41, 32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "rgb": (0x40, 24, (0xFF0000, 0xFF00, 0xFF, 0)),
    "xrgb": (0x40, 32, (0xFF0000, 0xFF00, 0xFF, 0)),
    "gray": (0x20000, 8, (0xFF, 0, 0, 0)),
    "gray-alpha": (0x20001, 16, (0xFF, 0, 0, 0xFF00)),
    "565": (0x40, 16, (0xF800, 0x7E0, 0x1F, 0)),
}
"""Name -> flags of the pixel format, bits a pixel, masks."""


def dds(name: str) -> Built:
    """Build an uncompressed DDS."""
    flags, bits, masks = DDS[name]
    gray = name.startswith("gray")
    alpha = model.alpha() if masks[3] else np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    colours = model.gray().repeat(3, axis=2) if gray else model.colours()
    words, shown = np.zeros((HEIGHT, WIDTH), np.uint64), np.zeros((HEIGHT, WIDTH, 4))
    for place, mask in enumerate(masks):
        if mask:
            top = mask // (mask & -mask)
            value = np.rint(np.dstack([colours, alpha])[..., place] * (top / 255.0)).astype(np.uint64)
            words |= value * np.uint64(mask & -mask)
            shown[..., place] = value * (255.0 / top)
    body = words.astype("<u8")[..., None].view(np.uint8)[..., : bits // 8].tobytes()
    pixel = struct.pack("<IIIIIIII", 32, flags, 0, bits, *masks)
    head = struct.pack("<IIIIIII44x", 124, 0x100F, HEIGHT, WIDTH, WIDTH * bits // 8, 0, 0)
    content = b"DDS " + (head + pixel + struct.pack("<I", 0x1000)).ljust(124, b"\0") + body
    space, channels = ("L", 1) if gray else ("RGB", 3)
    found = Picture(shown[..., :channels], space, slack=float(name == "565"))
    return Built(content, replace(found, alpha=model.ALPHA if masks[3] else None), needed=False)


def blocks(fourcc: bytes, number: int, size: int) -> Built:
    """Build a DDS of compressed blocks of random bytes, which imagecodecs decodes."""
    body = np.random.default_rng(number).integers(0, 256, WIDTH * HEIGHT // 16 * size).astype(np.uint8).tobytes()
    pixel = struct.pack("<II4sIIIII", 32, 4, fourcc, 0, 0, 0, 0, 0)
    head = struct.pack("<IIIIIII44x", 124, 0x81007, HEIGHT, WIDTH, len(body), 0, 0) + pixel
    found = np.asarray(imagecodecs.bcn_decode(body, number, shape=(HEIGHT, WIDTH, 4)))
    shown = Picture(found[..., :3].astype(np.float64), alpha=found[..., 3].astype(np.float64), slack=2.0)
    content = b"DDS " + (head + struct.pack("<I", 0x1000)).ljust(124, b"\0") + body
    return Built(content, shown, needed=False, reader=False)


def spider(order: str) -> Built:
    """Build a SPIDER file of floats."""
    values = (model.GRAY / 37).astype(np.float32)
    length = WIDTH * 4
    records = -(-1024 // length)
    head = np.zeros(records * WIDTH, order + "f4")
    for place, value in {1: 1, 2: HEIGHT, 5: 1, 12: WIDTH, 13: records, 22: records * length, 23: length}.items():
        head[place - 1] = value
    content = head.tobytes() + values.astype(order + "f4").tobytes()
    shown = Picture(values[..., None].astype(np.float64), "values", depth=32)
    return Built(content, shown, needed=False)


def by_pillow(mode: str, kind: str) -> Built:
    """Build a file by Pillow, which alone knows the format; it must come back the same."""
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "1": 1}[mode]
    target = io.BytesIO()
    image = Image.fromarray(np.asarray(samples_of(channels, 8), np.uint8))
    image.convert(mode, dither=Image.Dither.NONE).save(target, kind)
    shown = shown_of(channels, 8)
    if mode == "1":
        shown = replace(shown, pixels=np.where(shown.pixels >= 128, 255.0, 0.0))
    return Built(target.getvalue(), shown, needed=False, reader=False)


def only_read(kind: str) -> Built:
    """Build a file of a format that can be read and not written, and so is refused."""
    gray = samples_of(1, 8)
    if kind == "sun":
        content = struct.pack(">8I", 0x59A66A95, WIDTH, HEIGHT, 8, gray.size, 1, 0, 0) + gray.tobytes()
    elif kind == "fits":
        cards = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2"]
        cards += [f"NAXIS1  = {WIDTH:20}", f"NAXIS2  = {HEIGHT:20}", "END"]
        content = "".join(card.ljust(80) for card in cards).encode().ljust(2880)
        content += gray[::-1].tobytes().ljust(2880, b"\0")
    else:
        head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 1, HEIGHT, WIDTH, 8, 1)
        content = head + bytes(12) + b"\0\0" + gray.tobytes()
    return Built(content, shown_of(1, 8), needed=False, reader=False)


def samples() -> Iterator[Sample]:
    """Yield all files."""
    for channels, name in ((1, "gray"), (2, "gray-alpha"), (3, "rgb"), (4, "rgba")):
        for bits in (8, 12, 16):
            for container in ("jp2", "j2k"):
                yield Sample(f"jpeg2000-{name}{bits}.{container}", partial(jpeg2000, channels, bits, container))
    for channels, name in ((3, "rgb"), (4, "rgba")):
        for lossless in (False, True):
            yield Sample(f"avif-{name}{'-lossless' * lossless}.avif", partial(avif, channels, lossless))
    yield Sample("avif-rgb10.avif", deep_avif)
    yield Sample("icon.icns", large_icon)
    for kind in ("png", "24", "32"):
        yield Sample(f"icon-{kind}.ico", partial(icon, kind))
    for name in DDS:
        yield Sample(f"dds-{name}.dds", partial(dds, name))
    for number, fourcc, size in ((1, b"DXT1", 8), (2, b"DXT3", 16), (3, b"DXT5", 16)):
        yield Sample(f"dds-{fourcc.decode().lower()}.dds", partial(blocks, fourcc, number, size))
    for name, order in (("le", "<"), ("be", ">")):
        yield Sample(f"spider-{name}.spi", partial(spider, order))
    for mode in ("1", "L", "LA", "RGB", "RGBA"):
        yield Sample(f"im-{mode.lower()}.im", partial(by_pillow, mode, "IM"))
    yield Sample("msp.msp", partial(by_pillow, "1", "MSP"))
    for kind, end in (("sun", "ras"), ("fits", "fits"), ("psd", "psd")):
        yield Sample(f"only-read-{kind}.{end}", partial(only_read, kind))
