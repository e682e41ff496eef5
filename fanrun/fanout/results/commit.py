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
from fanrun.fanout.results.judge import Ending, Line, Outcome, explain
from fanrun.fanout.results.ledger import Fact, Ledger, look
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.results.ownership import Ownership
from fanrun.fanout.results.report import Failure, shown
from fanrun.fanout.schedule.scheduler import Deck
from fanrun.fanout.workers.heartbeat import FULL
from fanrun.fleet.errors import RunUnfinished

INODES = 16
"""A worker that can make fewer files than this is full."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@dataclass
class Cargo:
    """A batch on its way through a worker; `ended` is when its program did (seconds since 1970), 0 before that.

    `hashes` are those of the inputs as they were sent, `unreadable` tells of those that could not be.  A `bold` one was
    cut before it was known how long a container takes.
    """

    batch: Batch
    worker: str
    hashes: dict[bytes, str] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    ended: float = 0.0
    bold: bool = False


@dataclass(frozen=True)
class Shore:
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
    abandoned: list[Input] = field(default_factory=list)

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
    cargo: Cargo
    arrived: Arrived
    tally: Tally
    blockers: set[bytes]


class Tally:
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
    report: dict[bytes, Line]
    links: list[bytes] = field(default_factory=list)
    odd: list[bytes] = field(default_factory=list)


def unload(cargo: Cargo, staging: str, deck: Deck, shore: Shore, tally: Tally) -> tuple[int, float]:
    """Judge what a batch left in staging and land what is good.

    Returns how many inputs it settled, and the seconds that the program took.

    Each input counts once, whoever else had it.  Raises BatchFailed when the worker did not do its part,
    RunUnfinished when DST can't be written.
    """
    arrived = _read(cargo, staging)
    data = os.fsencode(os.path.join(staging, "data"))
    outcome = judge.judge(
        [item for item in cargo.batch.inputs if item.key not in cargo.unreadable],
        arrived.ending, arrived.report, arrived.manifest, arrived.links, shore.expected, shore.ownership.folders,
    )  # fmt: skip
    _check_worker(cargo, arrived.ending, outcome)
    if deck.stopped and arrived.ending.code != 0:  # it was ended with the run: only what it reported counts
        outcome.failed = {key: reason for key, reason in outcome.failed.items() if key in arrived.report}
    judge.tell_full(outcome.failed, arrived.ending.log, shore.scratch, alone=len(cargo.batch.inputs) == 1)
    _tell_odd(arrived.odd, shore)
    failed = _failures(cargo, arrived, outcome, data)
    suspects, others = _suspects(arrived.ending, outcome, data)
    hung = {key for group in suspects for key in group} if arrived.ending.late else set()
    failed |= {key: explain(arrived.ending) for key in hung if shore.hung.get(key, cargo.worker) != cargo.worker}
    common = "" if deck.stopped else _note_reasons(cargo, arrived.ending, outcome, failed, shore)
    won, refused = _claim(cargo, arrived, outcome, data, deck, shore, tally)
    failed |= refused
    blocked = _land(won, cargo, outcome.results, arrived.manifest, data, shore)
    final = {*cargo.unreadable, *outcome.permanent, *refused, *(failed if arrived.ending.cannot_start else ())}
    if arrived.ending.late:  # a second timeout tells enough, if it is not the worker that hangs
        final |= {key for key in failed if deck.has_failed_elsewhere(key, cargo.worker)}
        if len(cargo.batch.inputs) == 1:
            shore.hung.setdefault(cargo.batch.inputs[0].key, cargo.worker)
    apart = [*outcome.apart, *suspects, others]
    gone = deck.settle(cargo.batch, failed, final=final, apart=apart, suspects=hung)
    done = {key: outcome.results[key] for key in won if key not in blocked}
    lost = {key: (failed[key], tries) for key, tries in gone.items()}
    lost |= {key: (reason, deck.tries(key) + 1) for key, reason in blocked.items()}
    _tell(cargo, arrived, done, lost, shore, tally, deck)
    # A program that was stopped may have left half a file under any name; a batch that is tried again leaves all anew.
    if (won or gone or any(item.key in shore.held for item in cargo.batch.inputs)) and arrived.ending.code == 0:
        _keep_extra(cargo, arrived, outcome.extra, data, shore, tally)
    settled = len(won) + len(gone) + release(deck, shore, [*won, *gone])
    if common and shore.reasons.every(cargo.batch, common):
        settled += _stop(deck, shore)
    return settled, arrived.ending.seconds


def give_up(cargo: Cargo, reason: str, deck: Deck, shore: Shore, tally: Tally) -> int:
    """Settle the only input of a batch that workers fail at; of several inputs each half is processed by itself.

    Returns how many inputs that settles.
    """
    keys = [item.key for item in cargo.batch.inputs]
    if len(keys) > 1:
        deck.settle(cargo.batch)
        return 0
    shore.reasons.new(reason, keys, shown(f"{os.fsdecode(keys[0])}: {reason}"))
    gone = deck.settle(cargo.batch, keys, final=keys)
    arrived = Arrived(Ending(1, "", 0.0, 0, None), {}, {})
    _tell(cargo, arrived, {}, {key: (reason, tries) for key, tries in gone.items()}, shore, tally, deck)
    return len(gone) + release(deck, shore, gone)


def _suspects(ending: Ending, outcome: Outcome, data: bytes) -> tuple[list[list[bytes]], list[bytes]]:
    """Divide the inputs of a batch without a fate: (groups of those that may be the reason, the others)."""
    times = dict[bytes, int]()
    for key, paths in outcome.partial.items():
        for path in paths:
            with contextlib.suppress(OSError):
                times[key] = max(times.get(key, 0), os.stat(os.path.join(data, path)).st_mtime_ns)
    latest = max(times, key=lambda key: times[key], default=None)
    return divide([item.key for item in outcome.open], outcome.partial, latest, hung=ending.late)


def _note_reasons(cargo: Cargo, ending: Ending, outcome: Outcome, failed: Mapping[bytes, str], shore: Shore) -> str:
    """Tell of new reasons; returns the one for which no input of the batch is done, "" if some is or there are several.

    Permanent failures don't count there: they tell of an input, not of how the program is run.
    """
    reasons, count = shore.reasons, len(cargo.batch.inputs)
    for key, reason in failed.items():
        reasons.new(reason, [key], shown(f"{cargo.worker}: {os.fsdecode(key)}: {reason}"))
    keys = [item.key for item in cargo.batch.inputs]
    is_open = bool(outcome.open) and not ending.cannot_start
    if is_open:
        reasons.new(explain(ending), keys, shown(f"{cargo.worker}: {explain(ending)} (a batch of {count} inputs)"))
    if outcome.results or outcome.apart:
        reasons.went_well()
        return ""
    found = {same(reason, [key]): reason for key, reason in failed.items()}
    if is_open:
        found[same(explain(ending), keys)] = explain(ending)
    is_for_all = len(outcome.partial) in (0, count) and not {*outcome.permanent, *cargo.unreadable}
    return found.popitem()[1] if len(found) == 1 and is_for_all else ""


def _stop(deck: Deck, shore: Shore) -> int:
    """Give up all inputs that are left, as every batch fails for the same reason; returns how many."""
    logger.warning(shown(shore.reasons.stop))
    left = deck.abandon()
    shore.abandoned.extend(left)
    shore.ledger.fail([(item.key, shore.reasons.of(item.key)) for item in left])
    return len(left)


def _tell_odd(lines: Sequence[bytes], shore: Shore) -> None:
    """Tell once in a run of a line of a report that can't be used."""
    with shore.ownership.lock:
        if not lines or shore.told:
            return
        shore.told.append("report")
    text = lines[0][: judge.LONG].decode(errors="replace")
    logger.warning(
        "the program's report has lines that can't be used, as {!r}: each is JSON with an input's path, and ok", text
    )


