"""Pixels of other kinds: 16 bits, alpha, palettes, one bit and CMYK, compared with what floats say, in dB."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.rules import Operations
from tests.service.golden import Pixels, encoded, luma, picture, pixels, psnr, resized, scene
from tests.service.operated import ALPHA, EXACT, GRAY, HEIGHT, LEAST, SCENE, SMALL, SMALL_GRAY, WIDTH, done, mode

pytestmark = pytest.mark.usefixtures("resizer")


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
