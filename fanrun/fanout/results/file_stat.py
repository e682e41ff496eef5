"""What tells a file from another without reading it."""

from __future__ import annotations

import os
from typing import NamedTuple


class FileStat(NamedTuple):
    """What tells a file from the one that stood there before without reading it."""

    size: int
    mtime: int
    ctime: int
    inode: int

    def __str__(self) -> str:
        """As the table `seen` has it: JSON, in a quarter of the time that json.dumps takes."""
        return f"[{self.size}, {self.mtime}, {self.ctime}, {self.inode}]"


def file_stat(path: bytes) -> FileStat:
    """How a file looks now; OSError if it isn't there."""
    found = os.stat(path)
    return FileStat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
