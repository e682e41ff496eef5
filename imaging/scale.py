"""Scaling by Lanczos of 3 lobes: quickly in 8 bits, or in floats where 8 bits between the passes would not do."""

from __future__ import annotations

from contextlib import suppress
from operator import mul
from typing import TYPE_CHECKING, Tuple

if TYPE_CHECKING:
    from PIL import Image

    Size = Tuple[int, int]
    Box = Tuple[float, float, float, float]

SAMPLE, NEAR, SHARE = (61, 53), 40, 1 / 128  # pixels that are looked at; how near to black or white; how many are
SPREAD = 0.02, 0.97  # the part of an image over which the rows and columns that are tried are spread
LINES, TRIED = 8, 32_768  # the fewest of them, and the pixels in which there may be more
SQUARES = tuple(excess**2 for excess in range(256))
MAX_ERROR = 1.5  # mean square of what is cut off in them; at most a quarter of it is left in the result
MAX_FLOAT_PIXELS = 64_000_000  # floats take four times the memory
PREMULTIPLIED = {"RGBA": "RGBa", "LA": "La"}


def scale(image: Image.Image, size: Size, cover: bool) -> Image.Image:
    """Scale an image (L, LA, RGB, RGBA, CMYK), colours weighted by alpha."""
    width, height = map(float, image.size)
    if cover:
        width, height = min(width, height * size[0] / size[1]), min(height, width * size[1] / size[0])
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (left, top, left + width, top + height)
    pixels = max(image.width * image.height, size[0] * size[1], image.height * size[0], image.width * size[1])
    if pixels <= MAX_FLOAT_PIXELS and has_extremes(image) and is_clipped(image, size):
        return scale_in_floats(image, size, box)
    return resize(image, size, box)


def has_extremes(image: Image.Image) -> bool:
    """Tell whether more than some pixels are nearly black or white: beside those Lanczos leaves the 8 bits."""
    from PIL import Image

    shades = image.resize(SAMPLE, Image.Resampling.NEAREST).histogram()
    starts = range(0, len(shades), 256)
    count = sum(sum(shades[at : at + NEAR]) + sum(shades[at + 256 - NEAR : at + 256]) for at in starts)
    return count > SHARE * SAMPLE[0] * SAMPLE[1]


def is_clipped(image: Image.Image, size: Size) -> bool:
    """Tell whether a first pass in 8 bits would cut off much, as at the edges of line art, by trying some lines."""
    from PIL import Image

    (width, height), (start, end) = image.size, SPREAD
    count = max(LINES, TRIED // (width + height + size[0] + size[1]))
    rows, columns = min(count, height), min(count, width)
    across = image.resize((width, rows), Image.Resampling.NEAREST, (0, height * start, width, height * end))
    down = image.resize((columns, height), Image.Resampling.NEAREST, (width * start, 0, width * end, height))
    return any(
        clipping(band.convert("F").resize(new, Image.Resampling.LANCZOS)) > MAX_ERROR
        for lines, new in ((across, (size[0], rows)), (down, (columns, size[1])))
        for band in lines.split()
    )


def clipping(values: Image.Image) -> float:
    """Return the mean square of what floats have beyond 0 and 255."""
    beyond = (values.point(lambda value: value * 1 - 254.5), values.point(lambda value: value * -1 + 0.5))
    shades = [image.convert("L").histogram() for image in beyond]
    return sum(sum(map(mul, found, SQUARES)) for found in shades) / (values.width * values.height)


def scale_in_floats(image: Image.Image, size: Size, box: Box) -> Image.Image:
    """Scale each band in floats, which are rounded and cut once, at the end."""
    from PIL import Image

    plain = image.convert(PREMULTIPLIED[image.mode]) if image.mode in PREMULTIPLIED else image
    bands = [resize(band.convert("F"), size, box).point(lambda value: value * 1 + 0.5) for band in plain.split()]
    result = Image.merge(plain.mode, [band.convert("L") for band in bands])
    return result if result.mode == image.mode else result.convert(image.mode)


def resize(image: Image.Image, size: Size, box: Box) -> Image.Image:
    """Resize what is in the box, by the quick resizer where it is installed and knows Pillow's memory."""
    import PIL
    from PIL import Image

    if image.mode != "LA" and PIL.__version__.startswith(("12.", "13.")):
        with suppress(ImportError):
            from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer

            # Its vector instructions serve several bands: three equal ones are enlarged in two thirds of the time.
            thrice = image.mode == "L" and size[1] > image.height
            before = Image.merge("RGB", (image, image, image)) if thrice else image
            way, result = ResizeAlg.convolution(FilterType.lanczos3), Image.new(before.mode, size)
            crop = CropBox(box[0], box[1], box[2] - box[0], box[3] - box[1])
            Resizer().resize_pil(before, result, ResizeOptions(way, crop_box=crop))
            return result.getchannel(0) if thrice else result
    return image.resize(size, Image.Resampling.LANCZOS, box)
