"""The pixels of results as viewers show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.files import Job, Task, process_file
from imaging.rules import DEFAULT_LIMITS, Operations

DEFAULT, TURN, GRAY, SMALL = None, Operations(rotate=90), Operations(grayscale=True), Operations(8, 8)
WAYS = {"default": DEFAULT, "rotate": TURN, "gray": GRAY, "small": SMALL}
Array = npt.NDArray[Any]


def processed(content: bytes, operations: Operations | None, folder: Path) -> Image.Image:
    """Return the result that process.py gives for a file; fails with its reason."""
    (folder / "in").write_bytes(content)
    task = Task("in", str(folder / "in"), str(folder / "out"), str(folder / "partial"))
    error = process_file(task, Job(operations, DEFAULT_LIMITS)).error
    if error:
        raise AssertionError(error)
    with Image.open(folder / "out") as image:
        result = Image.Image.copy(image)
        result.info = image.info
        return result


def as_shown(image: Image.Image, operations: Operations | None) -> Array:
    """Return RGBA as it is shown, turned back where it was rotated."""
    shown = np.asarray(image.convert("RGBA"))
    return np.rot90(shown, -1) if operations in (DEFAULT, TURN) else shown
