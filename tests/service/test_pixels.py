"""The rules of docs/process.md about pixels: what comes out is compared with what floats say, in dB."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.encode import QUALITY
from imaging.rules import Operations
from tests.service.golden import encoded, luma, picture, pixels, psnr, resized
from tests.service.operated import EXACT, GRAY, HEIGHT, LEAST, SCENE, SMALL, SMALL_GRAY, WIDTH, done, mode

pytestmark = pytest.mark.usefixtures("resizer")


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
