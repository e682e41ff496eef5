"""What a batch brought home, made to count: checked, written down, renamed into DST, and told."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from loguru import logger

from fanrun.fanout.commands import USUAL, Scratch
from fanrun.fanout.expect import BY_NAME, Expected
from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.results import judge
from fanrun.fanout.results.faults import BatchFailed, Reasons, divide, same
from fanrun.fanout.results.joblog import Entry, Joblog
from fanrun.fanout.results.judge import Ending, Outcome, ReportLine, explain
from fanrun.fanout.results.ledger import Fact, Ledger, file_stat
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.results.ownership import Ownership
from fanrun.fanout.results.report import Failure, shown
from fanrun.fanout.schedule.scheduler import Completion, Scheduler
from fanrun.fanout.workers.heartbeat import MIN_FREE_BYTES
from fanrun.fleet.errors import RunUnfinished

INODES = 16
"""A worker that can make fewer files than this is full."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@dataclass
class Attempt:
    """A batch on its way through a worker; `ended` is when its program did (seconds since 1970), 0 before that.

    `hashes` are those of the inputs as they were sent, `unreadable` the reasons of the others.  A `provisional` one was
    cut before the time of a container was known.
    """

    batch: Batch
    worker: str
    hashes: dict[bytes, str] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    ended: float = 0.0
    provisional: bool = False


@dataclass(frozen=True)
class Destination:
    """Where results land: absolute paths, and the books that are kept of them; `program` is its name in the ledger.

    Files that belong to no input go to the folder `extra`, those of each batch apart.  `reasons` is told why inputs
    fail.  `done` are the inputs that have their results in DST, and the paths of these.  `hung` are inputs at which the
    program hung that had no other, and the worker.
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

    def check(self) -> None:
        """Raise RunUnfinished if DST is not there any more: nothing could be brought home."""
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


@dataclass(frozen=True)
class Held:
    """An input's results that wait, in the folder `data`, until it is known whether `blockers` have their paths."""

    key: bytes
    paths: list[bytes]
    data: bytes
    attempt: Attempt
    arrived: Arrived
    stats: WorkerStats
    blockers: set[bytes]


class WorkerStats:
    """What one worker has done; seconds are those its three stages were busy, bytes those of the data."""

    def __init__(self) -> None:
        self.done = self.bytes_in = self.bytes_out = self.results = self.extra = 0
        self.failed: dict[bytes, Failure] = {}
        self.seconds: dict[str, float] = {"push": 0.0, "process": 0.0, "pull": 0.0}
        self.lost: list[str] = []
        self.lock = threading.Lock()

    def busy(self, stage: str, seconds: float) -> None:
        """A stage was at work for so long."""
        with self.lock:
            self.seconds[stage] += seconds


@dataclass
class Arrived:
    """What lies in staging: `links` are no regular files, `odd` are lines of the report that can't be used."""

    ending: Ending
    manifest: dict[bytes, str]
    report: dict[bytes, ReportLine]
    links: list[bytes] = field(default_factory=list)
    odd: list[bytes] = field(default_factory=list)


