"""The destination: where results go, and what is known of those that are there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fanrun.fanout.caller import TASK, Settled
from fanrun.fanout.expect import BY_NAME, Expected
from fanrun.fanout.plan import Input
from fanrun.fanout.program import USUAL, Scratch
from fanrun.fanout.results import result_files
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.faults import Reasons
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.joblog import Joblog
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.results.ownership import Ownership
from fanrun.fanout.results.staged import Staged
from fanrun.fanout.results.stats import WorkerStats
from fanrun.fleet.errors import RunUnfinished

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors after which nothing can be written to DST."""


@dataclass(frozen=True)
class Held:
    """An input's results that wait, in the folder `data`, until it is known whether `blockers` have their paths."""

    key: bytes
    paths: list[bytes]
    data: bytes
    attempt: Attempt
    staged: Staged
    blockers: set[bytes]


@dataclass(frozen=True)
class Destination:
    """DST with its staging folder (absolute paths), and the records of a run; `program` is its name in the ledger.

    Files that belong to no input go to the folder `extra`, those of each batch apart.  `reasons` is told why inputs
    fail.  `held` are results that wait, by their inputs, and `waiting` the same by the inputs they wait for.  `done`
    are the inputs that have their results in DST, and the paths of these.  `hung` are inputs at which the program hung
    that had no other, and the worker.  `given_up` are those that were not tried, `stats` what each worker has done.
    `tell` gets each input that is settled.
    """

    dst: str
    staging: str
    extra: str
    program: str
    ledger: Ledger
    joblog: Joblog
    ownership: Ownership
    reasons: Reasons
    logs: RunLogs
    expected: Expected = BY_NAME
    scratch: Scratch = USUAL
    held: dict[bytes, Held] = field(default_factory=dict)
    waiting: dict[bytes, list[Held]] = field(default_factory=dict)
    done: dict[bytes, list[bytes]] = field(default_factory=dict)
    hung: dict[bytes, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    given_up: list[Input] = field(default_factory=list)
    stats: dict[str, WorkerStats] = field(default_factory=dict)
    tell: Callable[[Settled], None] = TASK.tell

    def stats_of(self, worker: str) -> WorkerStats:
        """Return what a worker has done."""
        return self.stats.setdefault(worker, WorkerStats())

    def check(self) -> None:
        """Raise RunUnfinished if DST is not there any more: nothing could be written."""
        try:
            os.stat(self.staging)
        except FileNotFoundError as error:
            raise RunUnfinished(f"{self.dst!r} was removed or renamed during the run") from error
        except OSError:  # a network file system may be slow to answer; whoever writes there finds out
            return

    def vanished(self) -> list[bytes]:
        """Return the inputs that are done and have a result that is not in DST any more."""
        dst = os.fsencode(self.dst)
        return [
            key
            for key, paths in list(self.done.items())
            if not all(os.path.lexists(os.path.join(dst, path)) for path in paths)
        ]

    def commit(
        self, attempt: Attempt, staged: Staged, results: Mapping[bytes, Sequence[bytes]], data: bytes
    ) -> dict[bytes, str]:
        """Write the inputs' results {key: paths} into the ledger, then rename them from the folder `data` into DST.

        In this order a crash between the two loses nothing.  Return {key: reason} of inputs whose results something in
        DST is in the way of.  Raises RunUnfinished when DST can't be written.
        """
        facts = [
            Fact(
                key,
                attempt.hashes[key],
                {path: staged.manifest[path] for path in paths},
                tuple(attempt.paths([key])[1:]),
            )
            for key, paths in results.items()
            if key in attempt.hashes
        ]
        self.ledger.record(self.program, facts)
        blocked = {}
        for key, paths in results.items():
            reasons = (self._rename(path, staged.manifest[path], data) for path in paths)
            if reason := next(filter(None, reasons), ""):
                blocked[key] = reason
        return blocked

    def set_aside(self, data: bytes, target: bytes, path: bytes) -> None:
        """Move a result to a folder in DST where it waits; raise RunUnfinished if that can't be."""
        try:
            result_files.move_into_place(data, target, path)
        except OSError as error:
            self.check()
            raise unwritable(error) from error

    def _rename(self, path: bytes, digest: str, data: bytes) -> str:
        """Rename a result into DST; return why it can't be, raise RunUnfinished if nothing can."""
        target = os.path.join(os.fsencode(self.dst), path)
        try:
            result_files.move_into_place(data, os.fsencode(self.dst), path)
            self.ledger.remember_hash(target, file_stat(target), digest)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise unwritable(error) from error
            self.check()
            return f"its result can't be written to DST ({error.strerror})"
        return ""


def unwritable(error: OSError) -> RunUnfinished:
    """Return the end of a run that can't write to DST."""
    return RunUnfinished(f"DST can't be written ({error.strerror}); make room there")
