"""One input file to one result file: the result is complete or not there."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from os.path import dirname
from typing import IO, NamedTuple

from imaging.rules import DEFAULT_LIMITS, ImageError, Limits, Operations


class Job(NamedTuple):
    """What is done to every input; without operations it is rotated."""

    operations: Operations | None = None
    limits: Limits = DEFAULT_LIMITS

    @property
    def format(self) -> str:
        """Return the format that results are converted to; "" if each keeps its own."""
        return self.operations.format if self.operations else ""


class Task(NamedTuple):
    """An input: its relative path, its file, and the final and the temporary path of its result."""

    key: str
    source: str
    target: str
    partial: str
    error: str | None = None  # why it must not be processed


class Result(NamedTuple):
    """What became of an input."""

    key: str
    error: str | None  # why it failed
    seconds: float
    permanent: bool = False  # another attempt would fail as well


def process_file(task: Task, job: Job) -> Result:
    """Process one input; its result is complete or not there. Raises no Exception."""
    started, error, permanent = time.perf_counter(), task.error, False
    try:
        if not error:
            write_result(task, job)
    except Exception as problem:
        error, permanent = reason(problem, task.source), is_permanent(problem)
    if error:
        discard(task.partial)
        discard(task.target)
    return Result(task.key, error, time.perf_counter() - started, permanent)


def write_result(task: Task, job: Job) -> None:
    """Write the result of an input; raises ImageError, and whatever Pillow and the disk raise."""
    if job.operations:
        from imaging.transform import transform

        with open(task.source, "rb") as file, create_partial(task) as result:
            transform(file, result, job.operations, job.limits)
    else:
        from imaging.rotate import rotate

        rotate(task.source, lambda: create_partial(task), job.limits)
    os.replace(task.partial, task.target)


def create_partial(task: Task) -> IO[bytes]:
    """Create the temporary file for a result, and its folder."""
    os.makedirs(dirname(task.target), exist_ok=True)
    # Pillow's writers of JPEG 2000, IM and SGI look at the file's name, so it has the name of the result.
    name = task.target.encode("utf-8", "replace").decode()
    return open(name, "xb+", opener=lambda _, flags: os.open(task.partial, flags, 0o666))


def discard(path: str) -> None:
    """Remove a file if it is there."""
    with suppress(OSError):
        os.unlink(path)


def is_permanent(error: Exception) -> bool:
    """Tell whether the image itself is the reason, so that another attempt would fail as well."""
    return isinstance(error, ImageError) or type(error).__name__ == "UnidentifiedImageError"


def reason(error: Exception, source: str) -> str:
    """Say in one short line why a file failed."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if type(error).__name__ == "UnidentifiedImageError":
        text = "not an image (PIL: cannot identify image file)"
    elif isinstance(error, ImageError):
        text = str(error)
    elif isinstance(error, OSError):
        text = (error.strerror or str(error)) + ("" if error.filename in (None, source) else " (in OUTPUT)")
    return printable(text)[:200]


def printable(text: str) -> str:
    """Escape what would disturb a terminal or a log: control characters, line ends, bytes that are not UTF-8."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
