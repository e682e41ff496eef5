"""Pixels of every kind as plain ones: 8 bits a channel, no palette."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from imaging.rules import ImageError

if TYPE_CHECKING:
    from PIL import Image

PLAIN = {  # modes that can be scaled, and those that become them
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "RGB": "RGB",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "PA": "RGBA",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "CMYK": "CMYK",
}


def to_plain(image: Image.Image, gray: bool) -> Image.Image:
    """Bring an image to 8 bits a channel and no palette (L, LA, RGB, RGBA, CMYK), or to L or LA; raises ImageError."""
    result = image
    if image.mode.startswith("I;16"):
        result = narrow(image)
    elif "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        result = (image.convert("L") if image.mode == "1" else image).convert("LA" if image.mode in "1L" else "RGBA")
    if result.mode not in PLAIN:
        raise ImageError("unsupported", f"images with pixels of type {image.mode} cannot be scaled or made gray")
    mode = PLAIN[result.mode]
    if gray:
        mode = "LA" if mode in ("LA", "RGBA") else "L"
    if gray and result.mode == "CMYK":
        result = to_rgb(result)
    if result.mode not in (mode, PLAIN[result.mode]):
        result = result.convert(PLAIN[result.mode])
    return result if result.mode == mode else result.convert(mode)


def narrow(image: Image.Image) -> Image.Image:
    """Bring gray of 16 bits to 8: L, or LA where one of its values is transparent."""
    values = image.convert("I")
    result = values.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    key = image.info.get("transparency")
    if isinstance(key, int):
        from PIL import ImageMath

        opaque = ImageMath.lambda_eval(lambda args: (args["values"] != key) * 255, values=values)
        result = result.convert("LA")
        result.putalpha(opaque.convert("L"))
    return result


def to_rgb(image: Image.Image) -> Image.Image:
    """Bring CMYK or gray to sRGB: through its profile if it has one that can be read, else by Pillow's formula."""
    profile = image.info.get("icc_profile")
    if profile:
        from io import BytesIO

        from PIL import ImageCms

        with suppress(ImageCms.PyCMSError, OSError, ValueError):
            source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
            intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
            if found := ImageCms.profileToProfile(image, source, target, intent, outputMode="RGB"):
                return found
    return image.convert("RGB")
