"""The caches of a run's workers. Inputs that a worker has in its cache are not sent again."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from loguru import logger

from fanrun.fanout import cache_commands as commands
from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.plan import Input
from fanrun.fanout.results.file_stat import FileStat
from fanrun.fanout.workers.link import Link
from fanrun.fleet.probe import Probe

NANOSECONDS = 10**9
LINE = re.compile(rb"^(\d+) (-?\d+) ([0-9a-f]{8})$", re.MULTILINE)
NO_ROOM = ("No space left on device", "Disk quota exceeded")


class Looks(NamedTuple):
    """Properties of a file that can be compared without reading it.

    `size` is in bytes, `time` is the time of last change in nanoseconds since 1970, `name` is the CRC-32 of its key.
    """

    size: int
    time: int
    name: str

    @property
    def named(self) -> tuple[int, int, str]:
        """Return what is compared first: size, seconds, name.  Some versions of rsync keep only whole seconds."""
        return self.size, self.time // NANOSECONDS, self.name

    @property
    def nameless(self) -> tuple[int, int]:
        """Return what is compared if no file is found by its name: size, nanoseconds."""
        return self.size, self.time


class Contents:
    """The files in the cache of one worker, read from the output of list_argv's command."""

    def __init__(self, text: bytes = b"") -> None:
        looks = [Looks(int(size), int(time), name.decode()) for size, time, name in LINE.findall(text)]
        self.sizes = {each.size for each in looks}
        self.named = {each.named for each in looks}
        self.nameless = {each.nameless for each in looks}


class InputCache:
    """Finds inputs in the caches of the workers; safe to use from many threads.

    `Looks` are only a guess at which worker has a file.  A worker uses a file only if its SHA-256 is right, which it
    computes again each time.
    """

    def __init__(self, run: str, src: str, *, is_used: bool = True) -> None:
        self._run, self._src, self._is_used = run, os.fsencode(src), is_used
        self._contents: dict[str, Contents] = {}

    def look(self, link: Link, probe: Probe) -> None:
        """Ask a worker what is in its cache, if it has one."""
        found = Contents()
        if self._is_used and probe.cached is not None:
            found = Contents(link.run(commands.list_argv(self._run, link.layout)).output)
            logger.debug("{}: {} files are in its cache", link.host, len(found.nameless))
        self._contents[link.host] = found

    def holders(self, inputs: Iterable[Input]) -> Mapping[bytes, list[str]]:
        """Return {key: workers} for each input whose files are probably all in the caches of these workers."""
        known = {name: contents for name, contents in self._contents.items() if contents.sizes}
        if not known:
            return {}
        found = {}
        for item in inputs:
            try:
                looks = [self._looks_of(file.key) for file in item.files]
            except OSError:  # the run finds that it can't be read
                continue
            names = [name for name, has in known.items() if has.named.issuperset(each.named for each in looks)] or [
                name for name, has in known.items() if has.nameless.issuperset(each.nameless for each in looks)
            ]
            if names:
                found[item.key] = names
        return found

    def place(self, link: Link, place: BatchFolder, files: Mapping[bytes, tuple[str, FileStat]]) -> set[bytes]:
        """Copy files from the worker's cache into a batch's folder; return the keys of the files that were copied.

        `files` has the hash of each file, and its FileStat when it was hashed.
        """
        sizes = self._contents.get(link.host, Contents()).sizes
        asked = [(digest, stat.mtime, key) for key, (digest, stat) in files.items() if stat.size in sizes]
        if not asked:
            return set()
        done = link.run(commands.place_argv(place), stdin=commands.wanted(asked))
        numbers = [int(line) for line in done.output.split() if line.isdigit()]
        return {asked[number][2] for number in numbers if number < len(asked)}

    def make_room(self, link: Link, error: str) -> None:
        """Remove a worker's cache if `error`, the stderr of a command there, says that the disk is full."""
        if self._contents.get(link.host, Contents()).sizes and any(words in error for words in NO_ROOM):
            logger.warning("{}: its disk is full; the inputs that it had kept of earlier runs are removed", link.host)
            self._contents[link.host] = Contents()
            link.run(commands.empty_argv(link.layout))

    def _looks_of(self, key: bytes) -> Looks:
        found = os.stat(os.path.join(self._src, key))
        return Looks(found.st_size, found.st_mtime_ns, f"{zlib.crc32(key):08x}")
