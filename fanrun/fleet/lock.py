"""A lock file: one holder at a time, who is named to the others."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from fanrun.fleet.errors import Busy


@contextlib.contextmanager
def exclusive(path: Path, holder: str) -> Iterator[None]:
    """Hold the lock; Busy, at once and naming its holder, if another process does.

    The kernel lets it go when the process ends, however it ends.  Raises OSError with the path if
    it can't be written.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            name = file.read().strip() or "another process"
            raise Busy(f"{path} is held by {name}; wait for it and try again", holder=name) from error
        file.truncate(0)
        try:
            os.write(file.fileno(), os.fsencode(holder))
        except OSError as error:
            error.filename = str(path)
            raise
        yield


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock file."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