def _claim(
    cargo: Cargo, arrived: Arrived, outcome: Outcome, data: bytes, deck: Deck, shore: Shore, tally: Tally
) -> tuple[list[bytes], dict[bytes, str]]:
    """Settle the inputs whose results may be moved to DST now.

    Returns their keys, and {key: reason} of the inputs whose results may never be moved there.  Results that must wait
    for another input are held.
    """
    won, refused = list[bytes](), dict[bytes, str]()
    with shore.ownership.lock:
        for key, paths in outcome.results.items():
            if reason := shore.ownership.refusal(key, paths):
                refused[key] = reason
            elif blockers := shore.ownership.waits_for(key, paths):
                if deck.hold([key]):
                    apart = os.fsencode(os.path.join(shore.staging, "held", cargo.batch.name))
                    for path in paths:
                        _move(data, apart, path, shore)
                    held = shore.held[key] = Held(key, paths, apart, cargo, arrived, tally, blockers)
                    for blocker in blockers:
                        shore.waiting.setdefault(blocker, []).append(held)
            elif deck.claim([key]):
                shore.ownership.take(key, paths)
                won.append(key)
    for key in refused:
        del outcome.results[key]
    return won, refused


def _move(data: bytes, target: bytes, path: bytes, shore: Shore) -> None:
    """Move a file to a folder in DST; RunUnfinished if that can't be."""
    try:
        judge.land(data, target, path)
    except OSError as error:
        shore.check()
        raise unwritable(error) from error


