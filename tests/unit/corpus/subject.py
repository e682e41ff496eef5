"""What is tested: the functions of the program and of the service, imported in this one place."""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from imaging.decode import inspect
from imaging.files import Job, Task, process_file
from imaging.rules import ImageError, Operations
from service.common.errors import InvalidImage
from service.processor.servicer import work

__all__ = ["PROGRAM", "Operations", "Outcome", "by_program", "by_service", "shown_size"]

PROGRAM = Path(__file__).resolve().parents[3] / "process.py"


class Outcome(NamedTuple):
    """A result, or why there is none."""

    content: bytes | None
    reason: str | None


def by_program(name: str, content: bytes, wish: Operations | None) -> Outcome:
    """Process a file as process.py does; no operations: its rotation by default."""
    with tempfile.TemporaryDirectory() as folder:
        source, target, partial = (os.path.join(folder, part + name) for part in ("in-", "out-", "partial-"))
        with open(source, "wb") as file:
            file.write(content)
        error = process_file(Task(name, source, target, partial), Job(wish)).error
        if error is not None:
            return Outcome(None, error)
        with open(target, "rb") as file:
            return Outcome(file.read(), None)


def by_service(content: bytes, wish: Operations) -> Outcome:
    """Process bytes as the service does."""
    try:
        return Outcome(work(content, wish).image, None)
    except InvalidImage as error:
        return Outcome(None, str(error))


def shown_size(content: bytes) -> tuple[int, int] | None:
    """Return the size that the header's inspection tells, None where it refuses."""
    with suppress(ImageError):
        header = inspect(io.BytesIO(content))
        return header.width, header.height
    return None
