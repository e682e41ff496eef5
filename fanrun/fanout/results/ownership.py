"""Which input each path in DST belongs to: no result takes the place of another input's."""

from __future__ import annotations

import functools
import os
import secrets
import threading
import unicodedata
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fanrun.fanout.plan import Input
from fanrun.fanout.results.names import LONGEST_WINS, Layout, Names

Fold = Callable[[bytes], bytes]


def exactly(path: bytes) -> bytes:
    """Return the path as it is: for a file system that tells all names apart."""
    return path


def fold_of(folder: Path) -> Fold:
    """Return a function that returns the same path for all paths that the file system of the folder treats as one.

    Makes a file in the folder to find out, and removes it.  Raises OSError if no file can be made there.
    """
    name = f".probe-{secrets.token_hex(4)}-\u00e9"
    made = folder / name
    made.touch()
    try:
        ignores_case = (folder / name.upper()).exists()
        composes = (folder / unicodedata.normalize("NFD", name)).exists()
    finally:
        made.unlink()
    if not (ignores_case or composes):
        return exactly

    def fold(path: bytes) -> bytes:
        text = os.fsdecode(path)
        text = unicodedata.normalize("NFC", text) if composes else text
        return os.fsencode(text.casefold() if ignores_case else text)

    return fold


class RunInputs(NamedTuple):
    """The keys of a run's inputs, those to do and those `kept` from earlier runs; the ledger's (path, key) of results.

    The ledger may also have results of inputs that are not in this run.  `groups` are those inputs that are groups.
    """

    todo: Collection[bytes]
    kept: Collection[bytes] = ()
    recorded: Sequence[tuple[bytes, bytes]] = ()
    groups: Mapping[bytes, Input] = {}


class Ownership:
    """Which input owns each result path in one run.  Hold `lock` from the question to `take`."""

    def __init__(
        self,
        inputs: RunInputs,
        is_settled: Callable[[bytes], bool],
        is_there: Callable[[bytes], bool],
        fold: Fold = exactly,
        expected: Callable[[bytes], Collection[bytes]] | None = None,
    ) -> None:
        """`is_there` tells whether a file has that key in SRC.

        `expected` returns the paths of an input's results; None if these are only known by their names.
        """
        self.lock = threading.RLock()
        self._todo, self._kept, self._fold = frozenset(inputs.todo), frozenset(inputs.kept), fold
        self._groups = inputs.groups
        recorded = sorted(inputs.recorded, key=lambda item: item[1] in self._kept)
        self._recorded = {fold(path): key for path, key in recorded}
        self._is_settled, self._is_there, self._expected = is_settled, is_there, expected
        self._taken: dict[bytes, bytes] = {}
        self._order = deque(sorted(self._todo))

    @functools.cached_property
    def _names(self) -> Names:
        return Names(sorted(self._todo | self._kept), self._fold, Layout(groups=self._groups))

    @functools.cached_property
    def folders(self) -> frozenset[bytes]:
        """The folders of all inputs."""
        files = (file.key for item in self._groups.values() for file in item.files)
        return frozenset(os.path.dirname(key) for keys in (self._todo, self._kept, files) for key in keys)

    @functools.cached_property
    def _claimants(self) -> dict[bytes, list[bytes]]:
        """The inputs that are expected to have each path."""
        found: dict[bytes, list[bytes]] = {}
        for key in sorted(self._todo | self._kept):
            for path in self._expected(key) if self._expected else ():
                found.setdefault(self._fold(path), []).append(key)
        return found

    def take(self, key: bytes, paths: Iterable[bytes]) -> None:
        """Note that these results are the input's."""
        for path in paths:
            self._taken[self._fold(path)] = key

    def refusal(self, key: bytes, paths: Iterable[bytes]) -> str:
        """Return why an input may not have these results, with the name of the one that does; "" if it may."""
        for path in paths:
            owner = self._owner(path)
            if owner is not None and owner != key:
                return (
                    f"its result {os.fsdecode(path)} has the same path as that of {os.fsdecode(owner)}, which keeps it"
                )
        return ""

    def waits_for(self, key: bytes, paths: Iterable[bytes]) -> set[bytes]:
        """Return the unsettled inputs that would own some of these paths in place of this input."""
        return {
            rival
            for path in paths
            for rival in self._rivals(key, path)
            if rival in self._todo and not self._is_settled(rival)
        }

    def _owner(self, path: bytes) -> bytes | None:
        folded = self._fold(path)
        if folded in self._taken:
            return self._taken[folded]
        owner = self._recorded.get(folded)
        if owner is None or owner in self._todo:  # of those, one that is settled and did not take it has given it up
            return None
        return owner if owner in self._kept or self._is_there(owner) else None

    def _rivals(self, key: bytes, path: bytes) -> Iterator[bytes]:
        """Yield the inputs that come before this one as owners of the path.

        These are its recorded owner, the inputs that it fits better, and of equal fits those with an earlier key.  A
        path that fits nothing here, which only a report can name, may be named for any earlier input as well: the first
        one that is not settled stands for them.
        """
        owner = self._recorded.get(self._fold(path))
        if owner is not None:
            if owner == key:
                return
            yield owner
        if self._expected:
            yield from (each for each in self._claimants.get(self._fold(path), ()) if each < key)
            return
        if path == key and self._fold is exactly:
            return
        for fit, keys in self._names.fits(path):
            if key not in keys:
                yield from keys
                continue
            yield from keys[: keys.index(key)] if fit in LONGEST_WINS else [each for each in keys if each < key]
            return
        while self._order and self._is_settled(self._order[0]):
            self._order.popleft()
        if self._order and self._order[0] < key:
            yield self._order[0]
