"""Run a program and write what it prints as JSON lines.

Its main() is called with the arguments TARGET SPOOL FIELDS BATCH_BYTES SPOOL_BYTES PROGRAM [ARG]...

TARGET is the folder of a batch. `log` there gets the last 64 KiB as they came, `log.jsonl.gz` one JSON object for each
line: the first and the last BATCH_BYTES, and between them a line that says how much was left out. The same objects are
appended to the file SPOOL until it has SPOOL_BYTES. FIELDS is the part of each object that is always the same, as in
'"run":"r1","host":"worker-1"'. `times` says when the file TARGET/report.jsonl grew: milliseconds since 1970 and its
size in bytes. The exit code is the program's.

A message has up to 64 KiB. A longer line is cut into several, all but the last of which have "partial":true.
Only Python's standard library is used, and little of it: this program starts once for each batch. A log that cannot be
written never stops the program: its output is read to the end in any case.
"""

from __future__ import annotations

import os
import select
import sys
import time

TYPE_CHECKING = False  # to import typing costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

LINE = 64 * 1024  # bytes of a message
LAST = 64 * 1024  # bytes of the plain log
SEGMENTS = 8  # files that hold the last BATCH_BYTES
FREE = 0.05  # the part of a disk that logs leave free
CHECK = 1024 * 1024  # bytes after which the disk is looked at again
TICK = 0.1  # seconds between two looks at the report
MODE = 0o640
SIGPIPE, SIGXFSZ = 13, 25  # the module signal costs milliseconds; Python ignores these two
LEVELS = {
    "TRACE": "trace", "DEBUG": "debug", "INFO": "info", "NOTICE": "info", "NOTE": "info", "WARN": "warning",
    "WARNING": "warning", "ERR": "error", "ERROR": "error", "CRITICAL": "critical", "FATAL": "critical",
    "FATAL ERROR": "critical", "PANIC": "critical",
}  # fmt: skip


class Full(Exception):
    """A log has reached its bound, or its disk is nearly full."""


def has_room(path: str) -> bool:
    """Tell whether the disk has more free than logs must leave."""
    disk = os.statvfs(path)
    return disk.f_bavail > disk.f_blocks * FREE


def make_level() -> Callable[[str], str]:
    """Return the function that finds the level of a message, "" if it names none."""
    import re

    word = "|".join(LEVELS)
    edge = r"[\s\[\](){}<>|\"'=:,;*]"
    capital = re.compile(rf"(?:^|{edge})({word})(?=$|{edge}|[-.])")
    key = re.compile(rf"(?:level|lvl|severity|levelname)[\"']?\s*[=:]\s*[\"']?({word})\b", re.IGNORECASE)
    start = re.compile(rf"(?:^|^\S+: )\W?({word})\W?:", re.IGNORECASE)

    def level(message: str) -> str:
        head = message[:200]
        found = key.search(head) or capital.search(head) or start.search(head)
        return LEVELS[found.group(1).upper()] if found else ""

    return level


