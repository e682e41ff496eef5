"""What a result says beside its pixels: nothing of what was removed, and nothing that changes its colours."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, TiffImagePlugin

from imaging.rules import ImageError, Operations
from imaging.transform import transform
from tests.unit.corpus import icc
from tests.unit.image_files import camera, tiff
from tests.unit.shown_pixels import DEFAULT, GRAY, SMALL, TURN, WAYS, Array, as_shown, processed

SECRET = b"a secret that the image is not to show"
STRIP = Operations(strip=True)
XMP, IPTC, PHOTOSHOP, MAKER_NOTE, EXIF = 0x02BC, 0x83BB, 0x8649, 0x927C, 0x8769


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def transformed(content: bytes, operations: Operations) -> bytes:
    target = io.BytesIO()
    transform(io.BytesIO(content), target, operations)
    return target.getvalue()


def tiff_with_secrets(mode: str) -> bytes:
    """Build a TIFF with SECRET in every place where there may be text or previews."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (XMP, IPTC, PHOTOSHOP):
        tags.tagtype[tag] = 7
        tags[tag] = SECRET
    return encoded(Image.new(mode, (16, 12), 90), "TIFF", tiffinfo=tags, dpi=(300, 150))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(
    "operations", [STRIP, Operations(strip=True, grayscale=True), Operations(strip=True, rotate=90), TURN, SMALL, GRAY]
)
def test_a_tiff_has_no_texts_and_previews_left(operations: Operations, mode: str) -> None:
    content = tiff_with_secrets(mode)
    assert SECRET in content
    if operations == GRAY and mode == "L":  # nothing is to be done: it is copied
        assert transformed(content, operations) == content
        return
    result = transformed(content, operations)
    assert SECRET not in result
    if operations.strip:
        with Image.open(io.BytesIO(result)) as image:
            assert image.info["dpi"] == (1, 1), "which means that nothing is known"


def with_exif(image: Image.Image, kind: str = "JPEG") -> bytes:
    """Build a file with SECRET in EXIF's tags, and a resolution."""
    tags = Image.Exif()
    tags[0x011A], tags[0x011B], tags[0x0128] = 300.0, 150.0, 2
    for tag in (XMP, IPTC, PHOTOSHOP):
        tags[tag] = SECRET
    tags.get_ifd(EXIF)[MAKER_NOTE] = SECRET
    tags.get_ifd(EXIF)[0xA002] = image.width
    return encoded(image, kind, exif=tags.tobytes())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("operations", [TURN, SMALL, GRAY])
def test_exif_has_no_previews_left(operations: Operations, kind: str) -> None:
    content = with_exif(Image.new("RGB", (32, 16), (200, 30, 40)), kind)
    assert SECRET in content
    result = transformed(content, operations)
    assert SECRET not in result
    with Image.open(io.BytesIO(result)) as image:
        exif = image.getexif()
        assert exif.get_ifd(EXIF)[0xA002] == image.width
        assert (exif[0x011A], exif[0x011B]) == ((150.0, 300.0) if operations == TURN else (300.0, 150.0))


def test_a_gray_image_with_a_thumbnail_is_not_copied() -> None:
    """The thumbnail may be in colour."""
    content = encoded(Image.new("L", (32, 16), 90), "JPEG", exif=camera(32, 16))
    assert content.count(b"\xff\xd8\xff") == 2
    assert transformed(content, GRAY).count(b"\xff\xd8\xff") == 1
    plain = with_exif(Image.new("L", (32, 16), 90))
    assert transformed(plain, GRAY) == plain


def test_a_gray_first_page_is_not_copied_with_the_pages_behind_it() -> None:
    red = Image.new("RGB", (16, 12), (255, 0, 0))
    content = encoded(Image.new("L", (16, 12), 90), "TIFF", save_all=True, append_images=[red])
    with Image.open(io.BytesIO(transformed(content, GRAY))) as image:
        assert (getattr(image, "n_frames", 1), image.mode) == (1, "L")


def test_a_gray_first_page_stands_alone_where_the_page_behind_it_is_damaged() -> None:
    pages = [Image.new("L", (16, 12), gray) for gray in (90, 200)]
    content = bytearray(encoded(pages[0], "TIFF", save_all=True, append_images=[pages[1]]))
    width_of_the_second = content.rindex(struct.pack("<HH", 256, 4))
    content[width_of_the_second : width_of_the_second + 2] = b"\xff\xff"
    with Image.open(io.BytesIO(transformed(bytes(content), GRAY))) as image:
        assert (getattr(image, "n_frames", 1), image.mode) == (1, "L")
        assert image.getextrema() == (90, 90)


