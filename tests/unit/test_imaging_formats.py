"""Formats of results: conversion, names, and what a format can hold."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from imaging.decode import inspect, name_unread
from imaging.rules import Operations
from tests.service.golden import pixels, psnr, resized
from tests.unit.image_files import encoded, processed, refusal

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict[str, bytes]]:
    argv = [sys.executable, str(ROOT / "process.py"), str(folder / "in"), str(folder / "out"), *options]
    environment = {**os.environ, "FANRUN_REPORT": str(folder / "report")}
    finished = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    out = folder / "out"
    return finished, {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name, kind in {"a.jpg": "JPEG", "b.TIF": "TIFF", "c": "PNG", "d.jpeg": "JPEG", "e.v2": "GIF"}.items():
        (tmp_path / "in" / name).write_bytes(encoded(Image.radial_gradient("L").convert("RGB"), kind))
    return tmp_path


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("png", {"a.jpg": "a.png", "b.TIF": "b.png", "c": "c.png", "d.jpeg": "d.png", "e.v2": "e.v2.png"}),
        ("jpeg", {"a.jpg": "a.jpg", "b.TIF": "b.jpg", "c": "c.jpg", "d.jpeg": "d.jpeg", "e.v2": "e.v2.jpg"}),
        ("webp", {"a.jpg": "a.webp", "b.TIF": "b.webp", "c": "c.webp", "d.jpeg": "d.webp", "e.v2": "e.v2.webp"}),
    ],
)
def test_formats_are_converted_and_results_named_after_them(word: str, names: dict[str, str], folder: Path) -> None:
    finished, results = run(folder, "--format", word)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert set(results) == set(names.values())
    assert {inspect(io.BytesIO(content)).format for content in results.values()} == {word.upper()}
    told = [json.loads(line) for line in (folder / "report").read_text().splitlines()]
    assert {entry["path"]: entry["results"] for entry in told} == {name: [result] for name, result in names.items()}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_inputs_that_would_share_a_result_fail(workers: str, folder: Path) -> None:
    (folder / "in/a.bmp").write_bytes(encoded(Image.new("L", (9, 9)), "BMP"))
    finished, results = run(folder, "--format", "png", "--workers", workers)
    assert finished.returncode == 1
    reason = "another input would have the same result, a.png: give one of them another name"
    assert set(finished.stderr.splitlines()[:-1]) == {f"process.py: a.{kind}: {reason}" for kind in ("bmp", "jpg")}
    assert "a.png" not in results


def test_limits_hold_with_and_without_operations(folder: Path) -> None:
    for options in ((), ("--rotate", "90")):
        finished, _ = run(folder, "--max-pixels", "65535", *options)
        assert finished.stderr.count("an image of 256 x 256 pixels is too large") == 5
        finished, _ = run(folder, "--max-result-pixels", "65535", *options)
        assert finished.stderr.count("a result of 256 x 256 pixels is too large") == 5
    assert run(folder, "--max-pixels", "65536", "--max-result-pixels", "65536")[0].returncode == 0
    assert "--max-pixels: give a number of pixels" in run(folder, "--max-pixels", "0")[0].stderr


def test_transparent_parts_are_not_lost_in_a_jpeg() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    assert inspect(io.BytesIO(processed(encoded(image, "PNG"), Operations(format="JPEG")))).mode == "RGB"
    image.putpixel((0, 0), (0, 0, 0, 254))
    told = refusal(encoded(image, "PNG"), Operations(format="JPEG"))
    assert told == "unsupported: parts of the image are transparent, which JPEG cannot show"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16"])
def test_every_mode_can_be_converted(mode: str, kind: str) -> None:
    image = Image.new("I", (8, 8), 40_000).convert("I;16") if mode == "I;16" else Image.new(mode, (8, 8))
    result = processed(encoded(image, "TIFF"), Operations(format=kind))
    if (mode, kind) == ("I;16", "PNG"):
        assert set(np.asarray(Image.open(io.BytesIO(result))).flat) == {40_000}
    expected = np.asarray(image.convert("RGB")) if mode != "I;16" else np.full((8, 8, 3), round(40_000 / 257))
    if (mode, kind) != ("I;16", "PNG"):
        assert np.array_equal(pixels(result, "RGB"), expected)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\xff\x0a\x10", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0", "JPEG XL"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", ""),
        (b"\xff\xd8\xff", ""),
    ],
)
def test_formats_that_need_more_than_pillow_are_named(head: bytes, name: str, tmp_path: Path) -> None:
    assert name_unread(head) == name
    if name in ("HEIC", "JPEG XL"):
        assert refusal(head + b"\0" * 99, Operations(8, 8)) == f"unsupported: unsupported: {name}"
        (tmp_path / "in").mkdir()
        (tmp_path / "in/image.bin").write_bytes(head + b"\0" * 99)
        assert run(tmp_path)[0].stderr.splitlines()[0] == f"process.py: image.bin: unsupported: {name}"


def test_avif_is_read_and_written() -> None:
    content = encoded(Image.radial_gradient("L").convert("RGB"), "AVIF", quality=95)
    result = processed(content, Operations(64, 64))
    assert inspect(io.BytesIO(result)).format == "AVIF"
    assert psnr(pixels(result), resized(pixels(content), 64, 64)) > 45
    assert inspect(io.BytesIO(processed(content, Operations(format="PNG")))).format == "PNG"
    assert refusal(content[:-200], Operations(64, 64)).startswith("truncated")


def rle(width: int, height: int) -> bytes:
    """A BMP of runs, red above and blue below."""
    rows = [bytes([width, row * 2 // height, 0, 0]) for row in range(height)]
    data = b"".join(rows) + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 2, 0)
    palette = bytes([255, 0, 0, 0, 0, 0, 255, 0])
    return struct.pack("<2sIII", b"BM", 62 + len(data), 0, 62) + header + palette + data


def test_run_length_encoded_bmps_are_read() -> None:
    shown = pixels(processed(rle(20, 10), Operations(rotate=180)), "RGB")
    assert (shown[0, 0].tolist(), shown[-1, 0].tolist()) == ([0, 0, 255], [255, 0, 0])
    content = bytearray(rle(200, 10))
    content[18:26] = struct.pack("<ii", 4001, 1000)
    assert refusal(bytes(content), Operations(8, 8)) == "unsupported: unsupported: RLE BMP of more than 4 megapixels"


def test_gamma_is_applied_where_a_format_has_none() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    linear = encoded(Image.new("RGB", (8, 8), (55, 55, 55)), "PNG", pnginfo=chunks)
    for kind in ("JPEG", "WEBP"):
        assert pixels(processed(linear, Operations(format=kind)))[0, 0].tolist() == [127, 127, 127]
    chunks.add(b"cHRM", struct.pack(">8I", 31_270, 32_900, 70_800, 29_200, 17_000, 79_700, 13_100, 4_600))
    wide = encoded(Image.new("RGB", (8, 8)), "PNG", pnginfo=chunks)
    assert refusal(wide, Operations(format="JPEG")).startswith("unsupported: the image has cHRM other than sRGB's")
    assert processed(wide, Operations(format="PNG")) == wide