def create(path: str) -> IO[bytes]:
    """Open a new file for writing."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE), "wb")


class Packed:
    """A gzip file that is being written."""

    def __init__(self, path: str) -> None:
        import zlib

        self.path, self.file = path, create(path)
        self.packer = zlib.compressobj(1, zlib.DEFLATED, 31)

    def write(self, data: bytes) -> None:
        self.file.write(self.packer.compress(data))

    def close(self) -> None:
        with self.file:
            self.file.write(self.packer.flush())


class Segment:
    """A part of the last lines."""

    def __init__(self, path: str) -> None:
        self.path, self.packed = path, Packed(path)
        self.size = self.lines = 0


class BatchLog:
    """The batch's own log: its first and its last lines."""

    def __init__(self, target: str, limit: int) -> None:
        self.target, self.limit = target, limit
        self.path = os.path.join(target, "log.jsonl.gz")
        self.first: Packed | None = None
        self.first_size = self.count = self.unchecked = 0
        self.segments: list[Segment] = []
        self.lines_out = self.bytes_out = 0
        self.is_stopped = False

    def write(self, text: bytes, lines: int) -> None:
        """Write whole lines."""
        self.unchecked += len(text)
        if self.unchecked >= CHECK and not self.is_stopped:
            self.unchecked, self.is_stopped = 0, not has_room(self.target)
        if self.is_stopped:
            self.lines_out += lines
            self.bytes_out += len(text)
        elif self.first_size < self.limit:
            self.first = self.first or Packed(self.path)
            self.first_size += len(text)
            self.first.write(text)
        else:
            segment = self.last_segment()
            segment.size += len(text)
            segment.lines += lines
            segment.packed.write(text)

    def last_segment(self) -> Segment:
        """Return the segment that is written to, a new one where the one before is full; the oldest is deleted."""
        if not self.segments or self.segments[-1].size >= self.limit // SEGMENTS:
            if self.segments:
                self.segments[-1].packed.close()
            if len(self.segments) > SEGMENTS:
                oldest = self.segments.pop(0)
                self.lines_out += oldest.lines
                self.bytes_out += oldest.size
                os.unlink(oldest.path)
            self.count += 1
            self.segments.append(Segment(os.path.join(self.target, f"log.{self.count}")))
        return self.segments[-1]

    def end(self, note: Callable[[str], bytes]) -> None:
        """Put the parts together; `note` makes a line of a text."""
        if self.first:
            self.first.close()
        if self.segments:
            self.segments[-1].packed.close()
        with open(self.path, "ab") as file:  # gzip files one after the other are one gzip file
            if self.is_stopped:
                self.append_segments(file)
            if self.lines_out:
                why = "the disk is nearly full" if self.is_stopped else "a batch keeps its first and its last lines"
                packed = Packed(os.path.join(self.target, "log.note"))
                packed.write(note(f"{self.lines_out} lines ({self.bytes_out} bytes) are left out: {why}"))
                packed.close()
                append(file, packed.path)
            self.append_segments(file)

    def append_segments(self, file: IO[bytes]) -> None:
        """Move the segments to the end of a file."""
        while self.segments:
            append(file, self.segments.pop(0).path)


def append(file: IO[bytes], path: str) -> None:
    """Move the content of the file `path` to the end of another."""
    with open(path, "rb") as part:
        while piece := part.read(CHECK):
            file.write(piece)
    os.unlink(path)


class Spool:
    """The log of all batches of a run on this worker, to which others append as well."""

    def __init__(self, path: str, limit: int, note: Callable[..., bytes]) -> None:
        self.path, self.limit, self.note = path, limit, note
        self.file, self.unchecked = -1, CHECK

    def write(self, text: bytes) -> None:
        """Append whole lines, at once; raises Full."""
        if self.file < 0:
            self.open()
        self.unchecked += len(text)
        if self.unchecked >= CHECK:
            self.unchecked = 0
            self.check()
        os.write(self.file, text)

    def open(self) -> None:
        """Open the file; the one who makes it writes its first line, by which it is told from others."""
        if not os.path.exists(self.path):
            temporary = f"{self.path}.{os.getpid()}"
            first = self.note(f"the log of a run begins here ({os.urandom(8).hex()})", '"spool":"begin",')
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as file:
                file.write(first)
            try:
                os.link(temporary, self.path)
            except FileExistsError:
                pass
            finally:
                os.unlink(temporary)
        with open(self.path, "rb") as file:
            file.seek(max(0, os.stat(self.path).st_size - 4096))
            if b'"spool":"full"' in file.read():
                raise Full
        self.file = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def check(self) -> None:
        """Raise Full where the file, or its disk, holds no more; its last line says so."""
        why = ""
        if os.fstat(self.file).st_size >= self.limit:
            why = "the log of this run on this worker has reached its bound"
        elif not has_room(self.path):
            why = "the disk is nearly full"
        if why:
            os.write(self.file, self.note(f"{why}; what follows is in the batches' own logs", '"spool":"full",'))
            raise Full


