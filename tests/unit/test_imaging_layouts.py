"""Files that Pillow decodes or writes wrong: every operation gives the right pixels, or a reason."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageCms

from imaging.rules import ImageError, Operations
from imaging.transform import transform
from tests.unit.image_files import CASES
from tests.unit.shown_pixels import DEFAULT, GRAY, SMALL, TURN, WAYS, Array, as_shown, processed


@pytest.mark.parametrize("way", WAYS)
def test_a_bmp_whose_alpha_is_all_zero_is_opaque(way: str, tmp_path: Path) -> None:
    shown = as_shown(processed((CASES / "alpha0.bmp").read_bytes(), WAYS[way], tmp_path), WAYS[way])
    assert set(shown[..., 3].flat) == {255}
    assert tuple(shown[0, 0, :3]) == ((76, 76, 76) if way == "gray" else (255, 0, 0))


@pytest.mark.parametrize("way", WAYS)
def test_alpha_of_a_bmp_is_kept_with_a_header_that_says_so(way: str, tmp_path: Path) -> None:
    shown = as_shown(processed((CASES / "alpha.bmp").read_bytes(), WAYS[way], tmp_path), WAYS[way])
    assert (shown[0, 0, 3], shown[-1, -1, 3]) == (255, 0)
    assert tuple(shown[0, 0, :3]) == ((76, 76, 76) if way == "gray" else (255, 0, 0))
    header = (tmp_path / "out").read_bytes()[14:70]
    assert struct.unpack_from("<I", header)[0] >= 56
    assert struct.unpack_from("<I", header, 52)[0] == 0xFF000000


def bmp16(alpha: int) -> bytes:
    """A BMP of 16 bits a pixel, one of which may be alpha."""
    header = struct.pack("<IiiHHIIiiII4I48x", 108, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0, 0x7C00, 0x3E0, 0x1F, alpha)
    pixels = struct.pack("<HH", 0x7FFF, 0xFC00)
    return struct.pack("<2sIII", b"BM", 14 + 108 + 4, 0, 122) + header + b"\0" * (108 - len(header)) + pixels


@pytest.mark.parametrize("way", WAYS)
def test_one_bit_of_alpha_is_refused(way: str, tmp_path: Path) -> None:
    assert processed(bmp16(0), WAYS[way], tmp_path).mode in ("RGB", "L")
    with pytest.raises(AssertionError, match="unsupported: BMP with 16 bits a pixel and alpha"):
        processed(bmp16(0x8000), WAYS[way], tmp_path)


def png(samples: Array, depth: int, kind: int, *chunks: bytes) -> bytes:
    """A PNG of any depth; `chunks` stand before its pixels."""
    if depth == 16:
        rows = [b"\0" + row.astype(">u2").tobytes() for row in samples]
    else:
        bits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        rows = [b"\0" + np.packbits(row).tobytes() for row in bits.reshape(len(samples), -1)]
    head = b"IHDR" + struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, kind, 0, 0, 0)
    parts = [head, *chunks, b"IDAT" + zlib.compress(b"".join(rows)), b"IEND"]
    framed = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_gray_value_that_is_transparent(depth: int, way: str, tmp_path: Path) -> None:
    most = 2**depth - 1
    samples = np.tile(np.array([0, most, most - 1, 1]).repeat(4), (16, 1))
    trns = b"tRNS" + struct.pack(">H", most | (0xF000 if depth < 8 else 0))  # bits above the depth mean nothing
    content = png(samples, depth, 0, trns)
    result = processed(content, WAYS[way], tmp_path)
    if way == "gray" and depth < 16:  # gray already
        assert (tmp_path / "out").read_bytes() == content
        return
    shown = as_shown(result, WAYS[way])[..., 3]
    if result.mode == "I;16":  # which Pillow's own conversion cuts to 255
        shown = np.where(np.rot90(np.asarray(result), -1) == result.info["transparency"], 0, 255)
    step = samples.shape[1] // shown.shape[1]
    expected = np.where(samples == most, 0, 255)[::step, ::step]
    assert np.abs(shown.astype(int) - expected).max() <= (40 if step > 1 else 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_colour_of_16_bits_that_is_transparent(way: str, tmp_path: Path) -> None:
    samples = np.full((16, 16, 3), 0x1234)
    samples[:, 4:8] = 0x1235  # not it, though its first 8 bits are the same
    samples[:, 8:] = 0x8000
    trns = b"tRNS" + struct.pack(">3H", 0x1234, 0x1234, 0x1234)
    shown = as_shown(processed(png(samples, 16, 2, trns), WAYS[way], tmp_path), WAYS[way])
    step = 16 // shown.shape[1]
    assert shown[4, [0, 6 // step, 12 // step], 3].tolist() == [0, 255, 255] or step > 1
    assert shown[4, 0, 3] < 50
    assert shown[4, -1, 3] == 255


GAMMA = (b"gAMA" + struct.pack(">I", 100_000), b"cHRM" + struct.pack(">8I", *[31_270, 32_900] * 4))


@pytest.mark.parametrize("way", WAYS)
def test_what_numbers_mean_as_colours_is_kept(way: str, tmp_path: Path) -> None:
    result = processed(png(np.full((16, 16, 3), 99), 8, 2, *GAMMA), WAYS[way], tmp_path)
    assert result.info["gamma"] == 1
    assert result.info["chromaticity"][:2] == (0.3127, 0.329)


@pytest.mark.parametrize("way", WAYS)
def test_cmyk_jpegs_without_adobes_marker_are_read_as_with_it(way: str, tmp_path: Path) -> None:
    target = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(target, "JPEG", quality=95, subsampling=0)
    content = target.getvalue()
    at = content.index(b"\xff\xeeAdobe"[:2])
    length = struct.unpack_from(">H", content, at + 2)[0]
    without = content[:at] + content[at + 2 + length :]
    shown = as_shown(processed(without, WAYS[way], tmp_path), WAYS[way])[8 if way != "small" else 4, 4, :3].astype(int)
    marked = as_shown(processed(content, WAYS[way], tmp_path), WAYS[way])[8 if way != "small" else 4, 4, :3].astype(int)
    assert np.abs(marked - ((76, 76, 76) if way == "gray" else (254, 0, 0))).max() <= 3
    assert np.array_equal(marked, shown)


@pytest.mark.parametrize("operations", [GRAY, SMALL, TURN])
def test_a_jpeg_is_read_as_before(operations: Operations) -> None:
    target, result = io.BytesIO(), io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(target, "JPEG")
    transform(target, result, operations)
    with Image.open(result) as image:
        assert image.size == ((8, 8) if operations == SMALL else (256, 256))


def test_an_image_that_is_cut_is_refused_by_its_kind() -> None:
    target = io.BytesIO()
    ImageChops.offset(Image.radial_gradient("L"), 9).save(target, "TIFF")
    with pytest.raises(ImageError):
        transform(io.BytesIO(target.getvalue()[:4000]), io.BytesIO(), SMALL)


@pytest.mark.parametrize("way", WAYS)
def test_cicp_is_kept(way: str, tmp_path: Path) -> None:
    content = png(np.full((16, 16, 3), 99), 8, 2, b"cICP" + bytes([9, 16, 0, 1]))
    processed(content, WAYS[way], tmp_path)
    assert b"cICP" + bytes([9, 16, 0, 1]) in (tmp_path / "out").read_bytes()


def test_a_gif_whose_first_picture_leaves_room_has_the_backgrounds_colour_there(tmp_path: Path) -> None:
    target = io.BytesIO()
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 255, 0])
    picture.save(target, "GIF", optimize=False)
    content = bytearray(target.getvalue())
    content[6:10] = struct.pack("<HH", 8, 8)
    content[11] = 2
    for operations in (DEFAULT, TURN, Operations(format="PNG")):
        shown = np.asarray(processed(bytes(content), operations, tmp_path).convert("RGB"))
        shown = np.rot90(shown, -1) if operations in (DEFAULT, TURN) else shown
        assert shown[2, 2].tolist() == [255, 0, 0]
        assert shown[6, 6].tolist() == [0, 0, 255]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_profile_that_is_not_srgb_is_kept_by_the_rotation_too(kind: str, tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile, kept in ((srgb, None), (ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(), True)):
        target = io.BytesIO()
        Image.new("RGB", (8, 8)).save(target, kind, icc_profile=profile)
        found = processed(target.getvalue(), DEFAULT, tmp_path).info.get("icc_profile")
        assert found == (profile if kept else None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_resolution_turns_with_the_image(kind: str, tmp_path: Path) -> None:
    target = io.BytesIO()
    Image.new("RGB", (8, 8)).save(target, kind, dpi=(300, 150))
    for degrees, expected in ((90, (150, 300)), (180, (300, 150))):
        found = processed(target.getvalue(), Operations(rotate=degrees), tmp_path).info["dpi"]
        assert tuple(round(float(each)) for each in found) == expected


def icon(size: tuple[int, int]) -> bytes:
    """Return an ICO of one picture, a PNG."""
    picture = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(picture, "PNG")
    data, side = picture.getvalue(), [each % 256 for each in size]
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, *side, 0, 0, 1, 32, len(data), 22) + data


def test_an_icon_of_an_unusual_size_is_not_scaled(tmp_path: Path) -> None:
    content = icon((44, 28))
    with Image.open(io.BytesIO(content)) as before:
        expected = before.rotate(90, expand=True).convert("RGB")
    assert ImageChops.difference(processed(content, None, tmp_path).convert("RGB"), expected).getbbox() is None


def test_an_icon_that_would_be_scaled_down_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="more than 256 pixels a side"):
        processed(icon((300, 300)), None, tmp_path)
