"""When an input was processed, by the program's own report: which part of a batch's lines is about it."""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO

from fanrun.fanout.results.container_end import parse_report
from fanrun.fanout.results.joblog import ESCAPES
from fanrun.fanout.results.log_lines import Window
from fanrun.fanout.results.logs import REPORT, TIMES

SLACK = timedelta(milliseconds=110)
"""How much later a line of the report may be noticed than it was written."""
DELAY = timedelta(milliseconds=50)
"""How much later what a program prints may arrive than what it writes to its report: Docker passes it on."""
MAX_LINE = 1024 * 1024
"""Bytes of a line of the report; a longer one is none."""
MAX_TIME = 64
"""Bytes of a line that tells when a report grew."""


def find(run: Path, key: bytes) -> dict[str, list[Window] | None]:
    """Return the parts of batches in which an input was processed, by batch; None for a whole batch.

    `run` is the folder of a run in DST. A batch without a usable report counts as a whole.
    """
    found: dict[str, list[Window] | None] = {}
    for path in sorted((run / "logs").glob(f"*{REPORT}")):
        batch = path.name[: -len(REPORT)]
        if windows := list(_windows(path, path.with_name(f"{batch}{TIMES}"), key)):
            found[batch] = windows
    for batch in joblog_batches(run / "joblog.tsv", key):
        found.setdefault(batch, None)
    return found


def joblog_batches(joblog: Path, key: bytes) -> Iterator[str]:
    """Yield the batch in which an input was settled."""
    name = os.fsencode(os.fsdecode(key).translate(ESCAPES))
    with contextlib.suppress(FileNotFoundError), joblog.open("rb") as lines:
        for line in lines:
            fields = line.split(b"\t")
            if fields[0] == name and len(fields) > 2:
                yield os.fsdecode(fields[2])


def _windows(report: Path, times: Path, key: bytes) -> Iterator[Window]:
    """Yield when an input was processed, by a batch's report and the times at which it grew."""
    try:
        with gzip.open(report, "rb") as file, times.open("rb") as growth:
            end, grew = 0, _Growth(growth)
            while line := file.readline(MAX_LINE):
                end += len(line)
                found = parse_report(line).get(key)
                if found is None or found.seconds is None:
                    continue
                if time := grew.time_of(end):
                    until = datetime.fromtimestamp(time / 1000, timezone.utc)
                    yield Window(stamp(until - timedelta(seconds=found.seconds) - SLACK), stamp(until + DELAY))
    except (OSError, ValueError, OverflowError, EOFError, zlib.error):
        return


class _Growth:
    """The file that tells when a report grew; it may have any size, and is read line by line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._time, self._size = file, 0, 0

    def time_of(self, size: int) -> int:
        """Return when a report first had so many bytes, in ms since 1970, 0 if that is not told.

        The sizes that are asked for must rise. ValueError for a file of another form.
        """
        while self._size < size:
            if not (line := self._file.readline(MAX_TIME)):
                return 0
            time, grown = line.split()
            self._time, self._size = int(time), int(grown)
        return self._time


def stamp(time: datetime) -> str:
    """Write a time as logs have it."""
    return f"{time.astimezone(timezone.utc).isoformat(timespec='milliseconds')[:-6]}Z"
