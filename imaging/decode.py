"""Reading images: what a file is by its header, and its pixels with a check that all of it is there."""

from __future__ import annotations

from contextlib import suppress
from typing import IO, TYPE_CHECKING

from imaging.rules import MAX_SIDE, Header, ImageError

if TYPE_CHECKING:
    from PIL import Image, ImageFile

SIGNATURES = {  # of files -> format and Pillow's plugin for it
    b"\xff\xd8\xff": ("JPEG", "Jpeg"), b"\x89PNG\r\n\x1a\n": ("PNG", "Png"), b"GIF8": ("GIF", "Gif"),
    b"BM": ("BMP", "Bmp"), b"RIFF": ("WEBP", "WebP"), b"II*\0": ("TIFF", "Tiff"), b"MM\0*": ("TIFF", "Tiff"),
    b"II+\0": ("TIFF", "Tiff"), b"MM\0+": ("TIFF", "Tiff"),
}  # fmt: skip
UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's orientation -> the Image.Transpose that undoes it


def inspect(source: IO[bytes], most_pixels: int | None = None) -> Header:
    """Tell what an image is by its header alone; raises ImageError, also when it has more than so many pixels."""
    with open_image(source, most_pixels) as image:
        turn, (width, height) = orientation(image), image.size
        if image.format == "TIFF":  # whose plugin may have swapped them already
            width, height = (image.tag_v2[tag] for tag in (256, 257))
        if turn > 4:
            width, height = height, width
        return Header(str(image.format), width, height, image.mode, turn > 1)


def open_image(source: IO[bytes], most_pixels: int | None) -> ImageFile.ImageFile:
    """Read an image's header, nothing else; raises ImageError."""
    from importlib import import_module

    from PIL import Image

    source.seek(0)
    head = source.read(16)
    name, plugin = next((SIGNATURES[magic] for magic in SIGNATURES if head.startswith(magic)), ("", ""))
    if not name:
        raise unknown(head)
    import_module(f"PIL.{plugin}ImagePlugin")
    try:
        image = Image.open(source, formats=[name])
    except Image.DecompressionBombError:
        raise ImageError("too large", "the image has too many pixels") from None
    except Exception as error:
        raise damaged(error) from None
    if most_pixels is not None and (image.width * image.height > most_pixels or max(image.size) > MAX_SIDE):
        raise ImageError("too large", f"an image of {image.width} x {image.height} pixels is too large")
    if name == "BMP" and image.info.get("compression") in (1, 2):  # which Pillow decodes in Python, for minutes
        raise ImageError("unsupported", "run-length encoded BMPs are not supported")
    if image.format == "MPO":  # a JPEG with more pictures behind the first
        image.format = "JPEG"
    return image


def unknown(head: bytes) -> ImageError:
    """Say what is wrong with a file that begins so."""
    from PIL import Image

    if not head:
        return ImageError("empty", "the image is empty")
    Image.init()
    with suppress(Exception):  # the plugins look at it, no more
        if any(accept and accept(head) is True for _, accept in Image.OPEN.values()):
            return ImageError("unsupported", "images of this format are not supported")
    return ImageError("not an image", "this is not an image")


def damaged(error: Exception) -> Exception:
    """Say that an image can't be read, unless it was the disk or the memory that failed."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
        return error
    return ImageError("truncated", "the image is damaged, cut off, or of a kind that cannot be read")


def decode(image: ImageFile.ImageFile, source: IO[bytes]) -> None:
    """Read an image's pixels, all of them; raises ImageError."""
    end = True
    try:
        image.load()
        if image.format == "PNG" and not getattr(image, "is_animated", False):  # Pillow has read as far as that now
            source.seek(-4, 1)
            end = source.read(8) == b"IEND\xaeB`\x82"
        elif image.format == "GIF":
            source.seek(-min(64, source.seek(0, 2)), 2)
            end = source.read().rstrip(b"\0\r\n").endswith(b";")
    except Exception as error:
        raise damaged(error) from None
    if not end:
        raise ImageError("truncated", "the image is cut off: its end is missing")


def orientation(image: Image.Image) -> int:
    """Tell how EXIF wants an image to be shown, 1 to 8, as far as it was read: nothing is decoded for it."""
    from PIL import Image

    with suppress(Exception):  # EXIF that can't be read says nothing
        # Not the PNG plugin's own: it decodes all pixels to look behind them.
        found = Image.Image.getexif(image).get(0x0112)
        return found if found in UPRIGHT else 1
    return 1
