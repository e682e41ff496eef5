"""Debian packages on the control machine: what a file of one says of itself (deb(5))."""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fanrun.fleet.errors import UsageError

MAGIC = b"!<arch>\n"
HEADER = 60
MAX_CONTROL = 16 * 1024**2


@dataclass(frozen=True)
class Deb:
    """A package in a file; `version` has Debian's revision, as 0.57.0-1."""

    path: Path
    package: str
    version: str
    architecture: str


def read_deb(path: Path) -> Deb:
    """Read what a package says of itself; UsageError for a file that is none."""
    try:
        with path.open("rb") as file:
            fields = _fields(_control(file))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no Debian package ({error}); give a .deb file") from error
    except (EOFError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise UsageError(f"{path} is damaged: its control file can't be unpacked; give a whole .deb file") from error
    return Deb(path, fields.get("Package", ""), fields.get("Version", ""), fields.get("Architecture", ""))


def _control(file: BinaryIO) -> str:
    """Return the control file of a package."""
    for name, data in _members(file):
        if not name.startswith("control.tar"):
            continue
        if name.endswith(".zst"):
            raise ValueError("its control file is compressed with zstd, which is not read here")
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                found = archive.extractfile(entry) if entry.name.removeprefix("./") == "control" else None
                if found:
                    return found.read(MAX_CONTROL).decode()
    raise ValueError("it has no control file")


def _members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yield the small members at the start of an archive of ar's: (name, content)."""
    if file.read(len(MAGIC)) != MAGIC:
        raise ValueError("it does not begin as one")
    while len(header := file.read(HEADER)) == HEADER:
        size = int(header[48:58])
        if size < 0:
            raise ValueError("a part of it has no size")
        if size > MAX_CONTROL:
            return  # the files themselves, which come after what describes them
        yield header[:16].decode("ascii", "replace").strip().rstrip("/"), file.read(size)
        file.seek(size % 2, io.SEEK_CUR)


def _fields(text: str) -> dict[str, str]:
    """Return the fields of a control file that stand on one line."""
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith((" ", "\t")))
    return {name: value.strip() for name, _, value in pairs}
