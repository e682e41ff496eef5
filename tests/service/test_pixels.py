"""The rules of the README about pixels: what comes out is compared with what floats say, in dB."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from imaging.encode import QUALITY
from imaging.rules import Operations
from imaging.transform import transform
from tests.service.golden import Pixels, encoded, luma, picture, pixels, psnr, resized, scene

LEAST = 45.0
WIDTH, HEIGHT = 175, 164
SCENE = scene(WIDTH, HEIGHT)
GRAY = Operations(grayscale=True)
SMALL = Operations(128, 96)
SMALL_GRAY = SMALL._replace(grayscale=True)
ALPHA = np.clip(np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) * 1.2 - 60, 0, 255).round()
EXACT: dict[str, dict[str, Any]] = {
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True, "exact": True},
    "BMP": {},
}


@pytest.fixture(autouse=True, params=["resizer", "Pillow alone"])
def _resizer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds with the quick resizer and without."""
    if request.param == "resizer":
        pytest.importorskip("cykooz_resizer", reason="its wheels are for other machines")
    else:
        monkeypatch.setitem(sys.modules, "cykooz_resizer", None)


def done(content: bytes, wish: Operations) -> bytes:
    """What the operations make of a file, in the format it came in."""
    target = io.BytesIO()
    transform(io.BytesIO(content), target, wish)
    with Image.open(io.BytesIO(content)) as before, Image.open(target) as after:
        assert after.format == before.format
    return target.getvalue()


def mode(content: bytes) -> str:
    """The mode of an image file."""
    with Image.open(io.BytesIO(content)) as image:
        return str(image.mode)


def test_the_reference_is_right_where_it_can_be_told_otherwise() -> None:
    flat = np.full((9, 7), 100.0)
    assert np.allclose(resized(flat, 20, 3), 100)
    assert np.allclose(resized(SCENE, WIDTH, HEIGHT), SCENE)
    assert luma(np.array([[[255.0, 0, 0]]]))[0, 0] == pytest.approx(76.245)
    by_pillow = np.asarray(picture(SCENE, "RGB").resize((128, 96), Image.Resampling.LANCZOS), np.float64)
    assert psnr(by_pillow, resized(SCENE, 128, 96)) > 55
    assert psnr(SCENE, SCENE + 10) == pytest.approx(28.13, abs=0.01)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("size", [(128, 96), (64, 48), (300, 200), (175, 90), (1, 1), (7, 400)])
def test_colours_are_scaled(kind: str, size: tuple[int, int]) -> None:
    content = encoded(picture(SCENE, "RGB"), kind, **EXACT[kind])
    result = done(content, Operations(*size))
    assert mode(result) == "RGB"
    assert psnr(pixels(result), resized(SCENE, *size)) > 52


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("wish", [GRAY, SMALL_GRAY])
def test_gray_is_rec_601_luma(kind: str, wish: Operations) -> None:
    content = encoded(picture(SCENE, "RGB"), kind, **EXACT[kind])
    result = done(content, wish)
    assert mode(result) == {"WEBP": "RGB"}.get(kind, "L")  # WebP knows no gray
    expected = resized(luma(SCENE), 128, 96) if wish.width else luma(SCENE)
    assert psnr(pixels(result, "L"), expected) > 52


@pytest.mark.parametrize(("colour", "shade"), [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29)])
@pytest.mark.parametrize("kind", [*EXACT, "GIF", "JPEG"])
def test_gray_of_pure_colours(kind: str, colour: tuple[int, int, int], shade: int) -> None:
    result = done(encoded(Image.new("RGB", (16, 16), colour), kind, **EXACT.get(kind, {})), GRAY)
    assert abs(pixels(result, "L") - shade).max() <= (1 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 75}, {"keep_rgb": True}]
)
@pytest.mark.parametrize("wish", [GRAY, SMALL, SMALL_GRAY, Operations(300, 290, grayscale=True)])
def test_jpeg(options: dict[str, Any], wish: Operations) -> None:
    content = encoded(picture(SCENE, "RGB"), "JPEG", **{"quality": 90, **options})
    result = done(content, wish)
    assert mode(result) == ("L" if wish.grayscale else "RGB")
    expected = pixels(content)
    expected = luma(expected) if wish.grayscale else expected
    assert psnr(pixels(result), resized(expected, wish.width, wish.height) if wish.width else expected) > LEAST


