"""The operations on one image: upright, gray, scaled, rotated; written in its format or another."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from imaging.rules import DEFAULT_LIMITS, Header, ImageError, Limits, Operations, check_result, target_size

if TYPE_CHECKING:
    from PIL import Image, ImageFile

TURNS = {0: None, 90: 2, 180: 3, 270: 4}  # degrees -> Image.Transpose


def transform(source: IO[bytes], target: IO[bytes], operations: Operations, limits: Limits = DEFAULT_LIMITS) -> None:
    """Do the operations to an image and write it, in the format it came in if none is asked for; raises ImageError.

    An image to which nothing is to be done is checked and copied as it is.
    """
    # Imported where needed, here and below: process.py also starts for what needs none of it.
    from imaging.decode import open_image, orientation, read_header

    with open_image(source, limits) as image:
        header, turn = read_header(image), orientation(image)
        exif = image.info.get("exif")  # not one that stands behind the pixels
        size, name = target_size((header.width, header.height), operations), operations.format or header.format
        check_result(size or (header.width, header.height), name, limits)
        pixels = read_pixels(image, source, operations.grayscale, limits)
        if not (is_work(header, size, operations) or (operations.grayscale and shows_more(source, exif, limits))):
            source.seek(0)
            target.write(source.read())
            return
        result = operate(pixels, header, size, operations, 1 if header.format == "TIFF" else turn)
        from imaging.encode import fit_format, write
        from imaging.metadata import Source, keep

        if name != header.format:
            result = fit_format(result, name)
        swapped = (turn > 4) != (operations.rotate in (90, 270))
        about = Source(header.format, header.mode, exif, pixels.info, swapped)
        options = keep(about, result, name, operations.strip)
        write(result, target, name, options)


def read_pixels(image: ImageFile.ImageFile, source: IO[bytes], gray: bool, limits: Limits) -> Image.Image:
    """Decode an image; of a JPEG that is to be gray its luma alone, which is that of Rec. 601."""
    from imaging.decode import decode, open_image

    if not gray or image.draft("L", None) is None:
        return decode(image, source)
    try:
        return decode(image, source)
    except ImageError:  # a lossless JPEG has no luma to be decoded alone
        return decode(open_image(source, limits), source)


def is_work(header: Header, size: tuple[int, int] | None, operations: Operations) -> bool:
    """Tell whether anything is to be done."""
    gray = operations.grayscale and header.mode not in ("1", "L", "LA")
    other = operations.format not in ("", header.format)
    return bool(size or gray or operations.rotate or operations.strip or other)


def shows_more(source: IO[bytes], exif: bytes | None, limits: Limits) -> bool:
    """Tell whether a file has other pictures, which may be in colour.  Also true where they can't be read."""
    from imaging.decode import damaged, open_image
    from imaging.metadata import has_thumbnail

    if has_thumbnail(exif):
        return True
    try:
        # Opened anew: counting moves a TIFF to another picture, and leaves it there if that one is damaged.
        with open_image(source, limits) as image:
            return bool(getattr(image, "n_frames", 1) > 1)
    except Exception as error:
        if not isinstance(damaged(error), ImageError):
            raise
        return True


def operate(
    pixels: Image.Image, header: Header, size: tuple[int, int] | None, operations: Operations, turn: int
) -> Image.Image:
    """Return the pixels after the operations; `turn`: EXIF's orientation, which is still to be applied."""
    from PIL import Image

    from imaging.decode import UPRIGHT

    result = pixels
    if size or (operations.grayscale and header.mode not in ("1", "L", "LA")):
        from imaging.colour import to_plain

        result = to_plain(pixels, operations.grayscale)
    if size:
        from imaging.scale import scale

        result = scale(result, size if turn < 5 else size[::-1], operations.how == "cover")
    for method in (UPRIGHT.get(turn), TURNS[operations.rotate]):
        if method is not None:
            result = result.transpose(Image.Transpose(method))
    return result
