"""What process.py refuses, by the header or by the pixels: never a crash, never half an image."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from PIL import Image

from imaging.decode import inspect
from imaging.rules import MAX_SIDE, Header, ImageError, Limits, Operations
from imaging.transform import transform

LIMITS = Limits(24_000_000, 24_000_000, MAX_SIDE)
OPERATIONS = Operations(32, 24, grayscale=True)


def picture(mode: str = "RGB", width: int = 61, height: int = 47) -> Image.Image:
    """Something with texture."""
    noise = Image.frombytes("RGB", (width, height), Random(1).randbytes(3 * width * height))
    return Image.blend(Image.radial_gradient("L").resize((width, height)).convert("RGB"), noise, 0.2).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def done(content: bytes, operations: Operations = OPERATIONS, limits: Limits = LIMITS) -> bytes:
    target = io.BytesIO()
    transform(io.BytesIO(content), target, operations, limits)
    return target.getvalue()


def refused(content: bytes, limits: Limits = LIMITS) -> str:
    """Why an image is refused; the message is short and tells nothing of the inside."""
    with pytest.raises(ImageError) as found:
        done(content, limits=limits)
    text = str(found.value)
    assert 10 < len(text) < 100
    assert not {"PIL", "Pillow", "Error", "0x", "/", "<"} & set(text.replace(":", " ").split())
    return found.value.kind


SAMPLES: dict[str, bytes] = {
    "jpeg": encoded(picture(), "JPEG"),
    "jpeg, progressive": encoded(picture(), "JPEG", progressive=True),
    "jpeg, gray": encoded(picture("L"), "JPEG"),
    "jpeg, cmyk": encoded(picture("CMYK"), "JPEG"),
    "jpeg, restarts": encoded(picture(), "JPEG", restart_marker_blocks=2),
    "png": encoded(picture(), "PNG"),
    "png, palette": encoded(picture("P"), "PNG"),
    "png, several": encoded(picture(), "PNG", save_all=True, append_images=[picture().rotate(180)]),
    "gif": encoded(picture("P"), "GIF"),
    "gif, interlaced": encoded(picture("P"), "GIF", interlace=1),
    "gif, several": encoded(picture("P"), "GIF", save_all=True, append_images=[picture("P").rotate(180)]),
    "webp": encoded(picture(), "WEBP"),
    "webp, lossless": encoded(picture("RGBA"), "WEBP", lossless=True),
    "webp, several": encoded(picture(), "WEBP", save_all=True, append_images=[picture().rotate(180)]),
    "bmp": encoded(picture(), "BMP"),
    "bmp, palette": encoded(picture("P"), "BMP"),
    "tiff": encoded(picture(), "TIFF"),
    "tiff, group 4": encoded(picture("1"), "TIFF", compression="group4"),
    **{
        f"tiff, {way}": encoded(picture(), "TIFF", compression=way)
        for way in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    },
}

SPARE = {"jpeg, cmyk": 2, "bmp": 1, "bmp, palette": 3, "tiff, group 4": 4, "png, several": 9999, "gif, several": 9999}
"""How many bytes at the end may lack: they are a marker, padding, a link to no further page, a second picture."""


def outcome(content: bytes) -> bytes | str:
    """What comes of an image, or the kind of its refusal."""
    try:
        return done(content)
    except ImageError as refusal:
        return refusal.kind


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_cut_off_is_refused_wherever_it_is_cut(name: str) -> None:
    content = SAMPLES[name]
    whole, length = done(content), len(content)
    for cut in {*range(64), *range(64, length, max(1, length // 80)), *range(length - 64, length)}:
        found = outcome(content[:cut])
        allowed: set[bytes | str] = {"truncated"}
        if cut < 16:
            allowed |= {"empty", "not an image"}
        if length - cut <= SPARE.get(name, 0):
            allowed |= {whole}
        assert found in allowed, cut


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLES)
def test_bytes_that_are_wrong_crash_nothing(name: str, fuzz_seed: int) -> None:
    """They may go unnoticed where a format has no checksum, but end in a refusal or an image of the right size."""
    random = Random(f"{name} {fuzz_seed}")
    for _ in range(60):
        content = bytearray(SAMPLES[name])
        for _ in range(random.choice((1, 3, 20))):
            content[random.randrange(len(content))] = random.randrange(256)
        found = outcome(bytes(content))
        assert isinstance(found, str) or inspect(io.BytesIO(found))[1:3] == (32, 24)


@pytest.mark.filterwarnings("ignore")
def test_random_bytes_are_refused(fuzz_seed: int) -> None:
    random = Random(fuzz_seed)
    beginnings = (
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"RIFF\x40\0\0\0WEBPVP8 ",
        b"II*\0",
        b"MM\0*",
    )
    for turn in range(400):
        assert refused(beginnings[turn % 8] + random.randbytes(random.choice((1, 20, 200, 2000))))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty"),
        (b"x", "not an image"),
        (b"Once upon a time\n" * 9, "not an image"),
        (b"<html><body>404</body></html>", "not an image"),
        (b"%PDF-1.7\n" + b"x" * 99, "not an image"),
        (encoded(picture(), "PPM"), "unsupported"),
        (encoded(picture(), "JPEG2000"), "unsupported"),
        (encoded(picture(), "ICO"), "unsupported"),
        (encoded(picture("F"), "TIFF"), "unsupported"),
        (encoded(picture("I"), "TIFF"), "unsupported"),
        (b"\xff\xd8\xff", "truncated"),
    ],
)
def test_kinds(content: bytes, kind: str) -> None:
    assert refused(content) == kind


def png(width: int, height: int) -> bytes:
    """Make a PNG that promises so many pixels and has hardly any."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"\0"), b"IEND"]
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def larger(kind: str, width: int, height: int) -> bytes:
    """An image whose header promises more than is there."""
    content = bytearray(encoded(picture("RGB", 61, 47), kind))
    order, size = {"JPEG": (">HH", (height, width)), "WEBP": ("<HH", (width, height)), "BMP": ("<II", (width, height))}[
        kind
    ]
    before = {"JPEG": (47, 61), "WEBP": (61, 47), "BMP": (61, 47)}[kind]
    place = content.index(struct.pack(order, *before))
    content[place : place + struct.calcsize(order)] = struct.pack(order, *size)
    return bytes(content)


