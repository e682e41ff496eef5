"""Sizes and limits of results, and the loss in scaled pixels."""

from __future__ import annotations

import io
import random
import sys
import time
from decimal import Decimal

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imaging.decode import inspect
from imaging.rules import ImageError, Limits, Operations, target_size
from tests.service.golden import pixels, psnr, resized
from tests.unit.image_files import CASES, encoded, processed, refusal


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
    assert inspect(io.BytesIO(processed(content, Operations(80, 80), Limits(5000, 6400)))).width == 80
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
    assert psnr(pixels(processed(content, Operations(*size))), resized(pixels(content), *size)) > 52


@pytest.mark.parametrize("name", ["lines", "grid", "text", "halftone", "noise"])
@pytest.mark.parametrize("size", [(128, 96), (300, 290), (30, 30)])
def test_the_loss_of_jpeg_comes_on_top(size: tuple[int, int], name: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (256, 256)).astype(np.uint8)
    gray = noise if name == "noise" else np.asarray(line_art(name))
    for image, least in ((gray, 47), (np.stack([gray, np.roll(gray, 5, 0), 255 - gray], axis=-1), 42)):
        content = encoded(Image.fromarray(image), "JPEG", quality=95, subsampling=0)
        assert psnr(pixels(processed(content, Operations(*size))), resized(pixels(content), *size)) > least
