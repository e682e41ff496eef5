"""What images should come out as, computed in floats by numpy from what the rules say, not by Pillow.

Pixels are float64, 0 to 255, of shape (height, width) or (height, width, channels).
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.float64]


def scene(width: int, height: int, fine: float = 6.0) -> Pixels:
    """A coloured picture with edges, slopes and texture; `fine`: pixels in a wave of the texture."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    slope = np.stack([x / width, y / height, (x + y) / (width + height)], axis=-1) * 150 + 40
    waves = np.stack([np.sin(x / fine + k) * np.cos(y / (fine + k)) for k in range(3)], axis=-1) * 20
    disk = (x - width / 3) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 4) ** 2
    bar = np.abs(x - y * width / height - width / 5) < max(width, height) / 20
    found = slope + waves
    found[disk] += (40, -30, 20)
    found[bar] -= (25, 20, -35)
    return np.asarray(np.clip(found, 0, 255).round(), np.float64)


def luma(pixels: Pixels) -> Pixels:
    """Rec. 601, of RGB."""
    return np.asarray(pixels[..., :3] @ np.array([0.299, 0.587, 0.114]), np.float64)


def weights(before: int, after: int, start: float, length: float) -> Pixels:
    """How much each of `before` pixels is in each of `after` ones that show `length` of them: Lanczos of 3 lobes."""
    step = length / after
    width = max(step, 1.0)
    middle = start + (np.arange(after)[:, None] + 0.5) * step
    away = (np.arange(before)[None, :] + 0.5 - middle) / width
    found = np.where(np.abs(away) < 3, np.sinc(away) * np.sinc(away / 3), 0.0)
    return np.asarray(found / found.sum(axis=1, keepdims=True), np.float64)


def resized(pixels: Pixels, width: int, height: int, box: tuple[float, float, float, float] | None = None) -> Pixels:
    """Scaled in floats; `box`: left, top, right, bottom of what is shown."""
    left, top, right, bottom = box or (0, 0, pixels.shape[1], pixels.shape[0])
    across = weights(pixels.shape[1], width, left, right - left)
    down = weights(pixels.shape[0], height, top, bottom - top)
    found = np.einsum("yi,ij...,xj->yx...", down, pixels, across, optimize=True)
    return np.asarray(np.clip(found, 0, 255), np.float64)


def psnr(found: Pixels, expected: Pixels) -> float:
    """How alike two pictures are, in dB."""
    assert found.shape == expected.shape
    error = float(np.mean((found - expected) ** 2))
    return float(10 * np.log10(255**2 / error)) if error else 99.0


def pixels(content: bytes, mode: str | None = None) -> Pixels:
    """What is in an image file, as it lies there: not turned as EXIF says."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image if mode in (None, image.mode) else image.convert(mode), np.float64)


def picture(found: Pixels, mode: str) -> Image.Image:
    """An image of pixels that fit the mode."""
    if mode == "I;16":
        return Image.fromarray(found.round().astype(np.uint16))
    return Image.frombytes(mode, (found.shape[1], found.shape[0]), found.round().astype(np.uint8).tobytes())


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file."""
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()
