"""TIFF layouts that Pillow decodes wrong: every operation gives the right pixels, or a reason."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from imaging.rules import ImageError
from imaging.transform import transform
from tests.unit.image_files import CASES, tiff
from tests.unit.shown_pixels import DEFAULT, SMALL, TURN, WAYS, Array, as_shown, processed


class Planar(NamedTuple):
    """A TIFF with a plane for each channel: its PhotometricInterpretation, its planes and its ExtraSamples."""

    photometric: int
    planes: int
    extra: tuple[int, ...] = ()


def ramp(planes: int, most: int = 255) -> Array:
    """Planes of (height, width), 16 x 16, that differ in every pixel."""
    return np.stack([(np.arange(256).reshape(16, 16) * (plane + 1) * 37) % (most + 1) for plane in range(planes)])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [Planar(2, 3), Planar(2, 4, (2,)), Planar(5, 4)])
@pytest.mark.parametrize("bits", [8, 16])
def test_planes_of_a_tiff(bits: int, kind: Planar, order: str, tmp_path: Path) -> None:
    shades = ramp(kind.planes)
    tags = {258: (bits,) * kind.planes, 262: (kind.photometric,), 284: (2,)}
    if kind.extra:
        tags[338] = kind.extra
    samples = (shades * 257).astype(f"{order}u2") if bits == 16 else shades.astype(np.uint8)
    for operations in (DEFAULT, TURN):
        found = np.asarray(processed(tiff(samples, tags, order), operations, tmp_path))
        assert np.array_equal(np.rot90(found, -1), np.moveaxis(shades, 0, -1))


@pytest.mark.parametrize("way", WAYS)
def test_the_planar_case(way: str, tmp_path: Path) -> None:
    shown = as_shown(processed((CASES / "planar16.tif").read_bytes(), WAYS[way], tmp_path), WAYS[way])
    assert np.abs(np.diff(shown[..., :3].astype(int), axis=0)).max() < 60  # slopes, no noise


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("photometric", "bits"), [(0, 16), (1, 16), (1, 12)])
def test_gray_of_12_and_16_bits(photometric: int, bits: int, way: str, tmp_path: Path) -> None:
    shades = ramp(1)[0]
    if bits == 16:
        samples: Array = ((255 - shades if photometric == 0 else shades) * 257).astype("<u2")[..., None]
    else:
        pairs = (shades.astype(int) * 4095 // 255).reshape(16, 8, 2)
        packed = [pairs[..., 0] >> 4, (pairs[..., 0] & 15) << 4 | pairs[..., 1] >> 8, pairs[..., 1] & 255]
        samples = np.stack(packed, axis=-1).astype(np.uint8).reshape(16, 24)[..., None]
    content = tiff(samples, {256: (16,), 258: (bits,), 262: (photometric,)})
    image = processed(content, WAYS[way], tmp_path)
    found = np.asarray(image).astype(float) / (257 if image.mode.startswith("I") else 1)
    if way != "small":
        found = np.rot90(found, -1) if way != "gray" else found
        assert np.abs(found - shades).max() <= 1


YCBCR = {258: (8, 8, 8), 262: (6,), 530: (2, 2)}
REFUSED: dict[str, tuple[Array, dict[int, tuple[int, ...]]]] = {
    "signed 8 bits": (ramp(1).astype(np.uint8)[0][..., None], {258: (8,), 262: (1,), 339: (2,)}),
    "unsigned 32 bits": (ramp(1).astype("<u4")[0][..., None], {258: (32,), 262: (1,)}),
    "floats, white is 0": (ramp(1).astype("<f4")[0][..., None], {258: (32,), 262: (0,), 339: (3,)}),
    "gray and alpha in planes": (ramp(2).astype(np.uint8), {258: (8, 8), 262: (1,), 284: (2,), 338: (2,)}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, way: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="unsupported: TIFF with"):
        processed(tiff(*REFUSED[name]), WAYS[way], tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_subsampled_colours_of_a_tiff(way: str, tmp_path: Path) -> None:
    """Uncompressed, in blocks of four lumas and two colours."""
    blocks = np.tile(np.array([81, 81, 81, 81, 90, 240], np.uint8), 64)  # red
    data = blocks.reshape(8, 48)[..., None]
    content = tiff(data, {**YCBCR, 256: (16,), 257: (16,), 277: (3,), 278: (16,), 279: (len(blocks),)})
    shown = as_shown(processed(content, WAYS[way], tmp_path), WAYS[way])[..., :3].reshape(-1, 3)
    expected = np.array([81, 81, 81] if way == "gray" else [238, 15, 14])
    assert np.abs(shown.astype(int) - expected).max() <= 3


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize("tag", [258, 262, 277, 284, 332, 338, 339, 530, 532])
def test_tags_that_make_no_sense_are_a_reason(tag: int) -> None:
    shades = ramp(3).astype(np.uint8)
    tags: dict[int, tuple[int, ...]] = {258: (8, 8, 8), 262: (2,), 284: (2,)}
    for values in ((0,), (9, 9, 9), (65_535,) * 7):
        for operations in (TURN, SMALL):
            with contextlib.suppress(ImageError):
                transform(io.BytesIO(tiff(shades, {**tags, tag: values})), io.BytesIO(), operations)
