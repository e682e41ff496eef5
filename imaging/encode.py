"""Writing images: the pixels, and what is kept beside them."""

from __future__ import annotations

from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from imaging.rules import MAX_SIDE, ImageError

if TYPE_CHECKING:
    from PIL import Image, ImageFile

QUALITY = 98  # of JPEGs: their grays differ by 48 dB even where all is noise


def kept(image: ImageFile.ImageFile, before: str, after: str, turn: int) -> dict[str, Any]:
    """Choose what is written beside the pixels, whose mode may have changed: options of Image.save."""
    from PIL import Image

    options: dict[str, Any] = {"icc_profile": None}
    if (before[0] in "1IL") == (after[0] in "1IL"):  # a profile of colours is none of grays
        options["icc_profile"] = image.info.get("icc_profile")
    if before == after and "transparency" in image.info:
        options["transparency"] = image.info["transparency"]
    if image.format == "TIFF":
        found = image.info.get("compression")
        fits = after == "1" or found in ("raw", "tiff_lzw", "packbits")
        options["compression"] = found if fits else "tiff_adobe_deflate"
    with suppress(Exception):  # nonsense is dropped
        if all(0 < value < MAX_SIDE for value in image.info["dpi"]):
            options["dpi"] = image.info["dpi"]
    with suppress(Exception):
        exif = image.info["exif"]
        if turn > 1:
            tags = Image.Exif()
            tags.load(exif)
            tags.pop(0x0112, None)
            exif = tags.tobytes()
        if image.format != "TIFF" and len(exif) < MAX_SIDE:
            options["exif"] = exif
    return options


def write(image: Image.Image, target: IO[bytes], name: str, options: dict[str, Any]) -> None:
    """Write an image, without loss where the format can; raises ImageError."""
    if name == "JPEG":
        options.update(quality=QUALITY, subsampling=0)
    elif name == "WEBP":
        options.update(lossless=True, quality=0, method=0)  # quickly; its other way halves the colours' resolution
    elif name == "BMP" and image.mode == "LA":
        image = image.convert("RGBA")
    elif name == "GIF" and image.mode not in ("1", "L", "P"):
        image, options["transparency"] = to_palette(image)
    image.info = {}  # or the plugins would take from it what was left out
    try:
        image.save(target, name, **{key: value for key, value in options.items() if value is not None})
    except (OSError, ValueError, OverflowError) as error:  # GIF has no side of more than 65,535
        if isinstance(error, OSError) and error.errno:
            raise
        raise ImageError("unsupported", f"the result cannot be written as {name}") from None


def to_palette(image: Image.Image) -> tuple[Image.Image, int | None]:
    """Bring an image (LA, RGB, RGBA) to a GIF's 256 colours; returns also the one that is transparent, if any.

    All shades of gray are kept; what is transparent to the half becomes so wholly.
    """
    hidden = image.getchannel("A").point(lambda alpha: 255 * (alpha < 128)) if "A" in image.mode else None
    if hidden is None or not hidden.getbbox():
        return image.convert("L") if image.mode == "LA" else image.convert("RGB").quantize(256), None
    if image.mode == "LA":
        result, index = image.getchannel("L").point(lambda shade: max(shade, 1)), 0
    else:
        result, index = image.convert("RGB").quantize(255), 255
    result.paste(index, mask=hidden)
    return result, index
