"""Formats of plain rows that process.py takes by default: PNM, PFM, TGA, SGI, PCX, XBM, QOI, DIB."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import imagecodecs
import numpy as np

from tests.unit.corpus import bmp, model
from tests.unit.corpus.model import HEIGHT, WIDTH, Array, Built, Picture, Sample, picture


def pnm(kind: int, top: int) -> Built:
    """Build PBM, PGM or PPM, in text (1, 2, 3) or in bytes (4, 5, 6), whose white is `top`."""
    scene = model.SCENE if kind in (3, 6) else model.GRAY[..., None]
    samples = np.rint(scene * (top / 255)).astype(np.uint16)
    if top > 255:
        samples = np.minimum(samples + (np.arange(WIDTH) % 97)[None, :, None], top).astype(np.uint16)
    head = f"P{kind}\n# a comment\n{WIDTH} {HEIGHT}\n" + (f"{top}\n" if kind not in (1, 4) else "")
    if kind in (1, 4):  # where 1 is black
        bits = 1 - samples[..., 0]
        body = np.packbits(bits.astype(np.uint8), axis=1).tobytes()
        if kind == 1:
            body = "\n".join(" ".join(map(str, row)) for row in bits.tolist()).encode()
    elif kind in (2, 3):
        body = "\n".join(" ".join(map(str, row)) for row in samples.reshape(HEIGHT, -1).tolist()).encode()
    else:
        body = samples.astype(">u2" if top > 255 else np.uint8).tobytes()
    shown = picture(samples, 8)
    depth = 16 if top > 255 else 8
    exact = top in (1, 255, 65535)
    shown = replace(shown, pixels=samples.astype(np.float64) * (255.0 / top), depth=depth, slack=0.0 if exact else 1.0)
    return Built(head.encode() + body, shown, reader=kind > 3)


def pfm(order: str) -> Built:
    """Build a PFM: floats from the bottom up."""
    samples = (model.GRAY / 37).astype(np.float32)
    head = f"Pf\n{WIDTH} {HEIGHT}\n{'-1.0' if order == '<' else '1.0'}\n"
    body = samples[::-1].astype(order + "f4").tobytes()
    return Built(head.encode() + body, Picture(samples[..., None].astype(np.float64), "values"), needed=False)


def tga_rows(samples: Array, origin: int, runs: bool) -> bytes:
    """Return rows of pixels of shape (height, width, bytes) in the order that the descriptor's bits 4 and 5 tell."""
    rows = samples if origin & 0x20 else samples[::-1]
    rows = rows[:, ::-1] if origin & 0x10 else rows
    if not runs:
        return rows.tobytes()
    return b"".join(b"\0" + pixel.tobytes() for row in rows for pixel in row)


def tga(kind: str, origin: int, runs: bool) -> Built:
    """Build a TGA, gray, coloured or with a palette."""
    colours, gray, alpha = model.colours().astype(np.uint8), model.gray().astype(np.uint8), model.alpha()
    table, shown = b"", colours.astype(np.float64)
    opacity: Array | None = None
    bits, code, spec = 24, 2, struct.pack("<BHHB", 0, 0, 0, 0)
    samples: Array = colours[..., ::-1]
    if kind == "gray":
        bits, code, samples, shown = 8, 3, gray, gray.astype(np.float64)
    elif kind == "gray-alpha":
        bits, code, samples, shown = 16, 3, np.dstack([gray, alpha.astype(np.uint8)]), gray.astype(np.float64)
        opacity = model.ALPHA
    elif kind == "rgba":
        bits, samples, opacity = 32, np.dstack([colours[..., ::-1], alpha.astype(np.uint8)]), model.ALPHA
    elif kind == "rgb16":
        words, found = bmp.words(colours, 16, (0x7C00, 0x3E0, 0x1F, 0))
        bits, shown = 16, found
        samples = np.ascontiguousarray(words).view(np.uint8).reshape(HEIGHT, WIDTH, 2)
    elif kind == "palette":
        palette = np.random.default_rng(8).integers(0, 256, (256, 3)).astype(np.uint8)
        bits, code, samples, table = 8, 1, gray, palette[:, ::-1].tobytes()
        spec, shown = struct.pack("<BHHB", 1, 0, 256, 24), palette[gray[..., 0]].astype(np.float64)
    head = struct.pack("<B", 0) + spec[:1] + struct.pack("<B", code + 8 * runs) + spec[1:]
    head += struct.pack("<HHHHBB", 0, 0, WIDTH, HEIGHT, bits, origin | (8 if opacity is not None else 0))
    space = "L" if shown.shape[2] == 1 else "RGB"
    seen = Picture(shown, space, opacity, slack=float(kind == "rgb16"))
    return Built(head + table + tga_rows(samples, origin, runs), seen, needed=origin & 0x10 == 0)


