"""What a file says beside its pixels: orientation, profile, compression, and more than one picture."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from imaging.rules import Operations
from imaging.transform import transform
from tests.service.golden import Pixels, encoded, luma, picture, pixels, psnr, resized
from tests.service.operated import EXACT, GRAY, LEAST, SCENE, SMALL, SMALL_GRAY, done

pytestmark = pytest.mark.usefixtures("resizer")


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
