"""Printing lines of logs: for a person, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

from fanrun.fanout.results.log_lines import FIELDS, Line, joined
from fanrun.fanout.results.log_pieces import Pieces


class Printer:
    """Prints lines: for a person the time, the batch and the message, or each JSON object."""

    def __init__(self, write: Callable[[str], object], *, as_json: bool) -> None:
        self._write, self._as_json = write, as_json
        self._pieces = Pieces()
        self.count = 0

    def show(self, line: Line) -> None:
        """Print a line, or keep a piece of one until its end is there."""
        self.count += 1
        if self._as_json:
            # Without where it was shipped from.
            record = {name: line.record[name] for name in FIELDS if name in line.record}
            self._write(printable_json(json.dumps(record, ensure_ascii=False)))
            return
        for pieces in self._pieces.add(line):
            self._print(pieces)

    def end(self) -> None:
        """Print the lines whose end is missing."""
        for pieces in self._pieces.end():
            self._print(pieces)

    def _print(self, pieces: list[Line]) -> None:
        first = pieces[0]
        message = joined(pieces).removesuffix("\r")
        self._write(printable(f"{first.time} {first.batch or first.host} | {message}"))


def printable(text: str) -> str:
    """Escape what would change a terminal: control characters but tabs."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else ascii(char)[1:-1] for char in text)


def printable_json(text: str) -> str:
    """Escape in a JSON text what would change a terminal: it means the same."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