def commit_batch(
    attempt: Attempt, staging: str, scheduler: Scheduler, destination: Destination, stats: WorkerStats
) -> tuple[int, float]:
    """Judge what a batch left in staging and land what is good.

    Returns how many inputs it settled, and the seconds that the program took.

    Each input counts once, whoever else had it.  Raises BatchFailed when the worker did not do its part,
    RunUnfinished when DST can't be written.
    """
    arrived = _read(attempt, staging)
    data = os.fsencode(os.path.join(staging, "data"))
    outcome = judge.judge(
        [item for item in attempt.batch.inputs if item.key not in attempt.unreadable],
        arrived.ending,
        arrived.report,
        arrived.manifest,
        arrived.links,
        destination.expected,
        destination.ownership.folders,
    )
    _check_worker(attempt, arrived.ending, outcome)
    if scheduler.stopped and arrived.ending.code != 0:  # it was ended with the run: only what it reported counts
        outcome.failed = {key: reason for key, reason in outcome.failed.items() if key in arrived.report}
    judge.tell_full(outcome.failed, arrived.ending.log, destination.scratch, alone=len(attempt.batch.inputs) == 1)
    _tell_odd(arrived.odd, destination)
    failed = _failures(attempt, arrived, outcome, data)
    suspects, others = _suspects(arrived.ending, outcome, data)
    hung = {key for group in suspects for key in group} if arrived.ending.late else set()
    failed |= {
        key: explain(arrived.ending) for key in hung if destination.hung.get(key, attempt.worker) != attempt.worker
    }
    common = "" if scheduler.stopped else _note_reasons(attempt, arrived.ending, outcome, failed, destination)
    won, refused = _claim(attempt, arrived, outcome, data, scheduler, destination, stats)
    failed |= refused
    blocked = _commit_results(won, attempt, outcome.results, arrived.manifest, data, destination)
    final = {*attempt.unreadable, *outcome.permanent, *refused, *(failed if arrived.ending.cannot_start else ())}
    if arrived.ending.late:  # a second timeout tells enough, if it is not the worker that hangs
        final |= {key for key in failed if scheduler.has_failed_elsewhere(key, attempt.worker)}
        if len(attempt.batch.inputs) == 1:
            destination.hung.setdefault(attempt.batch.inputs[0].key, attempt.worker)
    apart = [*outcome.apart, *suspects, others]
    gone = scheduler.complete(attempt.batch, Completion(failed, final, apart, hung))
    done = {key: outcome.results[key] for key in won if key not in blocked}
    lost = {key: (failed[key], tries) for key, tries in gone.items()}
    lost |= {key: (reason, scheduler.tries(key) + 1) for key, reason in blocked.items()}
    _tell(attempt, arrived, done, lost, destination, stats, scheduler)
    # A program that was stopped may have left half a file under any name; a batch that is tried again leaves all anew.
    if (won or gone or any(item.key in destination.held for item in attempt.batch.inputs)) and arrived.ending.code == 0:
        _keep_extra(attempt, arrived, outcome.extra, data, destination, stats)
    settled = len(won) + len(gone) + release(scheduler, destination, [*won, *gone])
    if common and destination.reasons.every(attempt.batch, common):
        settled += _stop(scheduler, destination)
    return settled, arrived.ending.seconds


def give_up(attempt: Attempt, reason: str, scheduler: Scheduler, destination: Destination, stats: WorkerStats) -> int:
    """Settle the only input of a batch that workers fail at; of several inputs each half is processed by itself.

    Returns how many inputs that settles.
    """
    keys = [item.key for item in attempt.batch.inputs]
    if len(keys) > 1:
        scheduler.complete(attempt.batch)
        return 0
    destination.reasons.new(reason, keys, shown(f"{os.fsdecode(keys[0])}: {reason}"))
    gone = scheduler.complete(attempt.batch, Completion(keys, keys))
    arrived = Arrived(Ending(1, "", 0.0, 0, None), {}, {})
    _tell(attempt, arrived, {}, {key: (reason, tries) for key, tries in gone.items()}, destination, stats, scheduler)
    return len(gone) + release(scheduler, destination, gone)


def _suspects(ending: Ending, outcome: Outcome, data: bytes) -> tuple[list[list[bytes]], list[bytes]]:
    """Divide the inputs of a batch without a fate: (groups of those that may be the reason, the others)."""
    times = dict[bytes, int]()
    for key, paths in outcome.partial.items():
        for path in paths:
            with contextlib.suppress(OSError):
                times[key] = max(times.get(key, 0), os.stat(os.path.join(data, path)).st_mtime_ns)
    latest = max(times, key=lambda key: times[key], default=None)
    return divide([item.key for item in outcome.open], outcome.partial, latest, hung=ending.late)


