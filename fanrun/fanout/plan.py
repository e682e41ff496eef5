"""What a run is to do: the inputs under SRC, dealt to the workers."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fanrun.fleet.errors import UsageError

STATE = b".fanrun"
"""The folder in DST where a run keeps its own things; never an input, never a result."""

JUNK = (".DS_Store", "._*", "[Tt]humbs.db", "[Dd]esktop.ini", "*~", ".*.swp")
"""Names of files that file managers and editors leave; no inputs unless they are asked for."""

MAX_INPUTS = 2000
MAX_BYTES = 512 * 1024 * 1024
"""A batch's limits, of files and of bytes: what is pushed ahead of time takes the worker's disk."""
STAGE_CONCURRENCY = 2
"""Batches at once in each stage of a worker: while one waits for words to go to and fro, another uses the line."""
HANDLING = 64 * 1024
"""What an input costs besides its bytes, in bytes: a rough equal of its handling, so that small ones count too."""


class Input(NamedTuple):
    """A regular file under SRC, or a group of files that are processed as one.

    `key` is the path relative to SRC as raw bytes, `size` is in bytes.  A group has its files as `members`, sorted; its
    key is that of the first, its size that of all.  `stems` are paths that its results' names may continue besides
    those of its files: what the names of these have in common.
    """

    key: bytes
    size: int
    members: tuple[Input, ...] = ()
    stems: tuple[bytes, ...] = ()

    @property
    def files(self) -> tuple[Input, ...]:
        """The members of a group; of a file itself."""
        return self.members or (self,)


def folder_of(files: Iterable[Input]) -> bytes:
    """Return the folder that has all these files, itself or in folders of its own."""
    folders = {os.path.dirname(file.key) for file in files}
    return folders.pop() if len(folders) == 1 else os.path.commonpath(folders)


def count_files(inputs: Iterable[Input]) -> int:
    """Return how many files these inputs are, each member of a group being one."""
    return sum(len(item.members) or 1 for item in inputs)


@dataclass(frozen=True)
class Batch:
    """Some inputs that travel and are processed together; with `exclusive` no other container runs beside theirs."""

    name: str
    inputs: tuple[Input, ...]
    exclusive: bool = False

    @property
    def size(self) -> int:
        """Bytes of all its inputs."""
        return sum(item.size for item in self.inputs)

    @property
    def files(self) -> int:
        """The number of files that these inputs are."""
        return count_files(self.inputs)


def weight(item: Input) -> int:
    """What an input costs, in bytes: its own, and for the handling of each file."""
    return item.size + HANDLING * (len(item.members) or 1)


def within_bounds(inputs: Sequence[Input]) -> bool:
    """Whether so many inputs may be one batch."""
    return count_files(inputs) <= MAX_INPUTS and sum(item.size for item in inputs) <= MAX_BYTES


KeyTest = Callable[[bytes], bool]


@dataclass(frozen=True)
class InputFilter:
    """Which keys are inputs: those that are `included`, and neither `excluded` nor `junk`."""

    included: KeyTest = lambda key: True
    excluded: KeyTest = lambda key: False
    junk: KeyTest = lambda key: False

    def chooses(self, key: bytes) -> bool:
        """Whether the person asked for the file of that key, junk or not."""
        return self.included(key) and not self.excluded(key)

    def takes(self, key: bytes) -> bool:
        """Whether the file of that key is an input."""
        return self.chooses(key) and not self.junk(key)


class Skipped(NamedTuple):
    """How many links to folders were not followed, and how many files are junk."""

    links: int = 0
    junk: int = 0


def chooser(include: Sequence[str], exclude: Sequence[str], *, junk: bool = False) -> InputFilter:
    """The choice that globs make: some `include` matches (or there is none), no `exclude` does, and none of JUNK.

    A glob with a "/" is matched against the whole key, one without against the file's name.  With `junk` JUNK is taken.
    """

    def matcher(patterns: Sequence[str]) -> KeyTest:
        whole = [re.compile(fnmatch.translate(p.lstrip("/"))).match for p in patterns if "/" in p]
        last = [re.compile(fnmatch.translate(p)).match for p in patterns if "/" not in p]

        def matches(key: bytes) -> bool:
            text = os.fsdecode(key)
            name = text.rpartition("/")[2]
            return any(test(text) for test in whole) or any(test(name) for test in last)

        return matches

    included = matcher(include) if include else InputFilter.included
    return InputFilter(included, matcher(exclude), InputFilter.junk if junk else matcher(JUNK))


def walk(src: str, choice: InputFilter = InputFilter()) -> tuple[list[Input], Skipped]:
    """The chosen inputs under SRC, sorted by key, and what was skipped.

    A link to a file counts as the file, also where the file is missing: then the input fails.  Folders are entered,
    links to folders are not.  Raises UsageError naming a folder that can't be read.
    """
    top = os.fsencode(src)
    inputs: list[Input] = []
    links = junk = 0
    waiting = [b""]
    while waiting:
        for key, kind, size in _entries(top, waiting.pop(), choice):
            if kind == "folder":
                waiting.append(key + b"/")
            elif kind == "file" and choice.takes(key):
                inputs.append(Input(key, size))
            elif kind == "file" and choice.chooses(key):
                junk += 1
            links += kind == "link"
    inputs.sort()
    return inputs, Skipped(links, junk)


def _entries(top: bytes, prefix: bytes, choice: InputFilter) -> list[tuple[bytes, str, int]]:
    """Return (key, kind, size in bytes) of each entry of a folder, without Fanrun's own state.

    A folder that is excluded need not be readable; UsageError for another one that is not.
    """
    folder = os.path.join(top, prefix)
    try:
        with os.scandir(folder) as entries:
            return [(prefix + entry.name, *_kind_and_size(entry)) for entry in entries if prefix + entry.name != STATE]
    except OSError as error:
        if prefix and choice.excluded(prefix + b"*"):
            return []
        name = os.fsdecode(folder)
        raise UsageError(f"{name!r} can't be read ({error.strerror}); mend it or --exclude '…/*'") from error


def _kind_and_size(entry: os.DirEntry[bytes]) -> tuple[str, int]:
    """What an entry of a folder is ("file", "folder", "link" to a folder, "" for the rest), and its size in bytes.

    A link that leads nowhere is a file, of which the run finds that it can't be read.
    """
    if entry.is_dir(follow_symlinks=False):
        return "folder", 0
    try:
        if entry.is_file():
            return "file", entry.stat().st_size
        if entry.is_dir():
            return "link", 0
        is_broken = entry.is_symlink() and not os.path.exists(entry.path)
    except OSError:  # a link that leads to itself or where one may not go, or a file that has just gone
        is_broken = entry.is_symlink()
    return ("file" if is_broken else ""), 0


def unreadable(path: bytes, error: OSError) -> str:
    """Return why an input can't be read; of a link also where it leads."""
    if os.path.islink(path):
        return f"it is a link to {os.fsdecode(os.readlink(path))}, which can't be read ({error.strerror})"
    return f"it can't be read in SRC ({error.strerror})"


def unreadable_input(src: bytes, item: Input, error: OSError) -> str:
    """Return why an input can't be read, by the error that was raised; of a group also which of its files."""
    path = os.fsencode(error.filename) if error.filename else os.path.join(src, item.key)
    name = f"{os.fsdecode(os.path.relpath(path, src))} of its group: " if item.members else ""
    return name + unreadable(path, error)


def deal(
    inputs: Sequence[Input], workers: Sequence[str], holders: Mapping[bytes, Sequence[str]] | None = None
) -> dict[str, list[Input]]:
    """Deal inputs round robin: input i goes to worker i modulo their number.

    `holders` has the workers that have an input in their cache, by its key.  Such an input goes to the holder with the
    least weight so far; only the other inputs are dealt round robin.
    """
    shares: dict[str, list[Input]] = {name: [] for name in workers}
    weights = dict.fromkeys(workers, 0)
    turns = itertools.cycle(workers)
    for item in inputs:
        names = [name for name in (holders or {}).get(item.key, ()) if name in shares]
        name = min(names, key=weights.__getitem__) if names else next(turns)
        shares[name].append(item)
        weights[name] += weight(item)
    return shares