class Log:
    """Takes what a program prints, and writes it everywhere."""

    def __init__(self, target: str, spool: str, fields: str, batch_limit: int, spool_limit: int) -> None:
        self.fields, self.target = fields, target
        self.batch = BatchLog(target, batch_limit)
        self.spool: Spool | None = Spool(spool, spool_limit, self.note)
        self.last: list[bytes] = []
        self.last_size = 0
        self.rest = {"stdout": b"", "stderr": b""}
        self.level: Callable[[str], str] | None = None
        self.second, self.stamp = -1, ""
        self.plain = create(os.path.join(target, "log"))  # at once: it must be there
        self.report_size = 0
        self.times = ""

    def head(self) -> str:
        """Return how each line begins that is read now."""
        now = time.time()
        if int(now) != self.second:
            self.second = int(now)
            self.stamp = time.strftime('{"timestamp":"%Y-%m-%dT%H:%M:%S.', time.gmtime(self.second))
        return f'{self.stamp}{int(now * 1000) % 1000:03}Z",{self.fields}'

    def note(self, text: str, more: str = "") -> bytes:
        """Return a line of this program's own, of plain text; `more` are fields of it."""
        return f'{self.head()},"stream":"fanrun",{more}"message":"{text}"}}\n'.encode()

    def take(self, stream: str, data: bytes) -> None:
        """Write what came from a stream; b"" is its end."""
        self.last.append(data)
        self.last_size += len(data)
        while self.last_size - len(self.last[0]) >= LAST:
            self.last_size -= len(self.last.pop(0))
        lines = (self.rest[stream] + data).split(b"\n")
        rest = lines.pop()
        pieces = [piece for line in lines for piece in cut(line, is_whole=True)]
        *more, (rest, _) = cut(rest, is_whole=False)
        if not data and rest:
            more, rest = [*more, (rest, True)], b""
        self.rest[stream] = rest
        if pieces or more:
            self.write(stream, [*pieces, *more])

    def write(self, stream: str, pieces: list[tuple[bytes, bool]]) -> None:
        """Write lines to all logs that still take them; those that are not whole go on in the next one."""
        from json.encoder import encode_basestring

        self.level = self.level or make_level()
        head = f'{self.head()},"stream":"{stream}",'
        made = []
        for piece, is_whole in pieces:
            message = piece.decode("utf-8", "replace")
            level = self.level(message)
            more = (f'"level":"{level}",' if level else "") + ("" if is_whole else '"partial":true,')
            made.append(f'{head}{more}"message":{encode_basestring(message)}}}\n')
        text = "".join(made).encode()
        try:
            self.batch.write(text, len(pieces))
        except OSError:
            self.batch.is_stopped = True
        try:
            if self.spool:
                self.spool.write(text)
        except (OSError, Full):
            self.spool = None

    def look(self) -> None:
        """Note it where the program's report has grown."""
        try:
            size = os.stat(os.path.join(self.target, "report.jsonl")).st_size
        except OSError:
            return
        if size != self.report_size:
            self.report_size = size
            self.times += f"{int(time.time() * 1000)} {size}\n"

    def end(self) -> None:
        """Finish all logs."""
        for stream in self.rest:
            self.take(stream, b"")
        try:
            with self.plain:
                self.plain.write(b"".join(self.last)[-LAST:])
            if self.level:
                self.look()
                with open(os.path.join(self.target, "times"), "w") as file:
                    file.write(self.times)
                self.batch.end(self.note)
        except OSError:  # the disk is full: what is there is what there is
            pass


def cut(line: bytes, *, is_whole: bool) -> list[tuple[bytes, bool]]:
    """Cut a line into pieces of at most LINE bytes, between characters; each with whether it ends the line."""
    pieces = []
    while len(line) > LINE:
        end = LINE
        while end > LINE - 3 and 0x80 <= line[end] < 0xC0:  # the middle of a character
            end -= 1
        pieces.append((line[:end], False))
        line = line[end:]
    return [*pieces, (line, is_whole)]


def run(argv: list[str], log: Log) -> int:
    """Run a program to its end, whatever becomes of the log; returns its exit code as a shell would."""
    pipes = {"stdout": os.pipe(), "stderr": os.pipe()}
    actions = [(os.POSIX_SPAWN_DUP2, pipes[name][1], number) for name, number in (("stdout", 1), ("stderr", 2))]
    try:
        child = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsigdef=[SIGPIPE, SIGXFSZ])
    except OSError as error:
        log.take("stderr", f"{argv[0]}: {error.strerror}\n".encode())
        return 127 if isinstance(error, FileNotFoundError) else 126
    for _, writer in pipes.values():
        os.close(writer)
    streams = {reader: name for name, (reader, _) in pipes.items()}
    is_logged = True
    while streams:
        ready = select.select(list(streams), [], [], TICK)[0]
        log.look()  # first: what is printed after a line of the report has a later time
        for reader in ready:
            data = os.read(reader, LINE)
            try:
                if is_logged and data:
                    log.take(streams[reader], data)
            except Exception as error:  # the program goes on
                is_logged = False
                print(f"the log ends: {error!r}", file=sys.stderr)
            if not data:
                del streams[reader]
    status = os.waitpid(child, 0)[1]
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def main() -> int:
    """Run the program of the command line; returns its exit code."""
    target, spool, fields, batch_limit, spool_limit, *argv = sys.argv[1:]
    log = Log(target, spool, fields, int(batch_limit), int(spool_limit))
    code = run(argv, log)
    log.end()
    return code