def _note_reasons(
    attempt: Attempt, ending: Ending, outcome: Outcome, failed: Mapping[bytes, str], destination: Destination
) -> str:
    """Tell of new reasons; returns the one for which no input of the batch is done, "" if some is or there are several.

    Permanent failures don't count there: they tell of an input, not of how the program is run.
    """
    reasons, count = destination.reasons, len(attempt.batch.inputs)
    for key, reason in failed.items():
        reasons.new(reason, [key], shown(f"{attempt.worker}: {os.fsdecode(key)}: {reason}"))
    keys = [item.key for item in attempt.batch.inputs]
    is_open = bool(outcome.open) and not ending.cannot_start
    if is_open:
        reasons.new(explain(ending), keys, shown(f"{attempt.worker}: {explain(ending)} (a batch of {count} inputs)"))
    if outcome.results or outcome.apart:
        reasons.went_well()
        return ""
    found = {same(reason, [key]): reason for key, reason in failed.items()}
    if is_open:
        found[same(explain(ending), keys)] = explain(ending)
    is_for_all = len(outcome.partial) in (0, count) and not {*outcome.permanent, *attempt.unreadable}
    return found.popitem()[1] if len(found) == 1 and is_for_all else ""


def _stop(scheduler: Scheduler, destination: Destination) -> int:
    """Give up all inputs that are left, as every batch fails for the same reason; returns how many."""
    logger.warning(shown(destination.reasons.stop))
    left = scheduler.give_up_rest()
    destination.given_up.extend(left)
    destination.ledger.fail([(item.key, destination.reasons.of(item.key)) for item in left])
    return len(left)


def _tell_odd(lines: Sequence[bytes], destination: Destination) -> None:
    """Tell once in a run of a line of a report that can't be used."""
    with destination.ownership.lock:
        if not lines or destination.told:
            return
        destination.told.append("report")
    text = lines[0][: judge.MAX_LINE_CHARS].decode(errors="replace")
    logger.warning(
        "the program's report has lines that can't be used, as {!r}: each is JSON with an input's path, and ok", text
    )


def _claim(
    attempt: Attempt,
    arrived: Arrived,
    outcome: Outcome,
    data: bytes,
    scheduler: Scheduler,
    destination: Destination,
    stats: WorkerStats,
) -> tuple[list[bytes], dict[bytes, str]]:
    """Settle the inputs whose results may be moved to DST now.

    Returns their keys, and {key: reason} of the inputs whose results may never be moved there.  Results that must wait
    for another input are held.
    """
    won, refused = list[bytes](), dict[bytes, str]()
    with destination.ownership.lock:
        for key, paths in outcome.results.items():
            if reason := destination.ownership.refusal(key, paths):
                refused[key] = reason
            elif blockers := destination.ownership.waits_for(key, paths):
                if scheduler.hold([key]):
                    apart = os.fsencode(os.path.join(destination.staging, "held", attempt.batch.name))
                    for path in paths:
                        _move(data, apart, path, destination)
                    held = destination.held[key] = Held(key, paths, apart, attempt, arrived, stats, blockers)
                    for blocker in blockers:
                        destination.waiting.setdefault(blocker, []).append(held)
            elif scheduler.claim([key]):
                destination.ownership.take(key, paths)
                won.append(key)
    for key in refused:
        del outcome.results[key]
    return won, refused


def _move(data: bytes, target: bytes, path: bytes, destination: Destination) -> None:
    """Move a file to a folder in DST; RunUnfinished if that can't be."""
    try:
        judge.move_into_place(data, target, path)
    except OSError as error:
        destination.check()
        raise unwritable(error) from error


def release(scheduler: Scheduler, destination: Destination, settled: Iterable[bytes]) -> int:
    """Move results to DST that waited only for these settled inputs; returns how many inputs that settles as well.

    An input whose path another one took meanwhile has failed.
    """
    count = 0
    while free := _free(scheduler, destination, settled):
        by_batch: dict[int, list[Held]] = {}
        for held, _ in free:
            by_batch.setdefault(id(held.attempt), []).append(held)
        reasons = {held.key: reason for held, reason in free if reason}
        for group in by_batch.values():
            first, good = group[0], [held for held in group if held.key not in reasons]
            wanted = {held.key: held.paths for held in good}
            blocked = _commit_results(
                list(wanted), first.attempt, wanted, first.arrived.manifest, first.data, destination
            )
            bad = {held.key: reasons[held.key] for held in group if held.key in reasons} | blocked
            done = {key: paths for key, paths in wanted.items() if key not in blocked}
            lost = {key: (reason, scheduler.tries(key) + 1) for key, reason in bad.items()}
            _tell(first.attempt, first.arrived, done, lost, destination, first.stats, scheduler)
        settled = [held.key for held, _ in free]
        count += len(free)
    return count


