"""The rules: what can be asked of an image, what size follows from it, and how an image is refused."""

from __future__ import annotations

from typing import NamedTuple

MAX_PIXELS = 24_000_000  # what a service may be asked to decode
MAX_SIDE = 65_535  # there: scaling needs memory for as many weights as a side has pixels


class Operations(NamedTuple):
    """What is done to an image, in this order: upright as EXIF says, gray, scaled, rotated."""

    width: int = 0  # pixels; 0 of both: not scaled; 0 of one: it follows from the other
    height: int = 0
    how: str = "exact"  # that very size; fit: the largest inside it; cover: fills it, the rest is cut off evenly
    margin: float = 0.0  # the share of each side by which an image may differ and is not scaled
    grayscale: bool = False
    rotate: int = 0  # degrees counter-clockwise: 0, 90, 180 or 270


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
    """Tell to which size (width, height) one of `size` is scaled; None: it is not scaled."""
    if not (operations.width or operations.height):
        return None
    width = operations.width or max(1, round(size[0] * operations.height / size[1]))
    height = operations.height or max(1, round(size[1] * operations.width / size[0]))
    if operations.how == "fit":
        share = min(width / size[0], height / size[1])
        width, height = max(1, round(size[0] * share)), max(1, round(size[1] * share))
    if abs(size[0] - width) <= operations.margin * width and abs(size[1] - height) <= operations.margin * height:
        return None
    return width, height
