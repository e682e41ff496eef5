"""Exit codes, and which error leads to which."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from fanrun.fleet.errors import FanrunError, FleetError, RunUnfinished, UsageError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
FILE_ERRORS = (
    *DISK_FULL,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ESTALE,
)
"""What a machine answers where a file can't be used: its user can change it, the program is not at fault."""


class ExitCode(enum.IntEnum):
    """How a command ended; docs/reference.md tells what each code means for a run."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNFINISHED = 3
    UNEXPECTED = 70
    INTERRUPTED = 130
    READER_GONE = 141


def explain(error: BaseException, home: Path | None, code: int) -> tuple[str, int]:
    """Return the line and the exit code for an error; ("", 70) for an unexpected one.

    `home` is the folder with the fleets' folders, where it is known; `code` is the exit code of errors that have no
    code of their own.
    """
    if isinstance(error, (UsageError, FleetError)):
        return str(error), ExitCode.USAGE
    if isinstance(error, RunUnfinished):
        return str(error), ExitCode.UNFINISHED
    if isinstance(error, FanrunError):
        return str(error), code
    if isinstance(error, OSError):
        path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        text = f"{path or 'a file'} can't be used: {error.strerror}"
        if path and home and Path(path).is_relative_to(home):
            return f"{text}; make it writable for you, or name another folder with FANRUN_HOME", ExitCode.USAGE
        if error.errno not in FILE_ERRORS:
            return "", ExitCode.UNEXPECTED
        advice = "make room there" if error.errno in DISK_FULL else "change its permissions or its place"
        return f"{text}; {advice}", code
    return "", ExitCode.UNEXPECTED


@contextlib.contextmanager
def unfinished() -> Iterator[None]:
    """Raise RunUnfinished where a run is interrupted before it works, or can't use a file."""
    try:
        yield
    except KeyboardInterrupt:
        raise RunUnfinished("interrupted before anything was done; the same command again begins anew") from None
    except OSError as error:
        text, _ = explain(error, None, ExitCode.UNFINISHED)
        if not text:
            raise
        raise RunUnfinished(text) from error
