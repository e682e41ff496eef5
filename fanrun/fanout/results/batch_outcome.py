"""What a batch came to, and the records that are kept of it: joblog, ledger, counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from loguru import logger

from fanrun.fanout.caller import Settled
from fanrun.fanout.plan import Input, count_files
from fanrun.fanout.results import judge
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.joblog import Entry
from fanrun.fanout.results.report import Failure, shown
from fanrun.fanout.results.staged import Staged
from fanrun.fleet.errors import RunUnfinished


@dataclass
class BatchOutcome:
    """The inputs that an attempt settled, a group being one.

    `done` has the paths of each input's results, `failed` the reasons of those that are given up, `tries` how often
    each was tried.  `short_of_memory` are those whose container was killed beside others: they are tried by themselves.
    `extra` is the number of files that belong to no input.  `released` are the outcomes of earlier
    batches whose results waited for this one.  `given_up` are inputs that are not tried any more, as every batch fails
    for the same reason.  `problem` is why the run can't go on, if it can't; the records are written before it is
    raised.
    """

    attempt: Attempt
    staged: Staged
    done: dict[bytes, list[bytes]] = field(default_factory=dict)
    failed: dict[bytes, str] = field(default_factory=dict)
    tries: dict[bytes, int] = field(default_factory=dict)
    short_of_memory: list[bytes] = field(default_factory=list)
    extra: int = 0
    released: list[BatchOutcome] = field(default_factory=list)
    given_up: list[Input] = field(default_factory=list)
    problem: RunUnfinished | None = None

    @property
    def settled(self) -> int:
        """How many files are settled by this batch, those of earlier ones included."""
        return sum(
            len(each.attempt.paths([*each.done, *each.failed])) + count_files(each.given_up)
            for each in (self, *self.released)
        )

    @property
    def seconds(self) -> float:
        """The seconds that the program took."""
        return self.staged.ending.seconds


def record(outcome: BatchOutcome, destination: Destination) -> None:
    """Write every settled input into the joblog, failed ones into the ledger, and count all.

    Raises RunUnfinished when these can't be written, or for the outcome's own problem.
    """
    for each in (outcome, *outcome.released):
        _record_inputs(each, destination)
    if outcome.given_up:
        _record_given_up(outcome.given_up, destination)
    if outcome.problem is not None:
        raise outcome.problem


def _record_given_up(inputs: list[Input], destination: Destination) -> None:
    reasons = destination.reasons
    destination.given_up.extend(inputs)
    files = [(file.key, item.key) for item in inputs for file in item.files]
    destination.ledger.fail([(path, reasons.of(key)) for path, key in files])
    for path, key in files:
        destination.tell(Settled(path, (), reasons.of(key), ""))
        if key in reasons.failed:  # the others were not tried, and the warning that stops the run says why
            logger.info("failed: {}: {}", shown(os.fsdecode(path)), shown(reasons.of(key)))


def _record_inputs(outcome: BatchOutcome, destination: Destination) -> None:
    destination.done.update(outcome.done)
    entries = list(_entries(outcome, os.fsencode(destination.dst)))
    destination.joblog.add(entries)
    attempt = outcome.attempt
    failed = [(path, reason, key) for key, reason in outcome.failed.items() for path in attempt.paths([key])]
    destination.ledger.fail([(path, reason) for path, reason, _ in failed])
    stats, worker = destination.stats_of(attempt.worker), attempt.worker
    with stats.lock:
        stats.done += len(attempt.paths(outcome.done))
        stats.extra += outcome.extra
        stats.results += sum(map(len, outcome.done.values()))
        stats.bytes_in += sum(item.size for item in attempt.batch.inputs if item.key in outcome.done)
        stats.bytes_out += sum(each.received for each in entries)
        for path, reason, key in failed:
            words = judge.lines_about(path, outcome.staged.ending.log)
            stats.failed[path] = Failure(os.fsdecode(path), reason, worker, outcome.tries[key], words)
            logger.info("failed: {} on {}: {}", shown(os.fsdecode(path)), worker, shown(reason))
    _tell(outcome, destination)


def _tell(outcome: BatchOutcome, destination: Destination) -> None:
    """Tell the run's caller of each input; the results of a group are those of its first file."""
    attempt = outcome.attempt
    for key in (*outcome.done, *outcome.failed):
        for path in attempt.paths([key]):
            results = tuple(outcome.done.get(key, ())) if path == key else ()
            destination.tell(Settled(path, results, outcome.failed.get(key, ""), attempt.worker))


def _entries(outcome: BatchOutcome, dst: bytes) -> Iterator[Entry]:
    """Yield a line of the joblog for each file that is done, then for each that failed; a group's first has results."""
    attempt, staged = outcome.attempt, outcome.staged
    started = attempt.ended - staged.ending.seconds
    files = [(key, file) for key in (*outcome.done, *outcome.failed) for file in attempt.files(key)]
    for key, file in files:
        line = staged.report.get(file.key)
        seconds = staged.ending.seconds if line is None or line.seconds is None else line.seconds
        paths = outcome.done.get(key, ()) if file.key == key else ()
        yield Entry(
            file.key,
            attempt.worker,
            attempt.batch.name,
            started,
            seconds,
            file.size,
            sum(_size(os.path.join(dst, path)) for path in paths),
            outcome.tries[key],
            0 if key in outcome.done else staged.ending.code or 1,
            tuple(staged.manifest[path] for path in paths),
        )


def _size(path: bytes) -> int:
    """Return the bytes of a file; 0 if it was removed meanwhile, which the end of the run tells of."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
