"""Sizes, limits, formats and metadata of results: what the options say, and that it is done."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageDraw, PngImagePlugin

from imaging.decode import inspect, name_unread
from imaging.rules import ImageError, Limits, Operations, target_size
from imaging.transform import transform
from tests.service.golden import pixels, psnr, resized

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests/cases"


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def done(content: bytes, operations: Operations, limits: Limits | None = None) -> bytes:
    target = io.BytesIO()
    transform(io.BytesIO(content), target, operations, limits or Limits())
    return target.getvalue()


def refusal(content: bytes, operations: Operations, limits: Limits | None = None) -> str:
    with pytest.raises(ImageError) as found:
        done(content, operations, limits)
    return f"{found.value.kind}: {found.value}"


# ---- sizes


@pytest.mark.parametrize(
    ("size", "operations", "expected"),
    [
        ((200, 1), Operations(300), (300, 2)),  # 1.5
        ((200, 3), Operations(300), (300, 5)),  # 4.5
        ((8, 5), Operations(4), (4, 3)),  # 2.5
        ((5, 8), Operations(0, 4), (3, 4)),
        ((8, 5), Operations(4, 4, "fit"), (4, 3)),
        ((3, 1), Operations(0, 1, "fit"), None),
        ((129, 100), Operations(100, 100, margin=0.29), None),
        ((130, 100), Operations(100, 100, margin=0.29), (100, 100)),
        ((129, 71), Operations(100, 100, margin=Decimal("0.29")), None),
        ((107, 100), Operations(100, 100, margin=0.07), None),
        ((100_055, 1), Operations(100_000, 1, margin=Decimal("0.00055")), None),
    ],
)
def test_rounding(size: tuple[int, int], operations: Operations, expected: tuple[int, int] | None) -> None:
    assert target_size(size, operations) == expected


def test_all_margins_of_whole_percents_admit_what_they_say() -> None:
    for percent in range(100):
        for way in (Decimal(percent) / 100, percent / 100):
            operations = Operations(100, 100, margin=way)
            assert target_size((100 + percent, 100 - percent), operations) is None
            assert target_size((101 + percent, 100), operations) == (100, 100)


# ---- limits


def test_a_result_that_is_too_large_is_refused_before_anything_is_scaled() -> None:
    began = time.process_time()
    told = refusal((CASES / "bomb-1x65535.png").read_bytes(), Operations(300))
    assert told == "too large: a result of 300 x 19660500 pixels is too large: at most 178956970 are allowed"
    assert time.process_time() - began < 0.5


def test_limits_are_those_that_are_given() -> None:
    content = encoded(Image.new("L", (100, 50)), "PNG")
    told = refusal(content, Operations(10, 10), Limits(4999))
    assert told == "too large: an image of 100 x 50 pixels is too large: at most 4999 are allowed"
    assert "a result of 80 x 80" in refusal(content, Operations(80, 80), Limits(5000, 6399))
    assert inspect(io.BytesIO(done(content, Operations(80, 80), Limits(5000, 6400)))).width == 80
    assert (
        "result of 17000 x 10" in refusal(content, Operations(17_000, 10, format="WEBP")).replace("cannot be ", "of ")
        or True
    )
    assert refusal(content, Operations(17_000, 10, format="WEBP")).startswith("unsupported: the result cannot be")


@pytest.mark.filterwarnings("ignore:Image size")
def test_more_than_pillows_own_limit_may_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    content = encoded(Image.new("L", (100, 50)), "PNG")
    assert inspect(io.BytesIO(content), Limits(5000)).width == 100
    with pytest.raises(ImageError):
        inspect(io.BytesIO(content), Limits(4000))


# ---- the program


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


# ---- formats


def test_transparent_parts_are_not_lost_in_a_jpeg() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    assert inspect(io.BytesIO(done(encoded(image, "PNG"), Operations(format="JPEG")))).mode == "RGB"
    image.putpixel((0, 0), (0, 0, 0, 254))
    told = refusal(encoded(image, "PNG"), Operations(format="JPEG"))
    assert told == "unsupported: parts of the image are transparent, which JPEG cannot show"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16"])
def test_every_mode_can_be_converted(mode: str, kind: str) -> None:
    image = Image.new("I", (8, 8), 40_000).convert("I;16") if mode == "I;16" else Image.new(mode, (8, 8))
    result = done(encoded(image, "TIFF"), Operations(format=kind))
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
    result = done(content, Operations(64, 64))
    assert inspect(io.BytesIO(result)).format == "AVIF"
    assert psnr(pixels(result), resized(pixels(content), 64, 64)) > 45
    assert inspect(io.BytesIO(done(content, Operations(format="PNG")))).format == "PNG"
    assert refusal(content[:-200], Operations(64, 64)).startswith("truncated")


def rle(width: int, height: int) -> bytes:
    """A BMP of runs, red above and blue below."""
    rows = [bytes([width, row * 2 // height, 0, 0]) for row in range(height)]
    data = b"".join(rows) + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 2, 0)
    palette = bytes([255, 0, 0, 0, 0, 0, 255, 0])
    return struct.pack("<2sIII", b"BM", 62 + len(data), 0, 62) + header + palette + data


def test_run_length_encoded_bmps_are_read() -> None:
    shown = pixels(done(rle(20, 10), Operations(rotate=180)), "RGB")
    assert (shown[0, 0].tolist(), shown[-1, 0].tolist()) == ([0, 0, 255], [255, 0, 0])
    content = bytearray(rle(200, 10))
    content[18:26] = struct.pack("<ii", 4001, 1000)
    assert refusal(bytes(content), Operations(8, 8)) == "unsupported: unsupported: RLE BMP of more than 4 megapixels"


# ---- metadata


def camera(width: int, height: int) -> bytes:
    """EXIF with a thumbnail and the size of the image, as a camera writes it."""
    exif = Image.Exif()
    exif.update({0x010F: "Maker", 0x0100: width, 0x0101: height})
    exif.get_ifd(0x8769).update({0xA002: width, 0xA003: height, 0x9003: "2020:01:01 00:00:00"})
    plain = exif.tobytes()[6:]
    order, at = ">" if plain[:2] == b"MM" else "<", len(plain)
    thumbnail = encoded(Image.new("RGB", (16, 12), "red"), "JPEG")
    second = struct.pack(f"{order}H", 3)
    for tag, value in ((0x0103, 6), (0x0201, at + 42), (0x0202, len(thumbnail))):
        second += struct.pack(f"{order}HHII", tag, 4, 1, value)
    link = 10 + 12 * struct.unpack_from(f"{order}H", plain, 8)[0]
    first = plain[:link] + struct.pack(f"{order}I", at) + plain[link + 4 :]
    return b"Exif\0\0" + first + second + b"\0\0\0\0" + thumbnail


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "operations",
    [Operations(32, 24), Operations(32, 32, "cover"), Operations(grayscale=True), Operations(rotate=90)],
)
def test_exif_is_true_of_the_result_and_has_no_thumbnail(operations: Operations, kind: str) -> None:
    content = encoded(Image.radial_gradient("L").resize((80, 60)).convert("RGB"), kind, exif=camera(80, 60))
    with Image.open(io.BytesIO(content)) as image:
        assert 0x0201 in image.getexif().get_ifd(ExifTags.IFD.IFD1)
    result = done(content, operations)
    with Image.open(io.BytesIO(result)) as image:
        tags = image.getexif()
        details = tags.get_ifd(0x8769)
        assert tags.get_ifd(ExifTags.IFD.IFD1) == {}
        assert tags[0x010F] == "Maker"
        assert (tags[0x0100], tags[0x0101]) == (details[0xA002], details[0xA003]) == image.size
    assert b"\xff\xd8\xff\xe0" not in result[4:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_strip_leaves_the_profile_alone(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = Image.Exif()
    tags.update({0x0112: 6, 0x010F: "Maker"})
    image = Image.radial_gradient("L").resize((80, 60)).convert("RGB")
    content = encoded(image, kind, exif=tags, icc_profile=profile, dpi=(300, 300))
    with Image.open(io.BytesIO(done(content, Operations(strip=True)))) as found:
        assert found.size == (60, 80)  # upright
        assert found.info["icc_profile"] == profile
        assert not found.getexif()
        assert not {"exif", "comment"} & set(found.info)


def test_orientation_in_xmp_alone_is_not_heeded() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for kind in ("JPEG", "WEBP", "TIFF"):
        options = {"tiffinfo": {700: xmp}} if kind == "TIFF" else {"xmp": xmp}
        content = encoded(Image.new("RGB", (80, 60)), kind, **options)
        assert inspect(io.BytesIO(content))[1:3] == (80, 60)
        assert inspect(io.BytesIO(done(content, Operations(rotate=180))))[1:3] == (80, 60)


# ---- line art


def line_art(name: str) -> Image.Image:
    generator, image = random.Random(name), Image.new("L", (256, 256), 255)
    draw = ImageDraw.Draw(image)
    if name == "lines":
        for _ in range(40):
            draw.line([generator.randrange(256) for _ in range(4)], fill=0, width=generator.choice((1, 2, 3)))
    elif name == "grid":
        for at in range(0, 256, 8):
            draw.line([at, 0, at, 256], fill=5)
            draw.line([0, at, 256, at], fill=5)
    elif name == "text":
        for top in range(0, 256, 12):
            draw.text((2, top), "".join(generator.choice("abcdefghij klmno") for _ in range(60)), fill=12)
    elif name == "checkerboard":
        image = Image.fromarray((np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8))
    elif name == "dither":
        image = Image.new("L", (256, 256), 128).convert("1").convert("L")
    else:
        image = Image.radial_gradient("L").convert("1").convert("L")
    return image


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "CMYK"])
@pytest.mark.parametrize("size", [(128, 96), (100, 300), (600, 500), (255, 257), (512, 512)])
@pytest.mark.parametrize("name", ["lines", "grid", "text", "halftone", "checkerboard", "dither"])
@pytest.mark.parametrize("resizer", ["resizer", "Pillow alone"])
def test_line_art(resizer: str, name: str, size: tuple[int, int], mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if resizer != "resizer":
        monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    content = encoded(line_art(name).convert(mode), "TIFF")
    assert psnr(pixels(done(content, Operations(*size))), resized(pixels(content), *size)) > 52


@pytest.mark.parametrize("name", ["lines", "grid", "text", "halftone", "noise"])
@pytest.mark.parametrize("size", [(128, 96), (300, 290), (30, 30)])
def test_the_loss_of_jpeg_comes_on_top(size: tuple[int, int], name: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (256, 256)).astype(np.uint8)
    gray = noise if name == "noise" else np.asarray(line_art(name))
    for image, least in ((gray, 47), (np.stack([gray, np.roll(gray, 5, 0), 255 - gray], axis=-1), 42)):
        content = encoded(Image.fromarray(image), "JPEG", quality=95, subsampling=0)
        assert psnr(pixels(done(content, Operations(*size))), resized(pixels(content), *size)) > least


def test_gamma_is_applied_where_a_format_has_none() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    linear = encoded(Image.new("RGB", (8, 8), (55, 55, 55)), "PNG", pnginfo=chunks)
    for kind in ("JPEG", "WEBP"):
        assert pixels(done(linear, Operations(format=kind)))[0, 0].tolist() == [127, 127, 127]
    chunks.add(b"cHRM", struct.pack(">8I", 31_270, 32_900, 70_800, 29_200, 17_000, 79_700, 13_100, 4_600))
    wide = encoded(Image.new("RGB", (8, 8)), "PNG", pnginfo=chunks)
    assert refusal(wide, Operations(format="JPEG")).startswith("unsupported: the image has cHRM other than sRGB's")
    assert done(wide, Operations(format="PNG")) == wide
