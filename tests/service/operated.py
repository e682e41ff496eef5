"""What the operations make of image files, and the scene that most tests take."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from imaging.rules import Operations
from imaging.transform import transform
from tests.service.golden import scene

LEAST = 45.0
WIDTH, HEIGHT = 175, 164
SCENE = scene(WIDTH, HEIGHT)
GRAY = Operations(grayscale=True)
SMALL = Operations(128, 96)
SMALL_GRAY = SMALL._replace(grayscale=True)
ALPHA = np.clip(np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) * 1.2 - 60, 0, 255).round()
EXACT: dict[str, dict[str, Any]] = {
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True, "exact": True},
    "BMP": {},
}


def done(content: bytes, wish: Operations) -> bytes:
    """What the operations make of a file, in the format it came in."""
    target = io.BytesIO()
    transform(io.BytesIO(content), target, wish)
    with Image.open(io.BytesIO(content)) as before, Image.open(target) as after:
        assert after.format == before.format
    return target.getvalue()


def mode(content: bytes) -> str:
    """The mode of an image file."""
    with Image.open(io.BytesIO(content)) as image:
        return str(image.mode)
