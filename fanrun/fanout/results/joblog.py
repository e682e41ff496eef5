"""The joblog: a line of tab-separated values an input, much as GNU parallel writes it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fanrun.fleet.errors import RunUnfinished

HEADER = b"Input\tHost\tBatch\tStarttime\tJobRuntime\tSend\tReceive\tAttempts\tExitval\tHash\n"
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class Entry:
    """What became of an input: where and when (seconds since 1970), for how many seconds, in the `tries`-th try.

    `sent` and `received` are the bytes of the input and of its results; `code` is the exit code of
    the program over its batch, or 1 for an input that failed in a batch that ended well; `hashes` are those
    of its results, none if it failed.
    """

    key: bytes
    worker: str
    batch: str
    started: float
    seconds: float
    sent: int
    received: int
    tries: int
    code: int
    hashes: tuple[str, ...] = ()

    def line(self) -> bytes:
        """The entry as a line; tabs, line ends and backslashes of the key are escaped with a backslash."""
        name = os.fsdecode(self.key).translate(ESCAPES)
        fields = [
            name,
            self.worker,
            self.batch,
            f"{self.started:.3f}",
            f"{self.seconds:.3f}",
            str(self.sent),
            str(self.received),
            str(self.tries),
            str(self.code),
            ",".join(self.hashes) or "-",
        ]
        return os.fsencode("\t".join(fields)) + b"\n"


class Joblog:
    """The file, written as inputs are settled; safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._file = path.open("ab")
        self._file.write(HEADER)

    def add(self, entries: Iterable[Entry]) -> None:
        """Write lines, all at once."""
        text = b"".join(entry.line() for entry in entries)
        with self._lock, self._writing():
            self._file.write(text)
            self._file.flush()

    def close(self) -> None:
        """Let the file go."""
        with self._writing():
            self._file.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of the file into RunUnfinished."""
        try:
            yield
        except OSError as error:
            raise RunUnfinished(f"{self._path} can't be written ({error.strerror}); make room there") from error
