"""What a batch came to, and the records that are kept of it: joblog, ledger, counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from loguru import logger

from fanrun.fanout.plan import Input
from fanrun.fanout.results import judge
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.joblog import Entry
from fanrun.fanout.results.report import Failure, shown
from fanrun.fanout.results.staged import Staged
from fanrun.fleet.errors import RunUnfinished


@dataclass
class BatchOutcome:
    """The inputs that an attempt settled.

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
        """How many inputs are settled by this batch, those of earlier ones included."""
        return sum(len(each.done) + len(each.failed) + len(each.given_up) for each in (self, *self.released))

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
        destination.given_up.extend(outcome.given_up)
        reasons = destination.reasons
        destination.ledger.fail([(item.key, reasons.of(item.key)) for item in outcome.given_up])
        for item in outcome.given_up:
            if item.key in reasons.failed:  # the others were not tried, and the warning that stops the run says why
                logger.info("failed: {}: {}", shown(os.fsdecode(item.key)), shown(reasons.of(item.key)))
    if outcome.problem is not None:
        raise outcome.problem


def _record_inputs(outcome: BatchOutcome, destination: Destination) -> None:
    destination.done.update(outcome.done)
    entries = list(_entries(outcome, os.fsencode(destination.dst)))
    destination.joblog.add(entries)
    destination.ledger.fail(list(outcome.failed.items()))
    stats, worker = destination.stats_of(outcome.attempt.worker), outcome.attempt.worker
    with stats.lock:
        stats.done += len(outcome.done)
        stats.extra += outcome.extra
        stats.results += sum(map(len, outcome.done.values()))
        stats.bytes_in += sum(item.size for item in outcome.attempt.batch.inputs if item.key in outcome.done)
        stats.bytes_out += sum(each.received for each in entries)
        for key, reason in outcome.failed.items():
            words = judge.lines_about(key, outcome.staged.ending.log)
            stats.failed[key] = Failure(os.fsdecode(key), reason, worker, outcome.tries[key], words)
            logger.info("failed: {} on {}: {}", shown(os.fsdecode(key)), worker, shown(reason))


def _entries(outcome: BatchOutcome, dst: bytes) -> Iterator[Entry]:
    """Yield a line of the joblog for each input that is done, then for each that failed."""
    attempt, staged = outcome.attempt, outcome.staged
    sizes = {item.key: item.size for item in attempt.batch.inputs}
    started = attempt.ended - staged.ending.seconds
    for key in (*outcome.done, *outcome.failed):
        line = staged.report.get(key)
        seconds = staged.ending.seconds if line is None or line.seconds is None else line.seconds
        paths = outcome.done.get(key, ())
        yield Entry(
            key,
            attempt.worker,
            attempt.batch.name,
            started,
            seconds,
            sizes[key],
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