def _free(scheduler: Scheduler, destination: Destination, settled: Iterable[bytes]) -> list[tuple[Held, str]]:
    """Settle the held inputs that need not wait any more; returns each with the reason why it fails, "" if it is done.

    If every input that is left is held, they wait for each other: then the first one is released.
    """
    with destination.ownership.lock:
        free = []
        for key in settled:
            for held in destination.waiting.pop(key, ()):
                held.blockers.discard(key)
                if not held.blockers and held.key in destination.held and not _waits_again(held, destination):
                    free.append(held)
        if not free and destination.held and scheduler.left == len(destination.held):
            free = [min(destination.held.values(), key=lambda held: held.key)]
        found = []
        for held in sorted(free, key=lambda held: held.key):
            del destination.held[held.key]
            reason = destination.ownership.refusal(held.key, held.paths)
            if not reason:
                destination.ownership.take(held.key, held.paths)
            scheduler.release([held.key])
            found.append((held, reason))
        return found


def _waits_again(held: Held, destination: Destination) -> bool:
    """Find out whether an input has to wait for others than those that it waited for, and note them."""
    held.blockers.update(destination.ownership.waits_for(held.key, held.paths))
    for blocker in held.blockers:
        destination.waiting.setdefault(blocker, []).append(held)
    return bool(held.blockers)


def _keep_extra(
    attempt: Attempt,
    arrived: Arrived,
    paths: Sequence[bytes],
    data: bytes,
    destination: Destination,
    stats: WorkerStats,
) -> None:
    """Keep the files of a batch that belong to no input, apart from those of other batches."""
    target = os.fsencode(os.path.join(destination.extra, attempt.batch.name))
    for path in paths:
        reason = judge.unfit(data, path, arrived.manifest[path])
        try:
            if not reason:
                judge.move_into_place(data, target, path)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise unwritable(error) from error
            reason = f"it can't be written ({error.strerror})"
        if reason:
            logger.warning("{!r}, which belongs to no input: {}", os.fsdecode(path), reason)
        else:
            stats.extra += 1


def _read(attempt: Attempt, staging: str) -> Arrived:
    """Read what the batch left beside its results."""

    def read(name: str) -> bytes:
        try:
            with open(os.path.join(staging, name), "rb") as file:
                return file.read()
        except OSError as error:
            raise BatchFailed(f"lost the {name} of a batch ({error.strerror})", host=attempt.worker) from error

    try:
        ending = judge.parse_ending(read("exit"), read("log"))
    except ValueError as error:
        raise BatchFailed("wrote the end of a batch only in part", host=attempt.worker) from error
    report, keys = read("report.jsonl"), {item.key for item in attempt.batch.inputs}
    return Arrived(
        ending,
        judge.parse_manifest(read("manifest")),
        judge.parse_report(report),
        judge.parse_links(read("links")),
        judge.unusable_lines(report, keys),
    )


def _check_worker(attempt: Attempt, ending: Ending, outcome: Outcome) -> None:
    """BatchFailed if it is the worker that did not do its part, so that no input is blamed for it at first."""
    if ending.no_container:
        raise BatchFailed(f"could not run a container ({ending.said})", host=attempt.worker)
    if ending.code != 0:
        name = attempt.batch.name
        logger.debug("{}: batch {} ended with {}:\n{}", attempt.worker, name, ending.code, ending.log)
    room = 2 * max(item.size for item in attempt.batch.inputs) + MIN_FREE_BYTES
    full = ending.free < room or (ending.inodes is not None and ending.inodes < INODES)
    if full and (outcome.failed or outcome.open):
        raise BatchFailed(f"its disk is full ({ending.free // 1024**2} MB free)", host=attempt.worker)


