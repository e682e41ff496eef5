"""Write the log of a batch: a compressed file with its first and its last lines.

Only Python's standard library is used, and little of it: this is loaded once for each batch.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # to import typing costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable

LINE = 64 * 1024  # bytes of a message
SEGMENTS = 8  # files that hold the last bytes of a batch
FREE = 0.05  # the part of a disk that logs leave free
CHECK = 1024 * 1024  # bytes after which the disk is looked at again
SPARE = 8 * 1024  # bytes that are set aside for the end of a log
MODE = 0o640
HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # of a gzip file (RFC 1952)
EMPTY_BLOCK = b"\x03\0"  # the last one of a deflate stream (RFC 1951)


def create(path: str) -> int:
    """Open a new file for writing."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)


def write_all(file: int, data: bytes) -> None:
    """Write all of the data; OSError if there is no room for it."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def write_if_room(file: int, data: bytes) -> bool:
    """Write all of the data; returns False if there is no room for it, or nobody reads it."""
    try:
        write_all(file, data)
    except OSError:
        return False
    return True


def cut(line: bytes, *, is_whole: bool) -> list[tuple[bytes, bool]]:
    """Cut a line into pieces of at most LINE bytes, between characters; each with whether it ends the line."""
    pieces = []
    while len(line) > LINE:
        end = LINE
        while end > LINE - 3 and 0x80 <= line[end] < 0xC0:  # the middle of a character
            end -= 1
        if line[end] < 0xC0:  # or of no character
            end = LINE
        pieces.append((line[:end], False))
        line = line[end:]
    return [*pieces, (line, is_whole)]


class Disk:
    """Tells whether a disk has room for more, with a look at it only now and then."""

    def __init__(self, path: str) -> None:
        self.path, self.left = path, 0

    def takes(self, size: int) -> bool:
        """Return whether so many bytes more leave enough of the disk free, and count them."""
        if size > self.left:
            disk = os.statvfs(self.path)
            room = int((disk.f_bavail - disk.f_blocks * FREE) * disk.f_frsize)
            self.left = min(room // 2, size + CHECK)  # another log may be about to take the other half
        self.left -= size
        return self.left >= 0


class Packed:
    """A gzip file that is being written.

    What is in it can be read up to the last whole MiB of text even if nothing more can be written.
    """

    def __init__(self, path: str) -> None:
        import zlib

        self.path, self.file, self.zlib = path, create(path), zlib
        self.packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        self.crc = self.size = self.lines = 0
        self.safe, self.is_cut = (0, 0, 0, 0), False
        write_all(self.file, HEADER)
        self.mark()

    def write(self, text: bytes, lines: int) -> None:
        """Add whole lines."""
        data = self.packer.compress(text)
        if self.size + len(text) - self.safe[2] >= CHECK:
            data += self.packer.flush(self.zlib.Z_SYNC_FLUSH)
        if data:
            write_all(self.file, data)
        self.crc = self.zlib.crc32(text, self.crc)
        self.size += len(text)
        self.lines += lines
        if self.size - self.safe[2] >= CHECK:
            self.mark()

    def mark(self) -> None:
        """Remember that the file can be read as far as it goes now."""
        self.safe = (os.lseek(self.file, 0, os.SEEK_CUR), self.crc, self.size, self.lines)

    def cut(self) -> tuple[int, int]:
        """Go back to where the file can be read; returns the lines and the bytes of text that are lost by it."""
        lines, size = self.lines, self.size
        offset, self.crc, self.size, self.lines = self.safe
        os.ftruncate(self.file, offset)
        os.lseek(self.file, offset, os.SEEK_SET)
        self.is_cut = True
        return lines - self.lines, size - self.size

    def close(self) -> tuple[int, int]:
        """End the file; returns the lines and the bytes of text that there was no room for."""
        lost = (0, 0)
        try:
            if self.is_cut:
                write_all(self.file, EMPTY_BLOCK + self.trailer())
            else:
                write_all(self.file, self.packer.flush() + self.trailer())
        except OSError:
            os.ftruncate(self.file, 0)
            lost = (self.lines, self.size)
        os.close(self.file)
        return lost

    def trailer(self) -> bytes:
        """Return the last bytes of the file."""
        return self.crc.to_bytes(4, "little") + (self.size & 0xFFFFFFFF).to_bytes(4, "little")


class BatchLog:
    """The batch's own log: its first and its last lines."""

    def __init__(self, target: str, limit: int) -> None:
        self.target, self.limit, self.disk = target, limit, Disk(target)
        self.path, self.spare = os.path.join(target, "log.jsonl.gz"), os.path.join(target, "log.spare")
        self.parts: list[Packed] = []  # the first lines, then the last ones, in segments
        self.count = self.lines_out = self.bytes_out = 0
        self.is_stopped = False

    def write(self, text: bytes, lines: int) -> None:
        """Write whole lines, or count them as left out."""
        if not self.is_stopped:
            try:
                if self.disk.takes(len(text)):
                    self.part().write(text, lines)
                    return
                self.is_stopped = True
            except OSError:
                self.is_stopped = True
                if self.parts:
                    self.leave_out(*self.parts[-1].cut())
        self.leave_out(lines, len(text))

    def leave_out(self, lines: int, size: int) -> None:
        """Count what is not kept, in lines and bytes."""
        self.lines_out += lines
        self.bytes_out += size

    def part(self) -> Packed:
        """Return the file that is written to, a new one where the one before is full; the oldest but one is deleted."""
        if not self.parts:
            self.parts.append(Packed(self.path))
            with open(self.spare, "wb", 0) as file:
                file.write(bytes(SPARE))
        elif self.parts[-1].size >= (self.limit if len(self.parts) == 1 else self.limit // SEGMENTS):
            if len(self.parts) > SEGMENTS + 1:
                oldest = self.parts.pop(1)
                os.unlink(oldest.path)
                self.leave_out(oldest.lines, oldest.size)
            self.count += 1
            new = Packed(os.path.join(self.target, f"log.{self.count}"))
            if len(self.parts) > 1:
                self.leave_out(*self.parts[-1].close())
            self.parts.append(new)
        return self.parts[-1]

    def end(self, note: Callable[[str], bytes]) -> None:
        """Put the parts together; `note` makes a line of a text."""
        if os.path.exists(self.spare):
            os.unlink(self.spare)
        self.end_parts()
        with open(self.path, "ab", 0) as file:  # gzip files one after the other are one gzip file
            if not self.is_stopped:
                self.add_note(file.fileno(), note)
            for part in self.parts[1:]:
                if not append(file.fileno(), part.path):
                    self.is_stopped = True
                    self.leave_out(part.lines, part.size)
            self.add_note(file.fileno(), note)

    def end_parts(self) -> None:
        """Finish the files that are still open: the first one, and the last segment."""
        for part in self.parts[:1] + self.parts[1:][-1:]:
            lost = part.close()
            self.is_stopped = self.is_stopped or lost != (0, 0)
            self.leave_out(*lost)

    def add_note(self, file: int, note: Callable[[str], bytes]) -> None:
        """Say what is left out, if anything is."""
        if self.lines_out:
            import zlib

            why = "the disk is nearly full" if self.is_stopped else "a batch keeps its first and its last lines"
            text = note(f"{self.lines_out} lines ({self.bytes_out} bytes) are left out: {why}")
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            write_all(file, packer.compress(text) + packer.flush())
            self.lines_out = self.bytes_out = 0


def append(file: int, path: str) -> bool:
    """Move the content of the file `path` to the end of another; returns whether there was room for it."""
    end = os.lseek(file, 0, os.SEEK_END)
    try:
        with open(path, "rb", 0) as part:
            while piece := part.read(CHECK):
                write_all(file, piece)
    except OSError:
        os.ftruncate(file, end)
        return False
    finally:
        os.unlink(path)
    return True
