"""Which runs this client made, and where their results are: the file `runs.jsonl` in a fleet's folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from loguru import logger

FILE = "runs.jsonl"


@dataclass(frozen=True)
class PastRun:
    """A run that began; `dst` is an absolute path."""

    run: str
    dst: str


def note(folder: Path, past: PastRun) -> None:
    """Write down that a run began; a folder that can't be written is no reason not to run."""
    try:
        line = json.dumps(asdict(past)).encode() + b"\n"
        handle = os.open(folder / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(handle).st_size
            is_torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # the disk was full
            os.write(handle, b"\n" + line if is_torn else line)
        finally:
            os.close(handle)
    except OSError as error:
        logger.debug("{} can't be written ({})", folder / FILE, error.strerror)


def find(folder: Path, run: str | None = None) -> PastRun | None:
    """Return the last run that began, or the one of that name; None if it is not known."""
    found = None
    for past in _read(folder):
        if run in (None, past.run):
            found = past
    return found


def last(folder: Path, count: int) -> list[PastRun]:
    """Return so many runs that began last, the oldest first."""
    return list(deque(_read(folder), maxlen=count))


def _read(folder: Path) -> Iterator[PastRun]:
    """Yield the runs of the file, in the order in which they began."""
    with contextlib.suppress(FileNotFoundError), (folder / FILE).open("rb") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                yield PastRun(**json.loads(line))
