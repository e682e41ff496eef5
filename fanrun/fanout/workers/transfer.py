"""Transfer: a batch's inputs sent to a worker, and its results brought into staging."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence

from loguru import logger

from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.plan import Input, unreadable_input, weight
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.faults import BatchFailed
from fanrun.fanout.results.file_stat import FileStat, file_stat
from fanrun.fanout.results.groups import digest
from fanrun.fanout.workers.executor import CommandResult
from fanrun.fanout.workers.input_cache import InputCache
from fanrun.fanout.workers.link import Link
from fanrun.fleet.errors import HostError, RunUnfinished

VANISHED = (23, 24)
"""rsync's exit codes for "some files could not be read" and "some files vanished"."""
OF_FILES = (3, 11, *VANISHED)
"""rsync's exit codes for errors of files or folders, where the connection is well."""
NAME_ERRORS = (
    "invalid argument",
    "file name too long",
    "illegal byte sequence",
    "incomplete multibyte",
    "no such file or directory",
)
"""What this machine's rsync says of a name that DST can't hold, in lower case."""


class Transfer:
    """Sends to one worker and fetches from it; each rsync that fails is run once more."""

    def __init__(self, link: Link, src: str, destination: Destination, cache: InputCache | None = None) -> None:
        self._link, self._src, self._destination, self._cache = link, src, destination, cache

    def send(self, attempt: Attempt, folder: BatchFolder) -> int:
        """Send the inputs of a batch and note their hashes; files that are in the worker's cache are not sent.

        Return the weight of the files that were sent.
        Raises BatchFailed when files could not be written on the worker, HostError when it could not be reached.
        """
        hashes: dict[bytes, tuple[str, FileStat]] = {}
        before = self._hash(attempt, hashes)
        there = self._cache.place(self._link, folder, hashes) if self._cache else frozenset()
        paths = [path for path in attempt.paths() if path not in there]
        if paths:
            self._run("push", lambda: self._push(folder, paths), sent_what_there_is)
        self._destination.stats_of(self._link.host).note_cached(hashes[path][1].size for path in there)
        for key, then in before.items():
            with contextlib.suppress(OSError):
                if self._look(attempt.files(key)) == then:
                    continue
            del attempt.hashes[key]  # it changed meanwhile: nobody knows what was sent
        return sum(weight(file) for item in attempt.batch.inputs for file in item.files if file.key not in there)

    def fetch(self, folder: BatchFolder, staging: str, *, apart: bool) -> None:
        """Bring what a batch left into staging; `apart` uses a connection of its own.

        Raises what `send` does, and RunUnfinished when DST can't be written.
        """
        self._run("pull", lambda: self._link.pull(folder, staging, apart=apart), self._fetched)

    def _push(self, folder: BatchFolder, paths: Sequence[bytes]) -> CommandResult:
        """Send files; if the worker's disk is full, remove its cache: then there is room for the second try."""
        result = self._link.push(self._src, folder, paths)
        if result.exit_code and self._cache:
            self._cache.make_room(self._link, result.error)
        return result

    def _hash(self, attempt: Attempt, hashes: dict[bytes, tuple[str, FileStat]]) -> dict[bytes, list[FileStat]]:
        """Note the inputs' hashes; return how the files of each were before they were read.

        For each file put its hash into `hashes`, with its FileStat from before it was read.
        """
        before = {}

        def hash_of(key: bytes) -> str:
            path = self._path(key)
            stat = file_stat(path)
            hashes[key] = self._destination.ledger.hash_of(path), stat
            return hashes[key][0]

        for item in attempt.batch.inputs:
            try:
                then = self._look(item.files)
                attempt.hashes[item.key] = digest(item, hash_of)
                before[item.key] = then
            except OSError as error:
                attempt.unreadable[item.key] = unreadable_input(self._path(b""), item, error)
        return before

    def _look(self, files: Iterable[Input]) -> list[FileStat]:
        return [file_stat(self._path(file.key)) for file in files]

    def _path(self, key: bytes) -> bytes:
        return os.path.join(os.fsencode(self._src), key)

    def _fetched(self, result: CommandResult) -> bool:
        """Return whether a pull brought all that DST can hold; raise RunUnfinished where DST can't be written."""
        lines = [line for line in result.error.splitlines() if "[receiver]" in line or "[generator]" in line]
        if result.exit_code not in OF_FILES or not lines:
            return result.exit_code == 0
        self._destination.check()
        other = [line for line in lines if not any(words in line.lower() for words in NAME_ERRORS)]
        if other:
            raise RunUnfinished(f"DST can't take the results ({other[0]}); make room there")
        return True  # the results of these names are missing, so their inputs fail

    def _run(self, what: str, call: Callable[[], CommandResult], is_fine: Callable[[CommandResult], bool]) -> None:
        """Run an rsync, once more if it failed: what arrived the first time does not travel again."""
        result = call()
        if not is_fine(result):
            logger.debug("{}: {} failed ({}), trying once more", self._link.host, what, result.reason)
            result = call()
        if not is_fine(result):
            kind = BatchFailed if result.exit_code in OF_FILES else HostError
            raise kind(f"could not {what} a batch ({result.reason})", host=self._link.host)


def sent_what_there_is(result: CommandResult) -> bool:
    """Return whether a push sent every input that could be read here; rsync labels the worker's own errors."""
    if result.exit_code in VANISHED:
        return "[receiver]" not in result.error and "[generator]" not in result.error
    return result.exit_code == 0