def release(deck: Deck, shore: Shore, settled: Iterable[bytes]) -> int:
    """Move results to DST that waited only for these settled inputs; returns how many inputs that settles as well.

    An input whose path another one took meanwhile has failed.
    """
    count = 0
    while free := _free(deck, shore, settled):
        by_batch: dict[int, list[Held]] = {}
        for held, _ in free:
            by_batch.setdefault(id(held.cargo), []).append(held)
        reasons = {held.key: reason for held, reason in free if reason}
        for group in by_batch.values():
            first, good = group[0], [held for held in group if held.key not in reasons]
            wanted = {held.key: held.paths for held in good}
            blocked = _land(list(wanted), first.cargo, wanted, first.arrived.manifest, first.data, shore)
            bad = {held.key: reasons[held.key] for held in group if held.key in reasons} | blocked
            done = {key: paths for key, paths in wanted.items() if key not in blocked}
            lost = {key: (reason, deck.tries(key) + 1) for key, reason in bad.items()}
            _tell(first.cargo, first.arrived, done, lost, shore, first.tally, deck)
        settled = [held.key for held, _ in free]
        count += len(free)
    return count


def _free(deck: Deck, shore: Shore, settled: Iterable[bytes]) -> list[tuple[Held, str]]:
    """Settle the held inputs that need not wait any more; returns each with the reason why it fails, "" if it is done.

    If every input that is left is held, they wait for each other: then the first one is released.
    """
    with shore.ownership.lock:
        free = []
        for key in settled:
            for held in shore.waiting.pop(key, ()):
                held.blockers.discard(key)
                if not held.blockers and held.key in shore.held and not _waits_again(held, shore):
                    free.append(held)
        if not free and shore.held and deck.left == len(shore.held):
            free = [min(shore.held.values(), key=lambda held: held.key)]
        found = []
        for held in sorted(free, key=lambda held: held.key):
            del shore.held[held.key]
            reason = shore.ownership.refusal(held.key, held.paths)
            if not reason:
                shore.ownership.take(held.key, held.paths)
            deck.release([held.key])
            found.append((held, reason))
        return found


def _waits_again(held: Held, shore: Shore) -> bool:
    """Find out whether an input has to wait for others than those that it waited for, and note them."""
    held.blockers.update(shore.ownership.waits_for(held.key, held.paths))
    for blocker in held.blockers:
        shore.waiting.setdefault(blocker, []).append(held)
    return bool(held.blockers)


def _keep_extra(
    cargo: Cargo, arrived: Arrived, paths: Sequence[bytes], data: bytes, shore: Shore, tally: Tally
) -> None:
    """Keep the files of a batch that belong to no input, apart from those of other batches."""
    target = os.fsencode(os.path.join(shore.extra, cargo.batch.name))
    for path in paths:
        reason = judge.unfit(data, path, arrived.manifest[path])
        try:
            if not reason:
                judge.land(data, target, path)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise unwritable(error) from error
            reason = f"it can't be written ({error.strerror})"
        if reason:
            logger.warning("{!r}, which belongs to no input: {}", os.fsdecode(path), reason)
        else:
            tally.extra += 1


def _read(cargo: Cargo, staging: str) -> Arrived:
    """Read what the batch left beside its results."""

    def read(name: str) -> bytes:
        try:
            with open(os.path.join(staging, name), "rb") as file:
                return file.read()
        except OSError as error:
            raise BatchFailed(f"lost the {name} of a batch ({error.strerror})", host=cargo.worker) from error

    try:
        ending = judge.parse_ending(read("exit"), read("log"))
    except ValueError as error:
        raise BatchFailed("wrote the end of a batch only in part", host=cargo.worker) from error
    report, keys = read("report.jsonl"), {item.key for item in cargo.batch.inputs}
    return Arrived(
        ending, judge.parse_manifest(read("manifest")), judge.parse_report(report),
        judge.parse_links(read("links")), judge.unusable_lines(report, keys),
    )  # fmt: skip


