"""GIF: whether a file has its end, and what is beside its first picture."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import GifImagePlugin, Image


def is_complete(source: IO[bytes]) -> bool:
    """Tell whether the blocks lead to the trailer; whatever follows it is none of the image's.

    https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """
    source.seek(0)
    data = io.BytesIO(source.read())
    head = data.read(13)
    data.seek(color_table(head[10:11]), 1)
    while kind := data.read(1):
        if kind == b";":
            return True
        if kind == b",":
            data.seek(color_table(data.read(9)[-1:]) + 1, 1)
        elif kind == b"!":
            data.seek(1, 1)
        else:  # stray bytes between blocks, as decoders skip them
            continue
        while length := int.from_bytes(data.read(1), "little"):  # 0 where the file ends
            data.seek(length, 1)
    return False


def color_table(field: bytes) -> int:
    """Return the bytes of the colour table that a descriptor's packed field tells of; 0 where that is missing."""
    packed = int.from_bytes(field, "little")
    return 3 * 2 ** (packed % 8 + 1) if packed & 0x80 else 0


def prepare(image: GifImagePlugin.GifImageFile) -> None:
    """Note where the first picture lies, if it leaves a part of the screen free and nothing is transparent."""
    box = image.tile[0].extents if image.tile else None
    if box and box != (0, 0, *image.size) and "transparency" not in image.info:
        image.info["picture"] = box


def correct(image: GifImagePlugin.GifImageFile) -> Image.Image:
    """Return an image whose free part has the background's colour, where Pillow takes the palette's first."""
    from PIL import Image

    box, background = image.info.pop("picture", None), image.info.get("background", 0)
    if not box or not background or image.mode not in ("L", "P"):
        return image
    result = Image.new(image.mode, image.size, background)
    if colours := image.getpalette():
        result.putpalette(colours)
    result.paste(image.crop(box), box)
    result.info = image.info
    return result
