"""Files and folders that are their owner's alone."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from fanrun.fleet.errors import FleetError


def write_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600 so that a reader sees all of it or the file before it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # Ctrl-C may come when the file has its name already
            Path(temporary).unlink()
        raise


def control_folder() -> Path:
    """The folder of SSH control sockets, 0700 and the caller's own; FleetError otherwise.

    Not inside the fleet's folder: a socket's path may have about 104 characters only.
    """
    path = Path(f"/tmp/fanrun-{os.getuid()}")  # noqa: S108 - checked below, and $TMPDIR is too long on macOS
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise FleetError(f"{path} is not a private folder of yours; remove it and try again", fleet="")
    return path
