"""Files that are cut off, end early, or are made to take long: refused, with and without operations."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imaging.decode import inspect
from imaging.rules import ImageError, Operations
from imaging.transform import transform
from tests.unit.shown_pixels import DEFAULT, WAYS, processed

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows: int, height: int = 40, *, kind: int = 2, interlaced: bool = False) -> bytes:
    """Build a PNG of 16 pixels a row whose compressed data end after so many rows."""
    row = b"\0" + bytes(range(1, 16 * (3 if kind == 2 else 1) + 1))
    head = struct.pack(">IIBBBBB", 16, height, 8, kind, 0, 0, int(interlaced))
    return PNG_HEAD + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * rows)) + chunk(b"IEND")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [1, 20, 39])
@pytest.mark.parametrize("kind", [0, 2])
def test_a_png_whose_data_end_early(kind: int, rows: int, way: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="cut off"):
        processed(png(rows, kind=kind), WAYS[way], tmp_path)
    processed(png(40, kind=kind), WAYS[way], tmp_path)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["1", "L", "RGBA", "P", "I;16"])
def test_a_png_that_ends_with_zeros_is_whole(mode: str, way: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((17, 13), np.uint16)) if mode == "I;16" else Image.new(mode, (13, 17), 0)
    target = io.BytesIO()
    image.save(target, "PNG")
    processed(target.getvalue(), WAYS[way], tmp_path)


@pytest.mark.parametrize("kind", [0, 2])
def test_passes_of_an_interlaced_png_are_counted(kind: int, tmp_path: Path) -> None:
    def data(columns: int, rows: int) -> bytes:
        return (b"\0" + b"\0" * columns * (3 if kind == 2 else 1)) * rows

    passes = [data(2, 5), data(2, 5), data(4, 5), data(4, 10), data(8, 10), data(8, 20), data(16, 20)]
    head = struct.pack(">IIBBBBB", 16, 40, 8, kind, 0, 0, 1)
    for count, is_whole in ((len(passes), True), (len(passes) - 1, False)):
        packed = zlib.compress(b"".join(passes[:count]))
        content = PNG_HEAD + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND")
        if is_whole:
            processed(content, DEFAULT, tmp_path)
        else:
            with pytest.raises(AssertionError, match="cut off"):
                processed(content, DEFAULT, tmp_path)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["PNG", "GIF", "animated PNG", "animated GIF"])
def test_a_file_without_its_end(kind: str, way: str, tmp_path: Path) -> None:
    frames = [Image.radial_gradient("L").resize((40, 30)).rotate(angle) for angle in (0, 90, 180)]
    more = {"save_all": True, "append_images": frames[1:]} if kind.startswith("animated") else {}
    target = io.BytesIO()
    frames[0].save(target, kind.split()[-1], **more)
    content = target.getvalue()
    processed(content, WAYS[way], tmp_path)
    for missing in (1, 5, 13):
        if kind == "GIF" or missing > 1 or "PNG" in kind:
            with pytest.raises(AssertionError, match=r"cut off|damaged|truncated|not an image"):
                processed(content[:-missing], WAYS[way], tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_a_png_with_very_many_chunks_is_refused_before_it_is_opened(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = png(40)
    content = content[:33] + chunk(b"tEXt") * 1_600_000 + content[33:]
    monkeypatch.setattr(Image, "open", None)  # Pillow would take seconds
    with pytest.raises(AssertionError, match="unsupported: PNG with more than 4096 chunks"):
        processed(content, WAYS[way], tmp_path)
    with pytest.raises(ImageError, match="unsupported: PNG with more than 4096 chunks"):
        inspect(io.BytesIO(content))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_with_very_many_tags_is_refused_before_it_is_opened(
    order: str, is_big: bool, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    magic = b"II" if order == "<" else b"MM"
    if is_big:
        content = magic + struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, 65_535) + bytes(20 * 65_535)
    else:
        content = magic + struct.pack(f"{order}HIH", 42, 8, 65_535) + bytes(12 * 65_535)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(AssertionError, match="unsupported: TIFF with more than 4096 tags"):
        processed(content, WAYS[way], tmp_path)


def test_many_pixels_in_small_chunks_are_no_reason(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    parts = b"".join(chunk(b"IDAT", packed[at : at + 4]) for at in range(0, len(packed), 4))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100, 100, 8, 2, 0, 0, 0))
    assert len(packed) // 4 > 4096
    result = processed(PNG_HEAD + head + parts + chunk(b"IEND"), Operations(rotate=180), tmp_path)
    assert np.array_equal(np.asarray(result), pixels[::-1, ::-1])


@pytest.mark.parametrize("name", ["TIFF", "GIF", "PNG", "JPEG"])
def test_any_changed_byte_is_read_or_refused(name: str) -> None:
    """Nothing but ImageError comes out, whichever operation meets the damage."""
    target, pages = io.BytesIO(), [Image.new("L", (16, 12), gray) for gray in (90, 200)]
    more = {"save_all": True, "append_images": pages[1:]} if name in ("TIFF", "GIF", "PNG") else {}
    pages[0].save(target, name, **more)
    wanted = [Operations(grayscale=True), Operations(8, 6, grayscale=True), Operations(rotate=90, strip=True)]
    for place, value in product(range(len(target.getvalue())), (0, 1, 128, 255)):
        content = bytearray(target.getvalue())
        content[place] = value
        for operations in wanted:
            with suppress(ImageError):
                transform(io.BytesIO(content), io.BytesIO(), operations)
