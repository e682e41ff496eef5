"""Long lines, which are written in pieces: put together again, and chosen as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fanrun.fanout.results.log_lines import OWN, Choice, Line

LONGEST = 16
"""Pieces of a line that are put together again; each has 64 KiB."""


class Pieces:
    """Puts the pieces of long lines together."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str], list[Line]] = {}

    def add(self, line: Line) -> list[list[Line]]:
        """Take a line, or a piece of one; return the lines that are whole with it."""
        if not line.is_partial and not self._open:
            return [[line]]
        whole = []
        if line.stream == OWN:  # it may say that lines are left out: what follows is no more of those before
            whole = [self._open.pop(key) for key in list(self._open) if key[:2] == (line.host, line.batch)]
        key = (line.host, line.batch, line.stream)
        pieces = self._open.setdefault(key, [])
        pieces.append(line)
        if not line.is_partial or len(pieces) >= LONGEST:
            whole.append(self._open.pop(key))
        return whole

    def end(self) -> list[list[Line]]:
        """Return the lines whose end is missing."""
        rest = list(self._open.values())
        self._open.clear()
        return rest


class Chooser:
    """Chooses lines: all pieces of a long line, or none."""

    def __init__(self, choice: Choice) -> None:
        self._choice, self._pieces = choice, Pieces()

    def choose(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield what is wanted; the pieces of a line that goes on are kept until the next call."""
        if not self._choice.is_of_whole_lines:
            yield from filter(self._choice.takes, lines)
            return
        for line in lines:
            for whole in self._pieces.add(line):
                yield from whole if self._choice.takes(*whole) else ()

    def end(self) -> Iterator[Line]:
        """Yield what is wanted of the lines whose end is missing."""
        for rest in self._pieces.end():
            yield from rest if self._choice.takes(*rest) else ()
