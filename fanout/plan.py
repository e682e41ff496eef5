"""What a run is to do: the inputs under SRC, dealt round robin to the workers, cut into batches."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from provision.errors import UsageError

STATE = b".fanrun"
"""The folder in DST where a run keeps its own things; never an input, never a result."""

LEAST_INPUTS = 600
MOST_INPUTS = 2000
MOST_BYTES = 512 * 1024 * 1024
SHARES = 20


class Input(NamedTuple):
    """A regular file under SRC: its key, the path relative to SRC as raw bytes, and its size in bytes."""

    key: bytes
    size: int


@dataclass(frozen=True)
class Batch:
    """Some inputs that travel and are processed together."""

    name: str
    inputs: tuple[Input, ...]

    @property
    def size(self) -> int:
        """Bytes of all its inputs."""
        return sum(item.size for item in self.inputs)

    def split(self) -> tuple[Batch, Batch]:
        """Its two halves, for finding the input that spoils it; needs two inputs at least."""
        middle = len(self.inputs) // 2
        stem = self.name.replace("~", "-")
        return Batch(f"{stem}a", self.inputs[:middle]), Batch(f"{stem}b", self.inputs[middle:])


Test = Callable[[bytes], bool]


@dataclass(frozen=True)
class Choice:
    """Which keys are inputs: those that are `included` and not `excluded`."""

    included: Test = lambda key: True
    excluded: Test = lambda key: False

    def takes(self, key: bytes) -> bool:
        """Whether the file of that key is an input."""
        return self.included(key) and not self.excluded(key)


def chooser(include: Sequence[str], exclude: Sequence[str]) -> Choice:
    """The choice that globs make: some `include` matches (or there is none), no `exclude` does.

    A glob with a "/" is matched against the whole key, one without against the file's name.
    """

    def matcher(patterns: Sequence[str]) -> Test:
        whole = [re.compile(fnmatch.translate(p.lstrip("/"))).match for p in patterns if "/" in p]
        last = [re.compile(fnmatch.translate(p)).match for p in patterns if "/" not in p]

        def matches(key: bytes) -> bool:
            text = os.fsdecode(key)
            name = text.rpartition("/")[2]
            return any(test(text) for test in whole) or any(test(name) for test in last)

        return matches

    return Choice(matcher(include) if include else Choice.included, matcher(exclude))


def walk(src: str, choice: Choice = Choice()) -> tuple[list[Input], int]:
    """The chosen inputs under SRC, sorted by key, and how many links to folders were not followed.

    A link to a file counts as the file; folders are entered, links to folders are not, broken
    links are nothing.  Raises UsageError naming a folder that can't be read.
    """
    top = os.fsencode(src)
    inputs: list[Input] = []
    links = 0
    waiting = [b""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(os.path.join(top, prefix)) as entries:
                for entry in entries:
                    key = prefix + entry.name
                    kind, size = _look(entry)
                    if key == STATE:
                        continue
                    if kind == "folder":
                        waiting.append(key + b"/")
                    elif kind == "file" and choice.takes(key):
                        inputs.append(Input(key, size))
                    links += kind == "link"
        except OSError as error:
            if prefix and choice.excluded(prefix + b"*"):
                continue
            name = os.path.join(src, os.fsdecode(prefix))
            raise UsageError(f"{name!r} can't be read ({error.strerror}); mend it or --exclude '…/*'") from error
    inputs.sort()
    return inputs, links


def _look(entry: os.DirEntry[bytes]) -> tuple[str, int]:
    """What an entry of a folder is ("file", "folder", "link" to a folder, "" for the rest), and its size in bytes."""
    if entry.is_dir(follow_symlinks=False):
        return "folder", 0
    try:
        if entry.is_file():
            return "file", entry.stat().st_size
        return ("link" if entry.is_dir() else ""), 0
    except OSError:  # a link that leads to itself, or a file that has just gone
        return "", 0


def deal(inputs: Sequence[Input], workers: Sequence[str]) -> dict[str, list[Input]]:
    """Round robin, as cards: input i goes to worker i modulo their number."""
    return {name: list(inputs[place :: len(workers)]) for place, name in enumerate(workers)}


def batches(worker: str, share: Sequence[Input]) -> list[Batch]:
    """Cut a worker's share into batches, in its order.

    A batch costs a container's start (some tenths of a second), so a share is cut into about
    twenty; and what is pushed ahead of time takes the worker's disk, so none has more than
    MOST_BYTES, unless it is one input alone.
    """
    most = min(MOST_INPUTS, max(LEAST_INPUTS, -(-len(share) // SHARES)))
    cut: list[Batch] = []
    current: list[Input] = []
    size = 0
    for item in share:
        if current and (len(current) >= most or size + item.size > MOST_BYTES):
            cut.append(Batch(f"{worker}.{len(cut) + 1:04}", tuple(current)))
            current, size = [], 0
        current.append(item)
        size += item.size
    if current:
        cut.append(Batch(f"{worker}.{len(cut) + 1:04}", tuple(current)))
    return cut
