"""Which lines were not there before: those of a worker's log come from the worker, from the hub, and home."""

from __future__ import annotations

import bisect
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from fanrun.fanout.results.log_lines import Line, Source

MAX_SAME = 16
"""Different lines that are remembered of one place in a log. All but one are forged, and there is no end of them."""


@dataclass(frozen=True)
class Mark:
    """A line that is known: its place in the worker's log, and the hash of what it says."""

    offset: int
    check: int


def check_of(line: Line) -> int:
    """Return the hash of what a line says; it is the same wherever the line is read."""
    return hash((line.batch, line.stream, line.message))


@dataclass
class _Places:
    """The places and hashes of lines, sorted by place."""

    offsets: array[int] = field(default_factory=lambda: array("q"))
    checks: array[int] = field(default_factory=lambda: array("q"))

    def add(self, offset: int, check: int) -> bool:
        """Add a line; returns False if it is there already.

        Most are behind all others. One before them may be new: a hub whose disk was full for a moment has torn one
        line and written the next ones, and gets all of them again.
        """
        offsets, checks = self.offsets, self.checks
        place = len(offsets) if not offsets or offset > offsets[-1] else bisect.bisect_left(offsets, offset)
        end = place
        while end < len(offsets) and offsets[end] == offset:
            if checks[end] == check:
                return False
            end += 1
        if end - place < MAX_SAME:
            offsets.insert(end, offset)
            checks.insert(end, check)
        return True


class Fresh:
    """Tells lines that were not there before, of batches that are not home; for the log of one worker."""

    def __init__(self, home: Collection[str]) -> None:
        self._home = home
        self._places = _Places()
        self._begun: set[int] = set()

    def takes(self, line: Line, offset: int = -1) -> bool:
        """Return whether a line is new; it is not if the same one stood at this place of the worker's log before.

        A line that says something else at the same place is another: whoever sends it may not be that worker.
        """
        check, is_first = check_of(line), line.record.get("spool") == "begin"
        if offset >= 0:
            if is_first and check not in self._begun:  # another log in the place of the one before
                self._begun.add(check)
                self._places = _Places()
            if not self._places.add(offset, check):
                return False
        return not is_first and line.batch not in self._home

    @property
    def last(self) -> Mark | None:
        """The known line with the highest place."""
        offsets, checks = self._places.offsets, self._places.checks
        return Mark(offsets[-1], checks[-1]) if offsets else None

    @property
    def has_start(self) -> bool:
        """Whether the first line of the log is known."""
        return self._places.offsets[:1] == array("q", [0])


class Shown:
    """Remembers lines that were shown, so that they are not shown again from the files of their batches."""

    def __init__(self) -> None:
        self._of_batches: dict[str, array[int]] = {}

    def noted(self, source: Source) -> Source:
        """Return a source that remembers its lines as they are read."""

        def lines() -> Iterator[Line]:
            for line in source.open():
                self._of_batches.setdefault(line.batch, array("q")).append(_hash(line))
                yield line

        return Source(source.start, lines)

    def without(self, source: Source) -> Source:
        """Return a source of one batch without the lines that were shown; of equal ones so many less as were shown."""

        def lines() -> Iterator[Line]:
            left: Counter[int] | None = None
            for line in source.open():
                left = Counter(self._of_batches.get(line.batch, ())) if left is None else left
                key = _hash(line)
                left[key] -= 1
                if left[key] < 0:
                    yield line

        return Source(source.start, lines)


def _hash(line: Line) -> int:
    return hash((line.time, line.stream, line.message))
