"""BMP: which files have alpha, and how one with alpha is written; Pillow's own writer drops it."""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING, cast

from imaging.rules import ImageError

if TYPE_CHECKING:
    from PIL import BmpImagePlugin, Image

RLE = (1, 2)  # compressions; Pillow decodes them in Python
MAX_RLE_PIXELS = 4_000_000  # which takes some seconds
MASKS = (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)  # of red, green, blue, alpha


def prepare(image: BmpImagePlugin.BmpImageFile) -> None:
    """Raise ImageError for what Pillow decodes wrong, or too slowly."""
    if image.info.get("compression") in RLE and image.width * image.height > MAX_RLE_PIXELS:
        raise ImageError("unsupported", "unsupported: RLE BMP of more than 4 megapixels")
    file = cast("IO[bytes]", image.fp)
    file.seek(0)
    head = file.read(74).ljust(74, b"\0")
    size, bits = struct.unpack_from("<I", head, 14)[0], struct.unpack_from("<H", head, 28)[0]
    if size >= 56 and bits == 16 and image.info.get("compression") == 3 and any(head[66:70]):
        raise ImageError("unsupported", "unsupported: BMP with 16 bits a pixel and alpha")
    if size == 124 and head[70:74] in (b"DEBM", b"KNIL"):
        raise ImageError("unsupported", "unsupported: BMP with a colour profile")


def correct(image: Image.Image) -> Image.Image:
    """Return the image without its alpha where all of it is 0: such files are shown opaque."""
    if image.mode != "RGBA" or image.getchannel("A").getextrema() != (0, 0):
        return image
    result = image.convert("RGB")
    result.info = image.info
    return result


def write_alpha(image: Image.Image, target: IO[bytes], dpi: tuple[float, float] = (96, 96)) -> None:
    """Write an RGBA image with the header of version 4, which says where alpha stands.

    https://learn.microsoft.com/en-us/windows/win32/api/wingdi/ns-wingdi-bitmapv4header
    """
    pixels = image.tobytes("raw", "BGRA", 0, -1)
    metres = [int(each * 39.3701 + 0.5) for each in dpi]
    header = struct.pack("<IiiHHIIiiII", 108, *image.size, 1, 32, 3, len(pixels), *metres, 0, 0)
    header += struct.pack("<4I4s48x", *MASKS, b"BGRs")
    offset = 14 + len(header)
    target.write(struct.pack("<2sIII", b"BM", offset + len(pixels), 0, offset) + header)
    target.write(pixels)
