"""Where log messages go: warnings to the terminal, all messages of a run to its run.log.

Every module writes with ``from loguru import logger``; only this one says where that goes.  The levels:

- DEBUG: one step of the work, for people who look for a fault.
- INFO: a fact that is of interest afterwards: what was asked for, the hosts, each failure, the summary.
- WARNING: something that a person should look at now; it is shown on the terminal, too.
- ERROR: what ended the run.  The terminal does not show it from here, as the task prints it as its last line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from loguru import logger

TERMINAL_FORMAT = "{level}: {message}"
FILE_FORMAT = "{time:YYYY-MM-DD HH:mm:ss.SSS Z} {level: <7} {message}"
CONTINUED = "\n  | "


def log_to_terminal(write: Callable[[str], None]) -> None:
    """Send warnings, and nothing else, to the function that prints lines on the terminal."""
    logger.remove()
    logger.add(write, level="WARNING", format=TERMINAL_FORMAT, filter=lambda record: record["level"].name == "WARNING")


class LogFile:
    """A file that the logger writes to; a full disk costs lines, but it does not end the run.

    `problem` says why lines are missing, "" if none are.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.problem = path, ""
        self._file = path.open("ab", buffering=0)

    def write(self, line: str) -> None:
        """Write a message; leave it out where there is no room for it.

        Its second line and those that follow are marked, so that what a program printed can't be taken for a message.
        """
        text = line.rstrip("\n").replace("\n", CONTINUED) + "\n"
        try:
            self._file.write(text.encode(errors="backslashreplace"))
        except OSError as error:
            self.problem = error.strerror or type(error).__name__

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextlib.contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Write messages of all levels to a file; warn at the end if some could not be written."""
    file = LogFile(path)
    sink = logger.add(file.write, level="DEBUG", format=FILE_FORMAT)
    try:
        yield
    finally:
        logger.remove(sink)
        file.close()
        if file.problem:
            logger.warning("{} lacks lines that could not be written ({})", file.path, file.problem)
