"""The operations on pixels: upright, gray, scaled, rotated."""

from __future__ import annotations

from contextlib import suppress
from os.path import splitext
from typing import IO, TYPE_CHECKING

from imaging.decode import UPRIGHT, decode, open_image, orientation
from imaging.encode import kept, write
from imaging.rules import ImageError, Operations, target_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image, ImageFile

PLAIN = {  # modes that can be scaled, and those that become them
    "1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "PA": "RGBA",
    "RGBA": "RGBA", "RGBa": "RGBA", "CMYK": "CMYK",
}  # fmt: skip
TURNS = {0: None, 90: 2, 180: 3, 270: 4}  # degrees -> Image.Transpose


def rotate(source: str, place: Callable[[Callable[[IO[bytes]], None]], None]) -> None:
    """Turn an image by 90 degrees counter-clockwise as Pillow alone does; `place` has the result written to a file."""
    from PIL import Image

    # The usual plugins or all, not those of the names met so far: their order decides doubtful files.
    Image.preinit()
    if splitext(source)[1].lower() not in ("", *Image.EXTENSION):
        Image.init()
    with Image.open(source) as image:
        result = image.rotate(90, expand=True)
        if str(image.format).upper() not in Image.SAVE:
            raise OSError(f"Pillow reads {image.format} but cannot write it")
        place(lambda file: result.save(file, format=image.format))


def transform(source: IO[bytes], target: IO[bytes], operations: Operations, most_pixels: int | None = None) -> None:
    """Do the operations to an image and write it in the format it came in; raises ImageError.

    An image to which nothing is to be done is checked and copied as it is.
    """
    from PIL import Image

    with open_image(source, most_pixels) as image:
        mode = image.mode
        if operations.grayscale:
            image.draft("L", None)  # of a JPEG its luma alone is decoded, which is that of Rec. 601
        decode(image, source)
        turn = orientation(image) if image.format != "TIFF" else 1  # its plugin has turned it by now
        size = target_size(image.size if turn < 5 else image.size[::-1], operations)
        if size and most_pixels is not None and size[0] * size[1] > most_pixels:
            raise ImageError("too large", f"a result of {size[0]} x {size[1]} pixels is too large")
        gray = operations.grayscale and mode not in ("1", "L", "LA")
        if not (size or gray or operations.rotate):
            source.seek(0)
            target.write(source.read())
            return
        result: Image.Image = to_plain(image, operations.grayscale) if size or gray else image
        if size:
            result = scale(result, size if turn < 5 else size[::-1], operations.how == "cover")
        for method in (UPRIGHT.get(turn), TURNS[operations.rotate]):
            if method is not None:
                result = result.transpose(Image.Transpose(method))
        write(result, target, str(image.format), kept(image, mode, result.mode, turn))


def to_plain(image: ImageFile.ImageFile, gray: bool) -> Image.Image:
    """Bring an image to 8 bits a channel and no palette (L, LA, RGB, RGBA, CMYK), or to L or LA; raises ImageError."""
    result: Image.Image = image
    if image.mode.startswith("I;16"):
        result = image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
        if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(262) == 0:
            result = result.point(lambda value: 255 - value)  # white is 0, which Pillow heeds at 8 bits alone
    elif "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        result = (image.convert("L") if image.mode == "1" else image).convert("LA" if image.mode in "1L" else "RGBA")
    if result.mode not in PLAIN:
        raise ImageError("unsupported", f"images with pixels of type {image.mode} can only be rotated")
    mode = PLAIN[result.mode]
    if gray:
        mode = "LA" if mode in ("LA", "RGBA") else "L"
    if result.mode not in (mode, PLAIN[result.mode]):
        result = result.convert(PLAIN[result.mode])
    return result if result.mode == mode else result.convert(mode)


def scale(image: Image.Image, size: tuple[int, int], cover: bool) -> Image.Image:
    """Scale an image (L, LA, RGB, RGBA, CMYK) by Lanczos of 3 lobes, colours weighted by alpha."""
    import PIL
    from PIL import Image

    width, height = map(float, image.size)
    if cover:
        width, height = min(width, height * size[0] / size[1]), min(height, width * size[1] / size[0])
    left, top = (image.width - width) / 2, (image.height - height) / 2
    if image.mode != "LA" and PIL.__version__.startswith(("12.", "13.")):  # whose memory it knows
        with suppress(ImportError):
            from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer

            way, result = ResizeAlg.convolution(FilterType.lanczos3), Image.new(image.mode, size)
            Resizer().resize_pil(image, result, ResizeOptions(way, crop_box=CropBox(left, top, width, height)))
            return result
    return image.resize(size, Image.Resampling.LANCZOS, (left, top, left + width, top + height))
