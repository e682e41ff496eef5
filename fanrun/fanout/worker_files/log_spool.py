"""Write the log of all batches of a run on this worker, to which several processes append.

Only Python's standard library is used, and little of it: this is loaded once for each batch.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # to import typing costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
if TYPE_CHECKING or __package__:
    from fanrun.fanout.worker_files.log_files import MODE, Disk, write_all, write_if_room
else:  # it lies beside this file on a worker
    from log_files import MODE, Disk, write_all, write_if_room


class Full(Exception):
    """A log has reached its bound, or its disk is nearly full."""


class Spool:
    """The log of all batches of a run on this worker, to which others append as well.

    `note` makes a line of a text and of more fields.
    """

    def __init__(self, path: str, limit: int, note: Callable[..., bytes]) -> None:
        self.path, self.limit, self.note = path, limit, note
        self.file, self.size, self.disk = -1, -1, Disk(os.path.dirname(path))

    def write(self, text: bytes) -> None:
        """Append whole lines, at once; raises Full."""
        if self.file < 0:
            self.open()
        import fcntl

        fcntl.flock(self.file, fcntl.LOCK_EX)
        try:
            self.append(text)
        finally:
            fcntl.flock(self.file, fcntl.LOCK_UN)

    def append(self, text: bytes) -> None:
        """Append whole lines while no other does."""
        size = os.fstat(self.file).st_size
        if size != self.size:
            size = self.look_at_end(size)
        whole, fits = len(text), text[: max(0, self.limit - size)]
        text = text if len(fits) == whole else fits[: fits.rfind(b"\n") + 1]
        if not self.disk.takes(len(text)):
            self.stop("the disk is nearly full")
        try:
            write_all(self.file, text)
        except OSError:
            # Vector and `fab logs` keep their place in the file, so it never gets shorter.
            self.stop("the disk is full", self.ending())
        self.size = size + len(text)
        if len(fits) < whole:
            self.stop("the log of this run on this worker has reached its bound")

    def open(self) -> None:
        """Open the file; the one who makes it writes its first line, by which it is told from others."""
        if not os.path.exists(self.path):
            temporary = f"{self.path}.{os.getpid()}"
            try:
                file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
                try:
                    first = f"the log of a run begins here ({os.urandom(8).hex()})"
                    write_all(file, self.note(first, '"spool":"begin",'))
                finally:
                    os.close(file)
                os.link(temporary, self.path)
            except FileExistsError:  # another was faster
                pass
            finally:
                if os.path.exists(temporary):
                    os.unlink(temporary)
        self.file = os.open(self.path, os.O_RDWR | os.O_APPEND)

    def look_at_end(self, size: int) -> int:
        """Return the size of a file that another wrote to, ended by a whole line; raises Full if no more may follow."""
        end = os.pread(self.file, 4096, max(0, size - 4096))
        if b'"spool":"full"' in end:  # quotes in a message have a backslash before them
            raise Full
        return size + os.write(self.file, self.ending())

    def ending(self) -> bytes:
        """Return what ends the last line if it was torn: its writer was killed, or the disk was full."""
        size = os.fstat(self.file).st_size
        return b"\n" if size and os.pread(self.file, 1, size - 1) != b"\n" else b""

    def stop(self, why: str, ending: bytes = b"") -> None:
        """Write the last line, after the end of one that was torn, and raise Full."""
        line = self.note(f"{why}; what follows is in the batches' own logs", '"spool":"full",')
        write_if_room(self.file, ending + line)
        raise Full
