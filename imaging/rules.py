"""The rules: what can be asked of an image, what size follows, what is too large, and how an image is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from decimal import Decimal

MAX_SIDE = 65_535  # what EXIF, JPEG and GIF can tell of a side
MAX_SIDES = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535, "AVIF": 32_768}  # of a result, by its format
PILLOW_PIXELS = 178_956_970  # what Pillow itself reads


class Operations(NamedTuple):
    """What is done to an image, in this order: upright as EXIF says, gray, scaled, rotated."""

    width: int = 0  # pixels; 0 of both: not scaled; 0 of one: it follows from the other
    height: int = 0
    how: str = "exact"  # that very size; fit: the largest inside it; cover: fills it, the rest is cut off evenly
    margin: float | Decimal = 0.0  # the share of each side by which an image may differ and is not scaled
    grayscale: bool = False
    rotate: int = 0  # degrees counter-clockwise: 0, 90, 180 or 270
    format: str = ""  # JPEG, PNG or WEBP; none: the one it came in
    strip: bool = False  # no metadata but the colour profile


class Limits(NamedTuple):
    """How large an image may be: pixels of an input and of a result, and the longer side of an input."""

    pixels: int = PILLOW_PIXELS
    result_pixels: int = PILLOW_PIXELS
    side: int | None = None  # scaling needs memory for as many weights as a side has pixels


DEFAULT_LIMITS = Limits()


class Header(NamedTuple):
    """What an image says of itself: pixels as they are shown; `turned`: its EXIF tells to turn or mirror it."""

    format: str
    width: int
    height: int
    mode: str
    turned: bool


class ImageError(ValueError):
    """An image that can't be processed; `kind`: empty, not an image, truncated, unsupported or too large."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def target_size(size: tuple[int, int], operations: Operations) -> tuple[int, int] | None:
    """Return the size (width, height) to which one of `size` is scaled, None where it is not scaled.

    A side that follows from the other is rounded, half a pixel up. The margin is taken as it is written in decimal.
    """
    width, height = operations.width, operations.height
    if not (width or height):
        return None
    # Of two sides that it must fit into, the one that leaves less room counts.
    if not height or (width and operations.how == "fit" and width * size[1] <= height * size[0]):
        height = follow(size[1], width, size[0])
    elif not width or operations.how == "fit":
        width = follow(size[0], height, size[1])
    if size == (width, height) or (operations.margin and is_within(size, (width, height), operations.margin)):
        return None
    return width, height


def follow(side: int, new: int, old: int) -> int:
    """Return what a side becomes where the other one, `old` pixels long, becomes `new` ones long; at least 1."""
    return max(1, (2 * side * new + old) // (2 * old))


def is_within(size: tuple[int, int], target: tuple[int, int], margin: float | Decimal) -> bool:
    """Tell whether each side differs from the target's by no more than the margin: 29 % of 100 are 29."""
    from decimal import Decimal

    share = Decimal(str(margin))
    return all(abs(old - new) <= share * new for old, new in zip(size, target))


def check_pixels(size: tuple[int, int], limits: Limits) -> None:
    """Raise ImageError if an input is too large."""
    if size[0] * size[1] > limits.pixels or (limits.side and max(size) > limits.side):
        most = f"{limits.pixels}" if size[0] * size[1] > limits.pixels else f"{limits.side} on a side"
        raise ImageError(
            "too large", f"an image of {size[0]} x {size[1]} pixels is too large: at most {most} are allowed"
        )


def check_result(size: tuple[int, int], name: str, limits: Limits) -> None:
    """Raise ImageError if a result would be too large, or larger than its format can hold."""
    if size[0] * size[1] > limits.result_pixels:
        raise ImageError(
            "too large",
            f"a result of {size[0]} x {size[1]} pixels is too large: at most {limits.result_pixels} are allowed",
        )
    if max(size) > MAX_SIDES.get(name, max(size)):
        raise ImageError("unsupported", f"the result cannot be written as {name}: {size[0]} x {size[1]} pixels")