def _check_worker(cargo: Cargo, ending: Ending, outcome: Outcome) -> None:
    """BatchFailed if it is the worker that did not do its part, so that no input is blamed for it at first."""
    if ending.no_container:
        raise BatchFailed(f"could not run a container ({ending.said})", host=cargo.worker)
    if ending.code != 0:
        name = cargo.batch.name
        logger.debug("{}: batch {} ended with {}:\n{}", cargo.worker, name, ending.code, ending.log)
    room = 2 * max(item.size for item in cargo.batch.inputs) + FULL
    full = ending.free < room or (ending.inodes is not None and ending.inodes < INODES)
    if full and (outcome.failed or outcome.open):
        raise BatchFailed(f"its disk is full ({ending.free // 1024**2} MB free)", host=cargo.worker)


def _failures(cargo: Cargo, arrived: Arrived, outcome: Outcome, data: bytes) -> dict[bytes, str]:
    """{key: reason} of the inputs that failed; those whose results are damaged leave the outcome's results."""
    if arrived.ending.cannot_start:
        return {item.key: f"the program can't be started: {arrived.ending.said}" for item in cargo.batch.inputs}
    failed = outcome.failed | cargo.unreadable
    for key, paths in list(outcome.results.items()):
        reason = next(filter(None, (judge.unfit(data, path, arrived.manifest[path]) for path in paths)), None)
        if reason:
            failed[key] = reason
            del outcome.results[key]
    return failed


def _land(
    won: list[bytes],
    cargo: Cargo,
    wanted: Mapping[bytes, list[bytes]],
    manifest: dict[bytes, str],
    data: bytes,
    shore: Shore,
) -> dict[bytes, str]:
    """Write down what the inputs came to, then rename it into DST: so a crash between the two loses nothing.

    Returns {key: reason} of those that something in DST is in the way of.
    """
    facts = [
        Fact(key, cargo.hashes[key], {path: manifest[path] for path in wanted[key]})
        for key in won
        if key in cargo.hashes
    ]
    shore.ledger.record(shore.program, facts)
    blocked = {}
    for key in won:
        reasons = (_put(path, manifest[path], data, shore) for path in wanted[key])
        reason = next(filter(None, reasons), "")
        if reason:
            blocked[key] = reason
    return blocked


def unwritable(error: OSError) -> RunUnfinished:
    """Return the end of a run that can't write to DST."""
    return RunUnfinished(f"DST can't be written ({error.strerror}); make room there")


def _put(path: bytes, digest: str, data: bytes, shore: Shore) -> str:
    """Rename a result into DST; returns why it can't be, RunUnfinished if nothing can."""
    target = os.path.join(os.fsencode(shore.dst), path)
    try:
        judge.land(data, os.fsencode(shore.dst), path)
        shore.ledger.saw(target, look(target), digest)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise unwritable(error) from error
        shore.check()
        return f"its result can't be written to DST ({error.strerror})"
    return ""


def _size(path: bytes) -> int:
    """The bytes of a file; 0 if it was removed meanwhile, which the end of the run tells of."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _tell(
    cargo: Cargo, arrived: Arrived, done: dict[bytes, list[bytes]], lost: dict[bytes, tuple[str, int]],
    shore: Shore, tally: Tally, deck: Deck,
) -> None:  # fmt: skip
    """Write every settled input into the joblog, the failed ones into the ledger, and add all up."""
    inputs = {item.key: item for item in cargo.batch.inputs}
    entries = []

    def entry(item: Input, size: int, tries: int, code: int, hashes: tuple[str, ...] = ()) -> None:
        line = arrived.report.get(item.key)
        seconds = arrived.ending.seconds if line is None or line.seconds is None else line.seconds
        where = cargo.worker, cargo.batch.name, cargo.ended - arrived.ending.seconds
        entries.append(Entry(item.key, *where, seconds, item.size, size, tries, code, hashes))

    shore.done.update(done)
    for key, paths in done.items():
        size = sum(_size(os.path.join(os.fsencode(shore.dst), path)) for path in paths)
        entry(inputs[key], size, deck.tries(key) + 1, 0, tuple(arrived.manifest[path] for path in paths))
    for key, (_, tries) in lost.items():
        entry(inputs[key], 0, tries, arrived.ending.code or 1)
    shore.joblog.add(entries)
    shore.ledger.fail([(key, reason) for key, (reason, _) in lost.items()])
    with tally.lock:
        tally.done += len(done)
        tally.results += sum(map(len, done.values()))
        tally.bytes_in += sum(inputs[key].size for key in done)
        tally.bytes_out += sum(each.received for each in entries)
        for key, (reason, tries) in lost.items():
            words = judge.words_about(key, arrived.ending.log)
            tally.failed[key] = Failure(os.fsdecode(key), reason, cargo.worker, tries, words)
            logger.debug("failed: {} on {}: {}", os.fsdecode(key).encode(errors="replace"), cargo.worker, reason)
