"""Writing images, without loss where the format can."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, cast

from imaging.rules import ImageError

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 98  # of JPEGs: their grays differ by 48 dB even where all is noise
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": QUALITY, "subsampling": 0},
    "WEBP": {"lossless": True, "quality": 0, "method": 0},  # quickly; its other way halves the colours' resolution
    "AVIF": {"quality": 95, "subsampling": "4:4:4", "speed": 8},
    "HEIF": {"quality": 95, "chroma": 444},
}
WRITABLE = {  # modes that a format which was asked for can hold as they are
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
}


def write(image: Image.Image, target: IO[bytes], name: str, options: dict[str, Any]) -> None:
    """Write an image in the format `name`; raises ImageError."""
    from PIL import ImageFile

    options = {**OPTIONS.get(name, {}), **options}
    if isinstance(image, ImageFile.ImageFile):  # or the plugins would take from it what was left out
        image = image.copy()
    if name in ("BMP", "WEBP") and image.mode == "LA":
        image = image.convert("RGBA")
    elif name == "GIF" and image.mode not in ("1", "L", "P"):
        image, options["transparency"] = to_palette(image)
    elif name == "PNG" and image.mode == "1" and options.get("transparency"):
        options["transparency"] = 1  # Pillow calls it 255
    image.info = {}
    try:
        if name == "BMP" and image.mode == "RGBA":
            from imaging.bmp import write_alpha

            write_alpha(image, target, options.get("dpi", (96, 96)))
        else:
            image.save(target, name, **{key: value for key, value in options.items() if value is not None})
    except Exception as error:  # whatever a plugin says to what it can't write
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
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


def fit_format(image: Image.Image, name: str) -> Image.Image:
    """Bring an image to a mode that another format can hold; raises ImageError where something would be lost."""
    from imaging.colour import to_plain, to_rgb

    if name == "PNG" and image.mode.startswith("I;16"):
        result = image.convert("I").convert("I;16") if image.mode != "I;16" else image
        result.info = image.info
        return result
    info = image.info
    if name == "WEBP" and image.mode in ("L", "LA") and info.get("icc_profile"):
        return gray_to_rgb(image)
    fits = image.mode in WRITABLE[name] and not is_short_of_colours(image)
    if fits and (name == "PNG" or "transparency" not in image.info):
        result = image
    else:
        result = to_plain(image, False)
        result = to_rgb(result) if result.mode == "CMYK" else result
    if name == "JPEG" and "A" in result.mode:
        result = without_alpha(result, name)
    if {"gamma", "chromaticity", "cicp"} & set(info):
        from imaging.png import to_srgb

        return to_srgb(result, info)
    return result


def gray_to_rgb(image: Image.Image) -> Image.Image:
    """Bring gray that has a profile to sRGB, for a format that has no gray."""
    from imaging.colour import to_rgb

    gray = image.getchannel("L")
    gray.info = image.info
    result = to_rgb(gray)
    if image.mode == "LA":
        result.putalpha(image.getchannel("A"))
    return result


def is_short_of_colours(image: Image.Image) -> bool:
    """Tell whether pixels of an image, or its transparent colour, are not in its palette, as a GIF may have them."""
    if image.mode != "P":
        return False
    last, key = len(image.getpalette("RGB") or ()) // 3 - 1, image.info.get("transparency")
    return cast(int, image.getextrema()[1]) > last or (isinstance(key, int) and key > last)


def without_alpha(image: Image.Image, name: str) -> Image.Image:
    """Return an image without its alpha, for a format that has none; raises ImageError if any of it is transparent."""
    if image.getchannel("A").getextrema() != (255, 255):
        raise ImageError("unsupported", f"parts of the image are transparent, which {name} cannot show")
    return image.convert(image.mode[:-1])