BOMBS = {
    "png": png(6000, 4001),
    "png, a huge one": png(20_000, 20_000),
    "png, a line": png(70_000, 1),
    "jpeg": larger("JPEG", 65_000, 60_000),
    "webp": larger("WEBP", 16_383, 16_383),
    "bmp": larger("BMP", 30_000, 30_000),
    "gif": b"GIF89a"
    + struct.pack("<HH", 65_535, 65_535)
    + b"\0\0\0,\0\0\0\0"
    + struct.pack("<HH", 9, 9)
    + b"\0\x08\0;",
}


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("name", BOMBS)
def test_too_many_pixels_are_refused_by_the_header(name: str) -> None:
    assert refused(BOMBS[name]) == "too large"
    with pytest.raises(ImageError) as found:
        inspect(io.BytesIO(BOMBS[name]), LIMITS)
    assert found.value.kind == "too large"


def test_a_result_may_not_be_too_large_either() -> None:
    with pytest.raises(ImageError) as found:
        done(SAMPLES["png"], Operations(65_535, 65_535))
    assert found.value.kind == "too large"
    with pytest.raises(ImageError) as found:  # more than the format can hold
        done(SAMPLES["webp"], Operations(17_000, 10))
    assert found.value.kind == "unsupported"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_24_megapixels_are_done(kind: str) -> None:
    content = encoded(Image.radial_gradient("L").resize((6000, 4000)), kind)
    assert inspect(io.BytesIO(content), LIMITS) == Header(kind, 6000, 4000, "L", False)
    assert inspect(io.BytesIO(done(content, Operations(1024, 768))))[1:3] == (1024, 768)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_one_pixel_is_an_image(kind: str, mode: str) -> None:
    if (kind, mode) == ("JPEG", "P"):
        mode = "CMYK"
    content = encoded(Image.new("RGB", (1, 1), (7, 7, 7)).convert(mode), kind)
    assert inspect(io.BytesIO(content))[1:3] == (1, 1)
    for each in (Operations(1, 1, rotate=90), Operations(5, 3, grayscale=True), Operations(5, 3, "cover")):
        assert inspect(io.BytesIO(done(content, each)))[1:3] == (each.width, each.height)
    assert inspect(io.BytesIO(done(encoded(picture(), kind), Operations(1, 1))))[1:3] == (1, 1)


@pytest.mark.parametrize("name", [name for name in SAMPLES if not name.startswith("webp")])
def test_a_header_is_told_without_the_pixels(name: str) -> None:
    content = SAMPLES[name]
    whole = inspect(io.BytesIO(content))
    assert whole[1:3] == (61, 47)
    if not name.startswith("tiff,"):  # whose header may stand at the end
        assert inspect(io.BytesIO(content[: len(content) - 400])) == whole


def test_a_source_may_stand_anywhere_and_stays_open() -> None:
    source = io.BytesIO(SAMPLES["tiff, tiff_lzw"])
    source.seek(99)
    assert inspect(source).format == "TIFF"
    target = io.BytesIO()
    transform(source, target, Operations())
    assert target.getvalue() == SAMPLES["tiff, tiff_lzw"]


def test_threads_do_not_disturb_each_other() -> None:
    expected = {name: done(content) for name, content in SAMPLES.items()}
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert dict(zip(SAMPLES, pool.map(done, SAMPLES.values()), strict=True)) == expected