def test_the_quality_of_jpegs_holds_where_all_is_noise() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (256, 256)).astype(np.float64)
    image = picture(noise, "L")
    assert psnr(pixels(encoded(image, "JPEG", quality=QUALITY)), noise) > LEAST + 3
    assert psnr(pixels(encoded(image, "JPEG", quality=95)), noise) < LEAST


@pytest.mark.parametrize(
    "wish", [Operations(120, 90, "cover"), Operations(60, 150, "cover"), Operations(200, 300, "cover")]
)
def test_what_hangs_over_is_cut_off_evenly(wish: Operations) -> None:
    share = max(wish.width / WIDTH, wish.height / HEIGHT)
    width, height = wish.width / share, wish.height / share
    box = ((WIDTH - width) / 2, (HEIGHT - height) / 2, (WIDTH + width) / 2, (HEIGHT + height) / 2)
    result = pixels(done(encoded(picture(SCENE, "RGB"), "PNG"), wish))
    assert psnr(result, resized(SCENE, wish.width, wish.height, box)) > 52


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_moves_pixels_and_changes_none(degrees: int) -> None:
    result = done(encoded(picture(SCENE, "RGB"), "PNG"), Operations(rotate=degrees))
    assert np.array_equal(pixels(result), np.rot90(SCENE, degrees // 90))


def test_the_order_is_gray_scaled_rotated() -> None:
    result = pixels(done(encoded(picture(SCENE, "RGB"), "PNG"), Operations(128, 96, grayscale=True, rotate=90)))
    assert psnr(result, np.rot90(resized(luma(SCENE), 128, 96))) > 52


# ---- 16 bits

DEEP = scene(WIDTH, HEIGHT)[..., 1] * 257 + np.arange(WIDTH)
"""16 bits a pixel, not only multiples of 257."""


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("wish", [GRAY, SMALL, SMALL_GRAY])
def test_sixteen_bits_are_scaled_down_and_not_clipped(kind: str, wish: Operations) -> None:
    deep = np.clip(DEEP, 0, 65535)
    result = done(encoded(picture(deep, "I;16"), kind), wish)
    assert mode(result) == "L"
    expected = deep / 257
    assert psnr(pixels(result), resized(expected, 128, 96) if wish.width else expected) > 52


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_stay_when_only_rotated(kind: str) -> None:
    deep = np.clip(DEEP, 0, 65535)
    result = done(encoded(picture(deep, "I;16"), kind), Operations(rotate=90))
    assert mode(result) == "I;16"
    assert np.array_equal(pixels(result), np.rot90(deep))


def deep_png(colours: Pixels) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write."""
    import struct
    import zlib

    height, width, channels = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6, 2: 4}[channels], 0, 0, 0)
    chunks = [b"IHDR" + head, b"IDAT" + zlib.compress(rows), b"IEND"]
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize("wish", [SMALL, SMALL_GRAY])
def test_sixteen_bits_a_colour(wish: Operations) -> None:
    result = pixels(done(deep_png(SCENE * 257 + 100), wish))
    expected = SCENE + 100 / 257
    assert psnr(result, resized(luma(expected) if wish.grayscale else expected, 128, 96)) > LEAST


def test_a_tiff_whose_white_is_zero_is_no_negative() -> None:
    content = bytearray(encoded(picture(np.clip(DEEP, 0, 65535), "I;16"), "TIFF"))
    tag = content.index(b"\x06\x01\x03\x00\x01\x00\x00\x00\x01\x00")
    content[tag + 8] = 0
    result = done(bytes(content), SMALL)
    assert psnr(pixels(result), resized(255 - np.clip(DEEP, 0, 65535) / 257, 128, 96)) > 52


# ---- alpha


def over(found: Pixels, ground: float) -> Pixels:
    """Colours and alpha composed on a ground, as they are seen."""
    alpha = found[..., -1:] / 255
    return found[..., :-1] * alpha + ground * (1 - alpha)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("gray", [False, True])
def test_colours_are_weighted_by_alpha(kind: str, gray: bool) -> None:
    """What is seen on black and on white is what would be seen had it been composed first: no fringes."""
    source = np.dstack([SCENE, ALPHA])
    result = done(encoded(picture(source, "RGBA"), kind, **EXACT[kind]), SMALL._replace(grayscale=gray))
    assert mode(result) == ("LA" if gray and kind != "WEBP" else "RGBA")
    plain = np.dstack([luma(SCENE), ALPHA]) if gray else source
    for ground in (0.0, 255.0):
        found = over(pixels(result, "LA" if gray else "RGBA"), ground)
        assert psnr(found, resized(over(plain, ground), 128, 96)) > LEAST
    assert psnr(pixels(result, "RGBA")[..., 3], resized(ALPHA, 128, 96)) > 52


def test_gray_with_alpha_keeps_it() -> None:
    result = done(encoded(picture(np.dstack([SCENE, ALPHA]), "RGBA"), "PNG"), GRAY)
    assert mode(result) == "LA"
    assert np.array_equal(pixels(result)[..., 1], ALPHA)


@pytest.mark.parametrize("colours", ["L", "RGB", "1"])
def test_a_colour_that_means_transparent_becomes_alpha(colours: str) -> None:
    image = Image.new("L", (40, 40), 255).convert(colours)
    image.paste(Image.new("L", (20, 40), 0).convert(colours), (0, 0))
    key: Any = {"L": 255, "RGB": (255, 255, 255), "1": 1}[colours]
    result = done(encoded(image, "PNG", transparency=key), Operations(20, 20))
    assert mode(result) == ("RGBA" if colours == "RGB" else "LA")
    alpha = pixels(result)[..., -1]
    assert alpha[:, :8].min() > 250
    assert alpha[:, 12:].max() < 5


# ---- palettes

FEW = picture(SCENE, "RGB").quantize(64)
SHOWN = np.asarray(FEW.convert("RGB"), np.float64)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("wish", [SMALL, SMALL_GRAY, GRAY])
def test_palettes_become_colours_before_they_are_mixed(kind: str, wish: Operations) -> None:
    result = done(encoded(FEW, kind), wish)
    assert mode(result) == ("L" if wish.grayscale else "RGB")
    expected = luma(SHOWN) if wish.grayscale else SHOWN
    assert psnr(pixels(result), resized(expected, 128, 96) if wish.width else expected) > 52


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_palettes_stay_when_only_rotated(kind: str) -> None:
    result = done(encoded(FEW, kind), Operations(rotate=90))
    assert mode(result) == "P"
    assert np.array_equal(pixels(result, "RGB"), np.rot90(SHOWN))


@pytest.mark.parametrize("wish", [GRAY, SMALL_GRAY])
def test_gray_gifs_keep_all_shades(wish: Operations) -> None:
    result = done(encoded(FEW, "GIF"), wish)
    expected = luma(SHOWN)
    assert psnr(pixels(result, "L"), resized(expected, 128, 96) if wish.width else expected) > 52


def test_colours_in_gifs_are_256_again() -> None:
    result = done(encoded(FEW, "GIF"), SMALL)
    assert mode(result) == "P"
    assert psnr(pixels(result, "RGB"), resized(SHOWN, 128, 96)) > 30


@pytest.mark.parametrize("wish", [SMALL, SMALL_GRAY, GRAY, Operations(rotate=180)])
@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_transparency_of_palettes_is_kept(kind: str, wish: Operations) -> None:
    image = FEW.copy()
    image.paste(63, (0, 0, WIDTH, HEIGHT // 2))
    result = done(encoded(image, kind, transparency=63), wish)
    alpha = pixels(result, "RGBA")[..., 3]
    alpha = alpha[::-1, ::-1] if wish.rotate else alpha
    half = alpha.shape[0] // 2
    assert alpha[: half - 4].max() == 0
    assert alpha[half + 4 :].min() == 255
    assert set(np.unique(alpha)) == {0, 255} or kind == "PNG"


@pytest.mark.parametrize("wish", [SMALL, SMALL_GRAY, GRAY])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "BMP"])
def test_one_bit_a_pixel(kind: str, wish: Operations) -> None:
    """From black to white Lanczos overshoots, which must not be cut off between the passes."""
    bits = np.where(luma(SCENE) > 128, 255.0, 0.0)
    result = done(encoded(picture(bits, "L").convert("1"), kind), wish)
    assert mode(result) == ("P" if kind == "GIF" else "L") or wish == GRAY
    assert psnr(pixels(result, "L"), resized(bits, 128, 96) if wish.width else bits) > 52


# ---- CMYK


def inks(colours: Pixels) -> Pixels:
    """Some CMYK with black in it."""
    return np.dstack([255 - colours, np.full(colours.shape[:2], 40.0)])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_scaled_ink_by_ink_and_stays(kind: str) -> None:
    content = encoded(picture(inks(SCENE), "CMYK"), kind, **({"quality": 95} if kind == "JPEG" else {}))
    result = done(content, SMALL)
    assert mode(result) == "CMYK"
    assert psnr(pixels(result), resized(pixels(content), 128, 96)) > LEAST
    assert psnr(pixels(result), resized(inks(SCENE), 128, 96)) > 38  # and no negative


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("wish", [GRAY, SMALL_GRAY])
def test_cmyk_to_gray(kind: str, wish: Operations) -> None:
    content = encoded(picture(inks(SCENE), "CMYK"), kind, **({"quality": 95} if kind == "JPEG" else {}))
    result = done(content, wish)
    assert mode(result) == "L"
    found = pixels(content)
    expected = luma((255 - found[..., :3]) * (255 - found[..., 3:]) / 255)
    assert psnr(pixels(result), resized(expected, 128, 96) if wish.width else expected) > LEAST


# ---- EXIF

TURNED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
"""EXIF's orientation -> how the pixels are shown, by the tables of its standard."""


def with_exif(orientation: int) -> Image.Exif:
    """EXIF of a camera that was held so."""
    exif = Image.Exif()
    exif.update({0x010F: "Maker", 0x0112: orientation})
    return exif


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    options = EXACT.get(kind, {"quality": 95, "subsampling": 0})
    content = encoded(picture(SCENE, "RGB"), kind, exif=with_exif(orientation), **options)
    shown = TURNED[orientation](pixels(content) if kind == "JPEG" else SCENE)
    for wish in (SMALL, SMALL_GRAY, GRAY, Operations(rotate=90), Operations(120, 60, "cover")):
        result = done(content, wish)
        expected = luma(shown) if wish.grayscale else shown
        if wish.how == "cover":
            share = max(120 / shown.shape[1], 60 / shown.shape[0])
            cut = (shown.shape[0] - 60 / share) / 2
            expected = resized(expected, 120, 60, (0, cut, shown.shape[1], shown.shape[0] - cut))
        elif wish.width:
            expected = resized(expected, wish.width, wish.height)
        found = pixels(result, "L" if wish.grayscale else None)
        assert psnr(found, np.rot90(expected, wish.rotate // 90)) > LEAST
        with Image.open(io.BytesIO(result)) as image:
            assert image.getexif().get(0x0112, 1) == 1
            if kind != "TIFF":
                assert image.getexif()[0x010F] == "Maker"
        again = done(result, Operations(rotate=180))
        assert psnr(pixels(again), pixels(result)[::-1, ::-1]) > LEAST


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_that_is_nonsense_harms_nothing() -> None:
    for nonsense in (b"", b"x", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 60000):
        content = encoded(picture(SCENE, "RGB"), "JPEG", exif=nonsense)
        assert pixels(done(content, SMALL)).shape == (96, 128, 3)
    for orientation in (0, 9, 65535):
        content = encoded(picture(SCENE, "RGB"), "JPEG", exif=with_exif(orientation))
        assert pixels(done(content, SMALL)).shape == (96, 128, 3)


# ---- what stands beside the pixels

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_stays_as_long_as_it_fits(kind: str) -> None:
    content = encoded(picture(SCENE, "RGB"), kind, icc_profile=PROFILE, dpi=(300, 300))
    with Image.open(io.BytesIO(done(content, SMALL))) as image:
        assert image.info["icc_profile"] == PROFILE
        assert kind == "WEBP" or [round(value) for value in image.info["dpi"]] == [300, 300]
    with Image.open(io.BytesIO(done(content, SMALL_GRAY))) as image:
        assert "icc_profile" not in image.info
    if kind != "WEBP":  # which knows no gray
        gray = encoded(picture(luma(SCENE), "L"), kind, icc_profile=PROFILE)
        with Image.open(io.BytesIO(done(gray, SMALL_GRAY))) as image:
            assert image.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
def test_the_compression_of_tiffs(compression: str) -> None:
    content = encoded(picture(SCENE, "RGB"), "TIFF", compression=compression)
    with Image.open(io.BytesIO(done(content, SMALL))) as image:
        assert image.info["compression"] == {"jpeg": "tiff_adobe_deflate"}.get(compression, compression)


# ---- several pictures in a file


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG", "MPO"])
def test_of_several_pictures_the_first_is_done(kind: str) -> None:
    assert kind != "WEBP" or features.check("webp")
    first, second = Image.new("RGB", (40, 30), "white"), Image.new("RGB", (40, 30), "black")
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(first, kind, save_all=True, append_images=[second], **options)
    target = io.BytesIO()
    transform(io.BytesIO(content), target, Operations(20, 10))
    with Image.open(target) as image:
        assert (image.format, image.size) == ({"MPO": "JPEG"}.get(kind, kind), (20, 10))
        assert getattr(image, "n_frames", 1) == 1
        assert np.asarray(image.convert("RGB")).min() >= 254
