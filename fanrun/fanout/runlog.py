"""run.log: what is logged of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from loguru import logger


class RunLog:
    """The file, to which the logger writes; it spoils no run that it can't be written.

    `problem` says why lines are missing, "" if none are.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.problem = path, ""
        self._file = path.open("ab", buffering=0)

    def write(self, line: str) -> None:
        """Write a line; one that there is no room for is left out."""
        try:
            self._file.write(line.encode(errors="backslashreplace"))
        except OSError as error:
            self.problem = error.strerror or type(error).__name__

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Write what is logged to a file; warn at the end if some lines could not be written."""
    lines = RunLog(path)
    log = logger.add(lines.write, level="DEBUG")
    try:
        yield
    finally:
        logger.remove(log)
        lines.close()
        if lines.problem:
            logger.warning("{} lacks lines that could not be written ({})", lines.path, lines.problem)