def sgi(channels: int, width: int, runs: bool) -> Built:
    """Build an SGI of 1 to 4 channels, of one or two bytes each."""
    samples = {1: model.gray(8 * width), 3: model.colours(8 * width)}.get(channels)
    if samples is None:
        colours = model.gray(8 * width) if channels == 2 else model.colours(8 * width)
        samples = np.dstack([colours, model.alpha(8 * width)])
    shape = 2 if channels == 1 else 3
    head = struct.pack(">HBBHHHHII", 474, int(runs), width, shape, WIDTH, HEIGHT, channels, 0, 2 ** (8 * width) - 1)
    planes = [samples[::-1, :, k] for k in range(channels)]
    rows = [row for plane in planes for row in plane]
    if not runs:
        body = b"".join(row.astype(f">u{width}").tobytes() for row in rows)
    else:
        begin, end = (0x80 | WIDTH).to_bytes(width, "big"), bytes(width)
        coded = [begin + row.astype(f">u{width}").tobytes() + end for row in rows]
        start, offsets = 512 + 8 * len(rows), []
        for line in coded:
            offsets.append(start)
            start += len(line)
        body = struct.pack(f">{2 * len(rows)}I", *offsets, *map(len, coded)) + b"".join(coded)
    shown = picture(samples, 8 * width, alpha=channels in (2, 4))
    return Built(head.ljust(512, b"\0") + body, shown, needed=channels in (1, 3) and width == 1, reader=not runs)


def pcx_rows(layers: list[Array], bits: int, stride: int) -> bytes:
    """Return the rows of a PCX, compressed as runs of one byte; its planes follow each other in each row."""
    rows = b""
    for top in range(HEIGHT):
        for layer in layers:
            row = layer[top].astype(np.uint8)
            if bits < 8:
                row = np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:].ravel())
            rows += b"".join(bytes((0xC1, value)) for value in row.tobytes().ljust(stride, b"\0"))
    return rows


def pcx(bits: int, planes: int) -> Built:
    """Build a PCX of 1, 4 or 8 bits, or of three planes of 8."""
    random = np.random.default_rng(bits * planes).integers(0, 256, (256, 3)).astype(np.uint8)
    depth = bits * planes if planes != 3 else 24
    indices = model.gray(min(depth, 8))[..., 0]
    stride = (WIDTH * bits + 15) // 16 * 2
    shown, palette, tail = random[indices].astype(np.float64), random[:16].tobytes(), b""
    if planes == 3:
        layers, shown = [model.colours()[..., k] for k in range(3)], model.colours().astype(np.float64)
    elif bits == 8:
        layers, tail = [indices], b"\x0c" + random.tobytes()
    else:
        layers = [(indices >> plane) & 1 for plane in range(planes)] if bits == 1 else [indices]
    if depth == 1:
        shown = indices[..., None] * 255.0
        palette = b"\0\0\0\xff\xff\xff"
    rows = pcx_rows(layers, bits, stride)
    head = struct.pack("<BBBBHHHHHH", 10, 5, 1, bits, 0, 0, WIDTH - 1, HEIGHT - 1, 72, 72) + palette.ljust(48, b"\0")
    head += struct.pack("<BBHH", 0, planes, stride, 1)
    return Built(
        head.ljust(128, b"\0") + rows + tail,
        Picture(shown, "L" if depth == 1 else "RGB"),
        needed=False,
        reader=not 1 < depth < 8,
    )


def xbm() -> Built:
    """Build an XBM, where 1 is black and the lowest bit is to the left."""
    bits = 1 - model.gray(1)[..., 0]
    body = np.packbits(bits, axis=1, bitorder="little").tobytes()
    text = f"#define im_width {WIDTH}\n#define im_height {HEIGHT}\nstatic char im_bits[] = {{\n"
    text += ",".join(f"0x{value:02x}" for value in body) + "\n};\n"
    return Built(text.encode(), Picture((1.0 - bits[..., None]) * 255, "L"))


def qoi(alpha: bool) -> Built:
    """Build a QOI."""
    samples = np.dstack([model.colours(), model.alpha()]) if alpha else model.colours()
    content = bytes(imagecodecs.qoi_encode(np.ascontiguousarray(samples)))
    return Built(content, picture(samples, 8, alpha=alpha))


def dib(size: int) -> Built:
    """Build a DIB: a BMP without the header of the file."""
    built = bmp.true_colour(bmp.Header(size))
    return replace(built, content=built.content[14:])


def samples() -> Iterator[Sample]:
    """Yield all files."""
    for kind in range(1, 7):
        for top in (1,) if kind in (1, 4) else (255, 100, 1023, 65535):
            name = {1: "pbm", 4: "pbm", 2: "pgm", 5: "pgm", 3: "ppm", 6: "ppm"}[kind]
            yield Sample(f"pnm-p{kind}-{top}.{name}", partial(pnm, kind, top))
    for order_name, order in (("le", "<"), ("be", ">")):
        yield Sample(f"pfm-{order_name}.pfm", partial(pfm, order))
    for layout in ("gray", "gray-alpha", "rgb", "rgba", "rgb16", "palette"):
        for origin in (0x00, 0x10, 0x20, 0x30):
            for runs in (False, True):
                name = f"tga-{layout}-origin{origin >> 4}{'-runs' * runs}.tga"
                yield Sample(name, partial(tga, layout, origin, runs))
    for channels in (1, 2, 3, 4):
        for width in (1, 2):
            for runs in (False, True):
                name = f"sgi-{channels}-channels-{8 * width}{'-runs' * runs}.sgi"
                yield Sample(name, partial(sgi, channels, width, runs))
    for bits, planes in ((1, 1), (1, 2), (1, 4), (2, 1), (4, 1), (8, 1), (8, 3)):
        yield Sample(f"pcx-{bits}-bits-{planes}-planes.pcx", partial(pcx, bits, planes))
    yield Sample("xbm.xbm", xbm)
    for alpha in (False, True):
        yield Sample(f"qoi-{'rgba' if alpha else 'rgb'}.qoi", partial(qoi, alpha))
    for size in (12, 40, 124):
        yield Sample(f"dib-rgb24-header{size}.dib", partial(dib, size))
