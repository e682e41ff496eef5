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
if TYPE_CHECKING or __package__:
    from fanrun.fanout.worker_files.log_files import LINE, BatchLog, create, cut, write_if_room
    from fanrun.fanout.worker_files.log_spool import Full, Spool
else:  # they lie beside this file on a worker
    from log_files import LINE, BatchLog, create, cut, write_if_room
    from log_spool import Full, Spool

LAST = 64 * 1024  # bytes of the plain log
TICK = 0.1  # seconds between two looks at the report
PAUSE = 0.01  # seconds to wait after little was read: to wake up for each line costs more than to write it
LITTLE = 4096  # bytes
LINGER = 1.0  # seconds for which a program that has ended is read from, if others still write to its output
SIGPIPE, SIGXFSZ = 13, 25  # the module signal costs milliseconds; Python ignores these two
LEVELS = {
    "TRACE": "trace",
    "DEBUG": "debug",
    "INFO": "info",
    "NOTICE": "info",
    "NOTE": "info",
    "WARN": "warning",
    "WARNING": "warning",
    "ERR": "error",
    "ERROR": "error",
    "CRITICAL": "critical",
    "FATAL": "critical",
    "FATAL ERROR": "critical",
    "PANIC": "critical",
}
WORDS = ("INFO", "ERR", "WARN", "DEBUG", "NOT", "FATAL", "CRITICAL", "TRACE", "PANIC")  # one of them is in each level


def make_level() -> Callable[[str], str]:
    """Return the function that finds the level of a message, "" if it names none."""
    import re

    word = "|".join(LEVELS)
    edge = r"\s\[\](){}<>|\"'=:,;*"
    capital = re.compile(rf"(?<![^{edge}])({word})(?=$|[{edge}.-])").search
    key = re.compile(rf"(?:level|lvl|severity|levelname)[\"']?\s*[=:]\s*[\"']?({word})\b", re.IGNORECASE).search
    start = re.compile(rf"(?:\S+: )?\W?({word})\W?:", re.IGNORECASE).match
    bracket = re.compile(rf"\[({word})\]", re.IGNORECASE).search

    def level(message: str) -> str:
        head = message[:200]
        upper = head.upper()
        for part in WORDS:  # faster than to search for what most messages don't have
            if part in upper:
                break
        else:
            return ""
        has_key = "LEVEL" in upper or "LVL" in upper or "SEVERITY" in upper
        found = (has_key and key(head)) or capital(head) or start(head) or bracket(head)
        return LEVELS[found[1].upper()] if found else ""

    return level


class Log:
    """Takes what a program prints, and writes it everywhere."""

    def __init__(self, target: str, fields: str, batch: BatchLog) -> None:
        self.fields, self.target, self.batch = fields, target, batch
        self.spool: Spool | None = None
        self.last: list[bytes] = []
        self.last_size = 0
        self.rest = {"stdout": b"", "stderr": b""}
        self.level: Callable[[str], str] | None = None
        self.second, self.stamp, self.now = -1, "", 0.0
        self.plain = create(os.path.join(target, "log"))  # at once: it must be there
        self.report_size = 0
        self.times: list[str] = []

    def head(self) -> str:
        """Return how each line begins that is read now."""
        now = time.time()
        if 0 < self.now - now < 1:  # a clock that is set back a little must not put lines out of order
            now = self.now
        self.now = now
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
        self.batch.write(text, len(pieces))
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
            self.times.append(f"{int(time.time() * 1000)} {size}\n")

    def end(self) -> None:
        """Finish all logs. Where the disk is full, what is there is what there is."""
        for stream in self.rest:
            self.take(stream, b"")
        write_if_room(self.plain, b"".join(self.last)[-LAST:])
        if not self.level:  # nothing was printed
            return
        self.look()
        try:
            self.batch.end(self.note)
            with open(os.path.join(self.target, "times"), "w") as file:
                file.write("".join(self.times))
        except OSError:
            pass  # the disk is full


def start(argv: list[str]) -> tuple[int, dict[int, str]]:
    """Start a program; returns its process id and, for each pipe to read from, the name of its stream."""
    pipes = {"stdout": os.pipe(), "stderr": os.pipe()}
    actions = [(os.POSIX_SPAWN_DUP2, pipes[name][1], number) for name, number in (("stdout", 1), ("stderr", 2))]
    child = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsigdef=[SIGPIPE, SIGXFSZ])
    for _, writer in pipes.values():
        os.close(writer)
    return child, {reader: name for name, (reader, _) in pipes.items()}


def ended(child: int) -> int | None:
    """Return the exit code of a program as a shell would, None while it runs."""
    found, status = os.waitpid(child, os.WNOHANG)
    if not found:
        return None
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def run(argv: list[str], log: Log) -> int:
    """Run a program to its end, whatever becomes of the log; returns its exit code as a shell would."""
    try:
        child, streams = start(argv)
    except OSError as error:
        log.take("stderr", f"{argv[0]}: {error.strerror}\n".encode())
        return 127 if isinstance(error, FileNotFoundError) else 126
    code, last = None, float("inf")
    while streams:
        ready = select.select(list(streams), [], [], TICK)[0]
        log.look()
        size = read(ready, streams, log)
        if code is not None and (not ready or time.monotonic() > last):
            break  # something that the program has left behind keeps its output open
        if code is None and (code := ended(child)) is not None:
            last = time.monotonic() + LINGER
        if code is None and 0 < size < LITTLE:
            time.sleep(PAUSE)
    pause = 0.001
    while code is None and (code := ended(child)) is None:  # it has closed its output
        time.sleep(pause)
        pause = min(2 * pause, TICK / 10)
        log.look()
    return code


def read(ready: list[int], streams: dict[int, str], log: Log) -> int:
    """Read from streams that have something, and forget those that have ended; returns how many bytes came."""
    size = 0
    for reader in ready:
        data = os.read(reader, LINE)
        size += len(data)
        if data:
            guard(log.take, streams[reader], data)
        else:
            del streams[reader]
    return size


def guard(write: Callable[..., None], *arguments: str | bytes) -> None:
    """Do something for the log; if it fails, the program goes on, and its exit code counts."""
    try:
        write(*arguments)
    except Exception as error:
        write_if_room(2, f"the log of this batch has a gap: {error!r}\n".encode())


def main() -> int:
    """Run the program of the command line; returns its exit code."""
    target, spool, fields, batch_limit, spool_limit, *argv = sys.argv[1:]
    log = Log(target, fields, BatchLog(target, int(batch_limit)))
    log.spool = Spool(spool, int(spool_limit), log.note)
    code = run(argv, log)
    guard(log.end)
    return code
