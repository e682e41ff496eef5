"""The rotation that is done where no operation is asked for: what Pillow alone writes, unless that would be wrong."""

from __future__ import annotations

from os.path import splitext
from typing import IO, TYPE_CHECKING, Any, cast

from imaging.rules import ImageError, Limits, check_pixels, check_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image, ImageFile

    CreateResult = Callable[[], IO[bytes]]


ICON_SIZES = tuple((side, side) for side in (16, 24, 32, 48, 64, 128, 256))
"""What Pillow writes into an ICO, as far as the image is as large; one of another size it would only scale down."""


def rotate(source: str, create: CreateResult, limits: Limits) -> None:
    """Rotate an image by 90 degrees counter-clockwise; `create` opens the file for the result.

    Raises ImageError, and what Pillow raises.
    """
    from PIL import Image

    # The usual plugins or all, not those of the names met so far: their order decides doubtful files.
    Image.preinit()
    if splitext(source)[1].lower() not in ("", *Image.EXTENSION):
        Image.init()
    if limits.pixels > 2 * (Image.MAX_IMAGE_PIXELS or limits.pixels):  # the caller's limit is the one that holds
        Image.MAX_IMAGE_PIXELS = (limits.pixels + 1) // 2
    check_source(source)
    with open_any(source) as image:
        check_pixels(image.size, limits)
        name = str(image.format)
        if name.upper() not in Image.SAVE:
            raise OSError(f"Pillow reads {name} but cannot write it")
        check_result(image.size, name, limits)
        result = repair(image, source).rotate(90, expand=True)
        with create() as file:
            save(result, file, name)


def check_source(source: str) -> None:
    """Raise ImageError for a file that Pillow must not even open, or that has colours which it would lose."""
    with open(source, "rb") as file:
        head = file.read(12)
        if head.startswith(b"\xff\xd8"):  # most are JPEGs
            return
        from imaging.decode import SIGNATURES, check_head

        name = next((found[0] for magic, found in SIGNATURES.items() if head.startswith(magic)), "")
        check_head("AVIF" if head[4:8] == b"ftyp" else name, file)


def open_any(source: str) -> ImageFile.ImageFile:
    """Open an image of any format that Pillow knows; raises ImageError for one that it would need more for."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(source)
    except UnidentifiedImageError:
        from imaging.decode import HEAD, name_unread, register_heif

        with open(source, "rb") as file:
            name = name_unread(file.read(HEAD))
        if name == "HEIC" and register_heif():
            return Image.open(source)
        if name:
            raise ImageError("unsupported", f"unsupported: {name}") from None
        raise


def repair(image: ImageFile.ImageFile, source: str) -> Image.Image:
    """Set right what Pillow decodes wrong; raises ImageError where that can't be done."""
    check_other(image)
    if image.format == "TGA" and image.mode == "RGBA" and is_opaque_tga(read_head(image, 18)):
        return image.convert("RGB")
    if image.format not in ("TIFF", "PNG", "BMP", "GIF"):
        return image
    from imaging.decode import check_end, correct, is_deep, prepare

    deep = is_deep(image)
    prepare(image)
    image.load()
    with open(source, "rb") as file:
        check_end(image, file)
    return image if image.format == "BMP" else correct(image, deep, source)


def check_other(image: ImageFile.ImageFile) -> None:
    """Raise ImageError for formats that Pillow alone handles, where it decodes or writes them wrong."""
    if image.format == "ICNS":
        raise ImageError("unsupported", "unsupported: ICNS (it would be written in other sizes)")
    if image.format == "ICO" and max(image.size) > 256:
        raise ImageError("unsupported", "unsupported: ICO of more than 256 pixels a side")
    if image.format == "SGI" and read_head(image, 4)[3:] == b"\2":  # bytes a sample
        raise ImageError("unsupported", "unsupported: SGI of 16 bits")
    if image.format == "DDS" and image.mode in ("L", "LA"):
        raise ImageError("unsupported", "unsupported: gray DDS")
    if image.format == "JPEG2000":
        bits = precision(read_head(image, 65_536))
        if bits != 8 and (image.mode != "I;16" or not 8 < bits <= 16):
            raise ImageError("unsupported", "unsupported: JPEG 2000 of other than 8 bits a colour, or signed")
        if (profile := image.info.get("icc_profile")) and not is_srgb(profile):
            raise ImageError("unsupported", "unsupported: JPEG 2000 with a profile, which would be lost")


def read_head(image: ImageFile.ImageFile, length: int) -> bytes:
    """Return the first bytes of a file that was opened, and leave it as it was."""
    file = cast("IO[bytes]", image.fp)
    place = file.tell()
    file.seek(0)
    head = file.read(length)
    file.seek(place)
    return head


def precision(head: bytes) -> int:
    """Return the bits of a JPEG 2000 codestream's first component, more than 128 if signed: ISO/IEC 15444-1, A.5.1."""
    at = head.find(b"\xff\x4f\xff\x51")
    return head[at + 42] + 1 if 0 <= at < len(head) - 42 else 8


def is_opaque_tga(head: bytes) -> bool:
    """Tell whether a TGA says that the 16th bit of its pixels is no alpha, which Pillow takes it for."""
    return head[16] == 16 and head[17] & 15 == 0


def save(image: Image.Image, file: IO[bytes], name: str) -> None:
    """Write an image as Pillow does; where it would lose alpha, or what its numbers mean as colours, with these."""
    if name == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() != (0, 0):
        from imaging.bmp import write_alpha

        write_alpha(image, file)
        return
    options: dict[str, Any] = {}
    if name == "ICO" and image.size not in ICON_SIZES:
        options["sizes"] = [image.size]
    profile = image.info.get("icc_profile")
    if profile and name in ("JPEG", "MPO", "WEBP") and not is_srgb(profile):
        options["icc_profile"] = profile
    if name == "HEIF":  # its plugin would write EXIF and thumbnails, which are those of the image before
        image.info = {"icc_profile": profile}
    if name == "PNG":
        if image.mode == "1" and image.info.get("transparency"):
            image.info["transparency"] = 1  # Pillow calls it 255
        names = set(image.info)
        if "cicp" in names or ({"gamma", "chromaticity"} & names and not {"srgb", "icc_profile"} & names):
            from imaging.png import colour_chunks

            options["pnginfo"] = colour_chunks(image.info)
    image.save(file, format=name, **options)


def is_srgb(profile: bytes) -> bool:
    """Tell whether a profile means sRGB, which is what is taken for an image without one: by its name and its colours.

    Colours may differ by 2 of 255, as those of profiles with a curve in the place of sRGB's formula do.
    """
    if b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        return False
    from io import BytesIO

    from PIL import Image, ImageChops, ImageCms

    shades = (0, 64, 128, 192, 255)
    colours = Image.new("RGB", (len(shades) ** 2, len(shades)))
    colours.putdata([(red, green, blue) for red in shades for green in shades for blue in shades])
    try:
        shown = ImageCms.profileToProfile(colours, BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return shown is not None and max(ImageChops.difference(colours, shown).tobytes()) <= 2