def swapped_profile(name: bytes) -> bytes:
    """Return a profile with sRGB's curves, whose red is green, green is blue and blue is red."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    places = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    entries = {tag: bytes(profile[places[tag] + 4 : places[tag] + 12]) for tag in (b"rXYZ", b"gXYZ", b"bXYZ")}
    for tag, other in ((b"rXYZ", b"gXYZ"), (b"gXYZ", b"bXYZ"), (b"bXYZ", b"rXYZ")):
        profile[places[tag] + 4 : places[tag] + 12] = entries[other]
    assert name in bytes(profile)
    return bytes(profile)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_profile_that_only_bears_srgbs_name_is_kept_by_the_rotation(kind: str, tmp_path: Path) -> None:
    profile = swapped_profile("sRGB".encode("utf-16-be"))
    content = encoded(Image.new("RGB", (16, 8), (200, 40, 90)), kind, icc_profile=profile)
    assert processed(content, DEFAULT, tmp_path).info["icc_profile"] == profile
    real = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encoded(Image.new("RGB", (16, 8), (200, 40, 90)), kind, icc_profile=real)
    assert "icc_profile" not in processed(content, DEFAULT, tmp_path).info, "as Pillow does it"


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_gray_with_a_profile_becomes_srgb_where_a_format_has_no_gray(mode: str) -> None:
    shades = Image.linear_gradient("L").convert(mode)
    content = encoded(shades, "PNG", icc_profile=icc.gray_profile())
    expected = ImageCms.profileToProfile(
        Image.linear_gradient("L"), io.BytesIO(icc.gray_profile()), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert expected is not None
    with Image.open(io.BytesIO(transformed(content, Operations(format="WEBP")))) as image:
        assert "icc_profile" not in image.info
        difference = np.asarray(image.convert("RGB")).astype(int) - np.asarray(expected).astype(int)
    assert np.abs(difference).max() <= 1
    assert np.abs(np.asarray(expected).astype(int)[..., 0] - np.asarray(Image.linear_gradient("L"))).max() > 5


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (12, 13), (1, 8)])
def test_avif_with_colours_that_would_be_lost_is_refused(
    primaries: int, transfer: int, way: str, tmp_path: Path
) -> None:
    content = encoded(Image.new("RGB", (16, 16), (200, 40, 90)), "AVIF")
    processed(content, WAYS[way], tmp_path)
    at = content.index(b"colrnclx") + 8
    content = content[:at] + struct.pack(">HH", primaries, transfer) + content[at + 4 :]
    with pytest.raises(AssertionError, match=f"unsupported: colours by CICP {primaries}/{transfer}"):
        processed(content, WAYS[way], tmp_path)


def test_a_side_of_avif_is_bounded() -> None:
    content = encoded(Image.new("RGB", (2, 2)), "AVIF")
    with pytest.raises(ImageError, match="cannot be written as AVIF: 32769 x 1"):
        transformed(content, Operations(32769, 1))


def test_what_is_not_in_a_gifs_palette_is_the_same_in_a_png() -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    ImageDraw.Draw(image).rectangle((8, 0, 15, 15), fill=3)
    content = bytearray(encoded(image, "GIF", transparency=3))
    at = content.index(b"!\xf9\x04") + 6
    content[at] = 200  # beyond the palette
    before = seen_gif(bytes(content))
    with Image.open(io.BytesIO(transformed(bytes(content), Operations(format="PNG")))) as result:
        assert np.array_equal(np.asarray(result.convert("RGBA")), before)


def seen_gif(content: bytes) -> Array:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGBA"))


def test_a_16th_bit_that_is_no_alpha_of_a_tga(tmp_path: Path) -> None:
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 2, 8, 16, 0)
    shown = as_shown(processed(head + struct.pack("<HH", 0x7C00, 0xFC00) * 8, DEFAULT, tmp_path), DEFAULT)
    assert shown.reshape(-1, 4).tolist() == [[255, 0, 0, 255]] * 16


@pytest.mark.parametrize("bits", [0x00, 0x03, 0x87])
def test_jpeg_2000_of_other_bits_is_refused(bits: int, tmp_path: Path) -> None:
    content = bytearray(encoded(Image.new("L", (16, 16), 200), "JPEG2000"))
    content[content.index(b"\xff\x4f\xff\x51") + 42] = bits  # one less than the bits, and 128 if signed
    with pytest.raises(AssertionError, match="unsupported: JPEG 2000 of other than 8 bits"):
        processed(bytes(content), DEFAULT, tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_a_thumbnail_in_the_place_of_the_image_is_refused(way: str, tmp_path: Path) -> None:
    """A DNG has its image in a directory below the first one."""
    content = tiff(np.full((16, 16, 1), 90, np.uint8), {254: (1,), 330: (8,)})
    with pytest.raises(AssertionError, match="unsupported: TIFF with a thumbnail in the place of the image"):
        processed(content, WAYS[way], tmp_path)
