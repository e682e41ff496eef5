"""EXIF and XMP of results."""

from __future__ import annotations

import io

import pytest
from PIL import ExifTags, Image, ImageCms

from imaging.decode import inspect
from imaging.rules import Operations
from tests.unit.image_files import camera, encoded, processed


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "operations",
    [Operations(32, 24), Operations(32, 32, "cover"), Operations(grayscale=True), Operations(rotate=90)],
)
def test_exif_is_true_of_the_result_and_has_no_thumbnail(operations: Operations, kind: str) -> None:
    content = encoded(Image.radial_gradient("L").resize((80, 60)).convert("RGB"), kind, exif=camera(80, 60))
    with Image.open(io.BytesIO(content)) as image:
        assert 0x0201 in image.getexif().get_ifd(ExifTags.IFD.IFD1)
    result = processed(content, operations)
    with Image.open(io.BytesIO(result)) as image:
        tags = image.getexif()
        details = tags.get_ifd(0x8769)
        assert tags.get_ifd(ExifTags.IFD.IFD1) == {}
        assert tags[0x010F] == "Maker"
        assert (tags[0x0100], tags[0x0101]) == (details[0xA002], details[0xA003]) == image.size
    assert b"\xff\xd8\xff\xe0" not in result[4:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_strip_leaves_the_profile_alone(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = Image.Exif()
    tags.update({0x0112: 6, 0x010F: "Maker"})
    image = Image.radial_gradient("L").resize((80, 60)).convert("RGB")
    content = encoded(image, kind, exif=tags, icc_profile=profile, dpi=(300, 300))
    with Image.open(io.BytesIO(processed(content, Operations(strip=True)))) as found:
        assert found.size == (60, 80)  # upright
        assert found.info["icc_profile"] == profile
        assert not found.getexif()
        assert not {"exif", "comment"} & set(found.info)


def test_orientation_in_xmp_alone_is_not_heeded() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for kind in ("JPEG", "WEBP", "TIFF"):
        options = {"tiffinfo": {700: xmp}} if kind == "TIFF" else {"xmp": xmp}
        content = encoded(Image.new("RGB", (80, 60)), kind, **options)
        assert inspect(io.BytesIO(content))[1:3] == (80, 60)
        assert inspect(io.BytesIO(processed(content, Operations(rotate=180))))[1:3] == (80, 60)
