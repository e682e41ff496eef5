"""Files that Pillow decodes or writes wrong: every operation gives the right pixels, or a reason."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageChops, ImageCms

from imaging.files import Job, Task, process_file
from imaging.rules import DEFAULT_LIMITS, ImageError, Operations
from imaging.transform import transform

CASES = Path(__file__).resolve().parents[1] / "cases"
DEFAULT, TURN, GRAY, SMALL = None, Operations(rotate=90), Operations(grayscale=True), Operations(8, 8)
WAYS = {"default": DEFAULT, "rotate": TURN, "gray": GRAY, "small": SMALL}
Array = npt.NDArray[Any]


def done(content: bytes, operations: Operations | None, folder: Path) -> Image.Image:
    """Return the result that process.py gives for a file; fails with its reason."""
    (folder / "in").write_bytes(content)
    task = Task("in", str(folder / "in"), str(folder / "out"), str(folder / "partial"))
    error = process_file(task, Job(operations, DEFAULT_LIMITS)).error
    if error:
        raise AssertionError(error)
    with Image.open(folder / "out") as image:
        result = Image.Image.copy(image)
        result.info = image.info
        return result


def seen(image: Image.Image, operations: Operations | None) -> Array:
    """Return RGBA as it is shown, turned back where it was rotated."""
    shown = np.asarray(image.convert("RGBA"))
    return np.rot90(shown, -1) if operations in (DEFAULT, TURN) else shown


@pytest.mark.parametrize("way", WAYS)
def test_a_bmp_whose_alpha_is_all_zero_is_opaque(way: str, tmp_path: Path) -> None:
    shown = seen(done((CASES / "alpha0.bmp").read_bytes(), WAYS[way], tmp_path), WAYS[way])
    assert set(shown[..., 3].flat) == {255}
    assert tuple(shown[0, 0, :3]) == ((76, 76, 76) if way == "gray" else (255, 0, 0))


@pytest.mark.parametrize("way", WAYS)
def test_alpha_of_a_bmp_is_kept_with_a_header_that_says_so(way: str, tmp_path: Path) -> None:
    shown = seen(done((CASES / "alpha.bmp").read_bytes(), WAYS[way], tmp_path), WAYS[way])
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
    assert done(bmp16(0), WAYS[way], tmp_path).mode in ("RGB", "L")
    with pytest.raises(AssertionError, match="unsupported: BMP with 16 bits a pixel and alpha"):
        done(bmp16(0x8000), WAYS[way], tmp_path)


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
    result = done(content, WAYS[way], tmp_path)
    if way == "gray" and depth < 16:  # gray already
        assert (tmp_path / "out").read_bytes() == content
        return
    shown = seen(result, WAYS[way])[..., 3]
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
    shown = seen(done(png(samples, 16, 2, trns), WAYS[way], tmp_path), WAYS[way])
    step = 16 // shown.shape[1]
    assert shown[4, [0, 6 // step, 12 // step], 3].tolist() == [0, 255, 255] or step > 1
    assert shown[4, 0, 3] < 50
    assert shown[4, -1, 3] == 255


GAMMA = (b"gAMA" + struct.pack(">I", 100_000), b"cHRM" + struct.pack(">8I", *[31_270, 32_900] * 4))


@pytest.mark.parametrize("way", WAYS)
def test_what_numbers_mean_as_colours_is_kept(way: str, tmp_path: Path) -> None:
    result = done(png(np.full((16, 16, 3), 99), 8, 2, *GAMMA), WAYS[way], tmp_path)
    assert result.info["gamma"] == 1
    assert result.info["chromaticity"][:2] == (0.3127, 0.329)


def tiff(samples: Array, tags: dict[int, tuple[int, ...]], order: str = "<") -> bytes:
    """An uncompressed TIFF whose pixels lie as the array does: (planes, height, width) or (height, width, samples)."""
    data = samples.tobytes()
    planes = tags.get(284) == (2,)
    height, width = samples.shape[1:3] if planes else samples.shape[:2]
    count = samples.shape[0] if planes else samples.shape[2]
    size = len(data) // (count if planes else 1)
    strips = tuple(8 + size * number for number in range(count if planes else 1))
    found = {256: (width,), 257: (height,), 259: (1,), 273: strips, 277: (count,), 278: (height,),
             279: (size,) * len(strips), **tags}  # fmt: skip
    entries, extra, end = b"", b"", 8 + len(data) + 2 + 12 * len(found) + 4
    for tag, values in sorted(found.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            packed, extra = struct.pack(f"{order}I", end + len(extra)), extra + packed
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(found)) + entries + b"\0\0\0\0" + extra


def ramp(planes: int, most: int = 255) -> Array:
    """Planes of (height, width), 16 x 16, that differ in every pixel."""
    return np.stack([(np.arange(256).reshape(16, 16) * (plane + 1) * 37) % (most + 1) for plane in range(planes)])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("photometric", "planes", "extra"), [(2, 3, ()), (2, 4, (2,)), (5, 4, ())])
@pytest.mark.parametrize("bits", [8, 16])
def test_planes_of_a_tiff(
    bits: int, photometric: int, planes: int, extra: tuple[int, ...], order: str, tmp_path: Path
) -> None:
    shades = ramp(planes)
    tags = {258: (bits,) * planes, 262: (photometric,), 284: (2,), **({338: extra} if extra else {})}
    samples = (shades * 257).astype(f"{order}u2") if bits == 16 else shades.astype(np.uint8)
    for operations in (DEFAULT, TURN):
        found = np.asarray(done(tiff(samples, tags, order), operations, tmp_path))
        assert np.array_equal(np.rot90(found, -1), np.moveaxis(shades, 0, -1))


@pytest.mark.parametrize("way", WAYS)
def test_the_planar_case(way: str, tmp_path: Path) -> None:
    shown = seen(done((CASES / "planar16.tif").read_bytes(), WAYS[way], tmp_path), WAYS[way])
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
    image = done(content, WAYS[way], tmp_path)
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
        done(tiff(*REFUSED[name]), WAYS[way], tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_subsampled_colours_of_a_tiff(way: str, tmp_path: Path) -> None:
    """Uncompressed, in blocks of four lumas and two colours."""
    blocks = np.tile(np.array([81, 81, 81, 81, 90, 240], np.uint8), 64)  # red
    data = blocks.reshape(8, 48)[..., None]
    content = tiff(data, {**YCBCR, 256: (16,), 257: (16,), 277: (3,), 278: (16,), 279: (len(blocks),)})
    shown = seen(done(content, WAYS[way], tmp_path), WAYS[way])[..., :3].reshape(-1, 3)
    expected = np.array([81, 81, 81] if way == "gray" else [238, 15, 14])
    assert np.abs(shown.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("way", WAYS)
def test_cmyk_jpegs_without_adobes_marker_are_read_as_with_it(way: str, tmp_path: Path) -> None:
    target = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(target, "JPEG", quality=95, subsampling=0)
    content = target.getvalue()
    at = content.index(b"\xff\xeeAdobe"[:2])
    length = struct.unpack_from(">H", content, at + 2)[0]
    without = content[:at] + content[at + 2 + length :]
    shown = seen(done(without, WAYS[way], tmp_path), WAYS[way])[8 if way != "small" else 4, 4, :3].astype(int)
    marked = seen(done(content, WAYS[way], tmp_path), WAYS[way])[8 if way != "small" else 4, 4, :3].astype(int)
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


# ---- what Pillow leaves out or fills wrong


@pytest.mark.parametrize("way", WAYS)
def test_cicp_is_kept(way: str, tmp_path: Path) -> None:
    content = png(np.full((16, 16, 3), 99), 8, 2, b"cICP" + bytes([9, 16, 0, 1]))
    done(content, WAYS[way], tmp_path)
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
        shown = np.asarray(done(bytes(content), operations, tmp_path).convert("RGB"))
        shown = np.rot90(shown, -1) if operations in (DEFAULT, TURN) else shown
        assert shown[2, 2].tolist() == [255, 0, 0]
        assert shown[6, 6].tolist() == [0, 0, 255]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_profile_that_is_not_srgb_is_kept_by_the_rotation_too(kind: str, tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile, kept in ((srgb, None), (ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(), True)):
        target = io.BytesIO()
        Image.new("RGB", (8, 8)).save(target, kind, icc_profile=profile)
        found = done(target.getvalue(), DEFAULT, tmp_path).info.get("icc_profile")
        assert found == (profile if kept else None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_resolution_turns_with_the_image(kind: str, tmp_path: Path) -> None:
    target = io.BytesIO()
    Image.new("RGB", (8, 8)).save(target, kind, dpi=(300, 150))
    for degrees, expected in ((90, (150, 300)), (180, (300, 150))):
        found = done(target.getvalue(), Operations(rotate=degrees), tmp_path).info["dpi"]
        assert tuple(round(float(each)) for each in found) == expected


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize("tag", [258, 262, 277, 284, 332, 338, 339, 530, 532])
def test_tags_that_make_no_sense_are_a_reason(tag: int) -> None:
    shades = ramp(3).astype(np.uint8)
    tags: dict[int, tuple[int, ...]] = {258: (8, 8, 8), 262: (2,), 284: (2,)}
    for values in ((0,), (9, 9, 9), (65_535,) * 7):
        for operations in (TURN, SMALL):
            with contextlib.suppress(ImageError):
                transform(io.BytesIO(tiff(shades, {**tags, tag: values})), io.BytesIO(), operations)


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
    assert ImageChops.difference(done(content, None, tmp_path).convert("RGB"), expected).getbbox() is None


def test_an_icon_that_would_be_scaled_down_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="more than 256 pixels a side"):
        done(icon((300, 300)), None, tmp_path)
