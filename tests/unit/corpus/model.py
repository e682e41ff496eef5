"""What a file of the corpus is: its bytes, and what they show by the format's specification."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.service.golden import Pixels, luma, scene

Array = npt.NDArray[Any]

WIDTH, HEIGHT = 44, 28
"""No multiple of 8: rows of 1, 2 and 4 bits end inside a byte, and JPEG's blocks hang over."""
HARD = 28.0
"""dB that scaled hard edges reach: between two passes of 8 bits what overshoots is cut off."""
SCENE = scene(WIDTH, HEIGHT)
GRAY = luma(SCENE).round()
ALPHA = np.clip(np.add.outer(np.arange(HEIGHT) * 7.0, np.arange(WIDTH) * 5.0) - 60, 0, 255).round()
"""From 0 to 255, both included, other in every row and column."""


@dataclass(frozen=True)
class Picture:
    """What an image shows, before its orientation is applied.

    `pixels` have the shape (height, width, channels) and go from 0 to 255, with fractions where the file has more than
    8 bits; in the space "values" they are numbers without a known white. `alpha` has the shape (height, width) and is
    not premultiplied.
    """

    pixels: Pixels
    space: str = "RGB"  # or L, CMYK, values
    alpha: Pixels | None = None
    depth: int = 8  # bits a channel
    orientation: int = 1
    by_xmp: bool = False  # the orientation stands in XMP alone: both are right, it applied and not
    profile: bytes | None = None
    colour_chunks: dict[bytes, bytes] = field(default_factory=dict)  # of a PNG: gAMA, cHRM, cICP
    slack: float = 0.0  # how far a channel may be off, beside that: 5 bits become 8 in more than one way
    lossy_by_default: bool = False  # Pillow writes it with loss where it is not told otherwise
    psnr: float = math.inf  # dB: how near a result can be that is not scaled; infinite: equal
    scaled: float = 45.0  # dB: how near a scaled result must be; less where edges are hard, as of one bit or a palette
    gray: Pixels | None = None  # where it is not the luma of Rec. 601, as with a profile of inks

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class Built:
    """The bytes of a file and what they show; `needed`: the file is common, and refusing it is a failure."""

    content: bytes
    shown: Picture
    needed: bool = True
    also: Picture | None = None  # what is right as well, where programs differ
    secret: bytes = b""  # what must not be in a result that is gray or scaled, such as a thumbnail in colours
    reader: bool = True  # whether an independent decoder can confirm `shown`


@dataclass(frozen=True)
class Sample:
    """A file of the corpus: its name, with the extension, and a function that builds it."""

    name: str
    build: Callable[[], Built]


def gray(bits: int = 8) -> Array:
    """Return the gray scene as integers of so many bits, of shape (height, width, 1)."""
    return quantized(GRAY, bits)[..., None]


def colours(bits: int = 8) -> Array:
    """Return the coloured scene as integers of so many bits, of shape (height, width, 3)."""
    return quantized(SCENE, bits)


def alpha(bits: int = 8) -> Array:
    """Return the alpha channel as integers of so many bits, of shape (height, width, 1)."""
    return quantized(ALPHA, bits)[..., None]


def inks(bits: int = 8) -> Array:
    """Return some CMYK with black in it, as integers of so many bits."""
    return np.dstack([quantized(255 - SCENE, bits), quantized(np.full((HEIGHT, WIDTH), 40.0), bits)])


def quantized(pixels: Pixels, bits: int) -> Array:
    """Bring 0..255 to integers of so many bits; above 8 bits the low bits are used too."""
    top = 2**bits - 1
    found = pixels * (top / 255)
    if bits > 8:
        low = np.arange(WIDTH) % 97
        found = found + (low[:, None] if pixels.ndim == 3 else low)
    kind = np.uint8 if bits <= 8 else np.uint16
    return np.asarray(np.clip(np.rint(found), 0, top).astype(kind))


def picture(samples: Array, bits: int, space: str = "", alpha: bool = False) -> Picture:
    """Return what integers of shape (height, width, channels) show, the last of which may be alpha."""
    found = samples.astype(np.float64) * (255 / (2**bits - 1))
    opacity = found[..., -1] if alpha else None
    found = found[..., :-1] if alpha else found
    space = space or {1: "L", 3: "RGB", 4: "CMYK"}[found.shape[2]]
    return Picture(found, space, opacity, depth=bits, scaled=45.0 if bits > 2 else HARD)


def with_(built: Built, change: Callable[[Picture], Picture]) -> Built:
    """Return a copy that shows its picture as it is after the change."""
    return replace(built, shown=change(built.shown))