def _failures(attempt: Attempt, arrived: Arrived, outcome: Outcome, data: bytes) -> dict[bytes, str]:
    """{key: reason} of the inputs that failed; those whose results are damaged leave the outcome's results."""
    if arrived.ending.cannot_start:
        return {item.key: f"the program can't be started: {arrived.ending.said}" for item in attempt.batch.inputs}
    failed = outcome.failed | attempt.unreadable
    for key, paths in list(outcome.results.items()):
        reason = next(filter(None, (judge.unfit(data, path, arrived.manifest[path]) for path in paths)), None)
        if reason:
            failed[key] = reason
            del outcome.results[key]
    return failed


def _commit_results(
    won: list[bytes],
    attempt: Attempt,
    wanted: Mapping[bytes, list[bytes]],
    manifest: dict[bytes, str],
    data: bytes,
    destination: Destination,
) -> dict[bytes, str]:
    """Write down what the inputs came to, then rename it into DST: so a crash between the two loses nothing.

    Returns {key: reason} of those that something in DST is in the way of.
    """
    facts = [
        Fact(key, attempt.hashes[key], {path: manifest[path] for path in wanted[key]})
        for key in won
        if key in attempt.hashes
    ]
    destination.ledger.record(destination.program, facts)
    blocked = {}
    for key in won:
        reasons = (_put(path, manifest[path], data, destination) for path in wanted[key])
        reason = next(filter(None, reasons), "")
        if reason:
            blocked[key] = reason
    return blocked


def unwritable(error: OSError) -> RunUnfinished:
    """Return the end of a run that can't write to DST."""
    return RunUnfinished(f"DST can't be written ({error.strerror}); make room there")


def _put(path: bytes, digest: str, data: bytes, destination: Destination) -> str:
    """Rename a result into DST; returns why it can't be, RunUnfinished if nothing can."""
    target = os.path.join(os.fsencode(destination.dst), path)
    try:
        judge.move_into_place(data, os.fsencode(destination.dst), path)
        destination.ledger.remember_hash(target, file_stat(target), digest)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise unwritable(error) from error
        destination.check()
        return f"its result can't be written to DST ({error.strerror})"
    return ""


def _size(path: bytes) -> int:
    """The bytes of a file; 0 if it was removed meanwhile, which the end of the run tells of."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _tell(
    attempt: Attempt,
    arrived: Arrived,
    done: dict[bytes, list[bytes]],
    lost: dict[bytes, tuple[str, int]],
    destination: Destination,
    stats: WorkerStats,
    scheduler: Scheduler,
) -> None:
    """Write every settled input into the joblog, the failed ones into the ledger, and add all up."""
    inputs = {item.key: item for item in attempt.batch.inputs}
    entries = []

    def entry(item: Input, size: int, tries: int, code: int, hashes: tuple[str, ...] = ()) -> None:
        line = arrived.report.get(item.key)
        seconds = arrived.ending.seconds if line is None or line.seconds is None else line.seconds
        where = attempt.worker, attempt.batch.name, attempt.ended - arrived.ending.seconds
        entries.append(Entry(item.key, *where, seconds, item.size, size, tries, code, hashes))

    destination.done.update(done)
    for key, paths in done.items():
        size = sum(_size(os.path.join(os.fsencode(destination.dst), path)) for path in paths)
        entry(inputs[key], size, scheduler.tries(key) + 1, 0, tuple(arrived.manifest[path] for path in paths))
    for key, (_, tries) in lost.items():
        entry(inputs[key], 0, tries, arrived.ending.code or 1)
    destination.joblog.add(entries)
    destination.ledger.fail([(key, reason) for key, (reason, _) in lost.items()])
    with stats.lock:
        stats.done += len(done)
        stats.results += sum(map(len, done.values()))
        stats.bytes_in += sum(inputs[key].size for key in done)
        stats.bytes_out += sum(each.received for each in entries)
        for key, (reason, tries) in lost.items():
            words = judge.words_about(key, arrived.ending.log)
            stats.failed[key] = Failure(os.fsdecode(key), reason, attempt.worker, tries, words)
            logger.debug("failed: {} on {}: {}", os.fsdecode(key).encode(errors="replace"), attempt.worker, reason)
