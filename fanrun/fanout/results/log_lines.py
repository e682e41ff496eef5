"""Lines of logs: read from files, put in the order of their time, and chosen."""

from __future__ import annotations

import gzip
import heapq
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanrun.fanout.results.logs import LINES

LEVELS = ("trace", "debug", "info", "warning", "error", "critical")
OWN = "fanrun"
"""The stream of the log's own remarks, as that lines are left out."""
TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|\+00:00)")
FIELDS = ("timestamp", "fleet", "run", "host", "batch", "stream", "level", "partial", "spool", "service", "message")
"""What a line's JSON object has, in this order."""
MAX_LINE = 1024 * 1024
"""Bytes of the longest line that a log can have; a longer one is none of ours."""


@dataclass(frozen=True)
class Line:
    """A line that a container wrote; `time` is RFC 3339 in UTC with milliseconds, `record` the whole JSON object."""

    time: str
    host: str
    batch: str
    stream: str
    message: str
    level: str = ""
    is_partial: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)


def parse(text: bytes) -> Line | None:
    """Read a line of a log; None for one that was torn or is no line of ours."""
    try:
        record = json.loads(text)
        names = ("timestamp", "host", "batch", "stream", "message")
        # The first line of a log, and what Fanrun itself says there, may have no batch.
        values = [record.get(name, "") if name == "batch" else record[name] for name in names]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        return None
    time, host, batch, stream, message = values
    level, is_partial = str(record.get("level", "")), record.get("partial") is True
    record["timestamp"] = normal_time(time)
    return Line(record["timestamp"], host, batch, stream, message, level, is_partial, record)


def is_torn(text: bytes) -> bool:
    """Return whether a line is no JSON object: where a disk was full for a moment it was not written to its end."""
    try:
        return not isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return bool(text.strip())


def after_torn(text: bytes) -> bytes:
    """Return the line that follows a torn one without a line break, b"" if none does.

    A hub that is killed while it writes a line goes on behind what it has written.  In a message every quote has a
    backslash before it, so none looks like the beginning of an object.
    """
    starts = [found.start() for found in re.finditer(rb'\{"', text)]
    return next((text[start:] for start in reversed(starts[-3:]) if parse(text[start:])), b"")


def normal_time(text: str) -> str:
    """Return a time in RFC 3339 with milliseconds: what was shipped may have more digits, or none."""
    found = TIME.fullmatch(text)
    return f"{found[1]}.{(found[2] or '')[:3]:0<3}Z" if found else text


def read(path: Path, note: Callable[[str], object]) -> Iterator[Line]:
    """Yield the lines of a file that came home, as far as it can be read; `note` gets why it goes no further."""
    try:
        with gzip.open(path, "rb") as file:
            while text := file.readline(MAX_LINE):
                if len(text) == MAX_LINE:
                    note(f"{path} has a line that no container wrote; what follows is not shown")
                    return
                if line := parse(text):
                    yield line
    except (EOFError, zlib.error, gzip.BadGzipFile):
        note(f"{path} is damaged; what follows is missing")
    except OSError as error:
        note(f"{path} can't be read ({error.strerror})")


def home_batches(folder: Path) -> dict[str, Path]:
    """Return the files with the lines that are home, by the name of their batch."""
    return {path.name[: -len(LINES)]: path for path in sorted(folder.glob(f"*{LINES}"))}


@dataclass(frozen=True)
class Source:
    """Where lines are: `start` is the time of the first one, `open` yields them all."""

    start: str
    open: Callable[[], Iterator[Line]]


def file_source(path: Path, note: Callable[[str], object]) -> Source | None:
    """Return the source for a file that came home; None if it has no line. `note` gets why it goes no further."""
    lines = read(path, note)
    start = next((line.time for line in lines), None)
    return None if start is None else Source(start, lambda: read(path, note))


def merge(sources: Iterable[Source]) -> Iterator[Line]:
    """Yield the lines of all sources by their time; those of one source stay in their order.

    A source is opened when its first line is due, so few are open at once.
    """
    waiting = sorted(enumerate(sources), key=lambda pair: pair[1].start, reverse=True)
    del sources  # a source may hold lines, which would stay to the end
    heap: list[tuple[str, int, Line, Iterator[Line]]] = []

    def push(lines: Iterator[Line], number: int, least: str) -> None:
        if (line := next(lines, None)) is not None:  # a clock may have been set back: the order counts
            heapq.heappush(heap, (max(line.time, least), number, line, lines))

    while heap or waiting:
        while waiting and (not heap or waiting[-1][1].start <= heap[0][0]):
            number, source = waiting.pop()
            push(source.open(), number, "")
        if heap:
            time, number, line, lines = heapq.heappop(heap)
            yield line
            push(lines, number, time)


@dataclass(frozen=True)
class Window:
    """A part of a batch: from one time to another, both RFC 3339 in UTC with milliseconds."""

    start: str
    end: str


@dataclass(frozen=True)
class Choice:
    """Which lines are wanted; None and "" mean all. `windows` are the parts of batches, None for the whole batch."""

    host: str = ""
    batch: str = ""
    level: str = ""
    since: str = ""
    pattern: re.Pattern[str] | None = None
    windows: Mapping[str, Sequence[Window] | None] | None = None

    @property
    def is_of_whole_lines(self) -> bool:
        """Whether something is asked that the pieces of one line may answer differently."""
        return bool(self.level or self.since or self.pattern) or self.windows is not None

    def takes(self, line: Line, *more: Line) -> bool:
        """Return whether a line is wanted; `more` are its pieces but the first."""
        if self.host not in ("", line.host) or self.batch not in ("", line.batch) or line.time < self.since:
            return False
        if self.level and not reaches(line.level, self.level):
            return False
        if self.windows is not None and not any(map(self._is_inside, (line, *more))):
            return False
        return self.pattern is None or self.pattern.search(joined([line, *more])) is not None

    def _is_inside(self, line: Line) -> bool:
        parts = (self.windows or {}).get(line.batch, ())
        return parts is None or any(part.start <= line.time <= part.end for part in parts)

    def may_have(self, batch: str) -> bool:
        """Return whether wanted lines may be in a batch; its name begins with that of its host."""
        if self.batch not in ("", batch) or (self.windows is not None and batch not in self.windows):
            return False
        return self.host in ("", batch.rpartition(".")[0])


def reaches(level: str, least: str) -> bool:
    """Return whether a level is at least another; a line without one is none."""
    return level in LEVELS and LEVELS.index(level) >= LEVELS.index(least)


def joined(pieces: Sequence[Line]) -> str:
    """Return the message of a line in pieces."""
    return pieces[0].message if len(pieces) == 1 else "".join(piece.message for piece in pieces)
