"""The build context as a tar archive, which docker reads from its standard input.

It holds what may be secret: settings of pip with a password. So no file on disk ever has a name and this in it.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO

from fanrun.fleet.errors import UsageError


def pack_context(files: Mapping[str, bytes]) -> bytes:
    """Return a tar archive of these files, {path: content}, and of the folders that they are in.

    Equal files make equal bytes: modes, owners and times are always the same, because docker's cache looks at them.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folders = {str(parent) for name in files for parent in PurePosixPath(name).parents} - {"."}
        for name in sorted([*folders, *files]):
            entry = tarfile.TarInfo(name)
            if name in files:
                entry.mode, entry.size = 0o644, len(files[name])
                archive.addfile(entry, io.BytesIO(files[name]))
            else:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
    return buffer.getvalue()


@contextmanager
def open_context(files: Mapping[str, bytes]) -> Iterator[IO[bytes]]:
    """Open the archive of these files for a program to read; raises UsageError if there is no room for it."""
    try:
        archive = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        archive.write(pack_context(files))
        archive.seek(0)
    except OSError as error:
        raise UsageError(
            f"what is built can't be kept in {tempfile.gettempdir()} ({error.strerror}): make room"
        ) from error
    with archive:
        yield archive
