"""What a batch brought home, made to count: checked, written down, renamed into DST, and told."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, field

from loguru import logger

from fanout import results
from fanout.deck import Deck
from fanout.joblog import Entry, Joblog
from fanout.ledger import Fact, Ledger, look, place_of
from fanout.plan import Batch, Input
from fanout.report import Failure
from fanout.results import Ending, Line, Outcome
from fanout.watch import FULL
from provision.errors import HostError, RunUnfinished

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
    """Where results land: absolute paths, and the books that are kept of them; `program` is its name in the ledger."""

    dst: str
    staging: str
    program: str
    ledger: Ledger
    joblog: Joblog


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
class _Arrived:
    """What lies in staging."""

    ending: Ending
    manifest: dict[bytes, str]
    report: dict[bytes, Line]


def unload(cargo: Cargo, staging: str, deck: Deck, shore: Shore, tally: Tally) -> tuple[int, float]:
    """Judge what a batch left in staging and land what is good.

    Returns how many inputs it settled, and the seconds that the program took.

    Each input counts once, whoever else had it.  Raises HostError when the worker is to blame
    for a failure, RunUnfinished when DST can't be written.
    """
    arrived = _read(cargo, staging)
    data = os.fsencode(os.path.join(staging, "data"))
    outcome = results.judge(cargo.batch.inputs, arrived.ending, arrived.report, arrived.manifest)
    _check_worker(cargo, arrived.ending, outcome)
    failed = _failures(cargo, arrived, outcome, data)
    won = deck.claim(outcome.results)
    blocked = _land(won, cargo, outcome, arrived.manifest, data, shore)
    gone = deck.settle(cargo.batch, failed, final=failed if arrived.ending.cannot_start else cargo.unreadable)
    done = {key: outcome.results[key] for key in won if key not in blocked}
    lost = {key: (failed[key], tries) for key, tries in gone.items()}
    lost |= {key: (reason, deck.tries(key) + 1) for key, reason in blocked.items()}
    _tell(cargo, arrived, done, lost, shore, tally, deck)
    # Of a program that was stopped in the midst of a file, half of it may lie there under any name.
    for path in outcome.extra if arrived.ending.code == 0 else ():
        digest = arrived.manifest[path]
        reason = results.unfit(data, path, digest) or _put(path, digest, data, shore)
        if reason:
            logger.warning("{!r}, which belongs to no input: {}", os.fsdecode(path), reason)
        else:
            tally.extra += 1
    return len(won) + len(gone), arrived.ending.seconds


def _read(cargo: Cargo, staging: str) -> _Arrived:
    """Read what the batch left beside its results."""

    def read(name: str) -> bytes:
        try:
            with open(os.path.join(staging, name), "rb") as file:
                return file.read()
        except OSError as error:
            raise HostError(f"lost the {name} of a batch ({error.strerror})", host=cargo.worker) from error

    try:
        ending = results.parse_ending(read("exit"), read("log"))
    except ValueError as error:
        raise HostError("wrote the end of a batch only in part", host=cargo.worker) from error
    return _Arrived(ending, results.parse_manifest(read("manifest")), results.parse_report(read("report.jsonl")))


def _check_worker(cargo: Cargo, ending: Ending, outcome: Outcome) -> None:
    """HostError if it is the worker that did not do its part, so that no input is blamed for it."""
    if ending.code == 125:  # docker's own: the container did not start, or docker left it
        raise HostError(f"could not run a container ({ending.said})", host=cargo.worker)
    if ending.code != 0:
        name = cargo.batch.name
        logger.debug("{}: batch {} ended with {}:\n{}", cargo.worker, name, ending.code, ending.log)
    room = 2 * max(item.size for item in cargo.batch.inputs) + FULL
    full = ending.free < room or (ending.inodes is not None and ending.inodes < INODES)
    if full and (outcome.failed or outcome.open):
        raise HostError(f"its disk is full ({ending.free // 1024**2} MB free)", host=cargo.worker)


def _failures(cargo: Cargo, arrived: _Arrived, outcome: Outcome, data: bytes) -> dict[bytes, str]:
    """{key: reason} of the inputs that failed; those whose results are damaged leave the outcome's results."""
    if arrived.ending.cannot_start:
        return {item.key: f"the program can't be started: {arrived.ending.said}" for item in cargo.batch.inputs}
    failed = dict(outcome.failed)
    for key, paths in list(outcome.results.items()):
        reason = next(filter(None, (results.unfit(data, path, arrived.manifest[path]) for path in paths)), None)
        if reason:
            failed[key] = reason
            del outcome.results[key]
    return {key: cargo.unreadable.get(key, reason) for key, reason in failed.items()}


def _land(
    won: list[bytes], cargo: Cargo, outcome: Outcome, manifest: dict[bytes, str], data: bytes, shore: Shore
) -> dict[bytes, str]:
    """Write down what the inputs came to, then rename it into DST: so a crash between the two loses nothing.

    Returns {key: reason} of those that something in DST is in the way of.
    """
    facts = [
        Fact(key, cargo.hashes[key], {place_of(key, path): manifest[path] for path in outcome.results[key]})
        for key in won
        if key in cargo.hashes
    ]
    shore.ledger.record(shore.program, facts)
    blocked = {}
    for key in won:
        reasons = (_put(path, manifest[path], data, shore) for path in outcome.results[key])
        reason = next(filter(None, reasons), "")
        if reason:
            blocked[key] = reason
    return blocked


def _put(path: bytes, digest: str, data: bytes, shore: Shore) -> str:
    """Rename a result into DST; returns why it can't be, RunUnfinished if nothing can."""
    target = os.path.join(os.fsencode(shore.dst), path)
    try:
        results.land(data, os.fsencode(shore.dst), path)
        shore.ledger.saw(target, look(target), digest)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise RunUnfinished(f"DST can't be written ({error.strerror}); make room there") from error
        return f"its result can't be written to DST ({error.strerror})"
    return ""


def _tell(
    cargo: Cargo, arrived: _Arrived, done: dict[bytes, list[bytes]], lost: dict[bytes, tuple[str, int]],
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

    for key, paths in done.items():
        size = sum(os.path.getsize(os.path.join(os.fsencode(shore.dst), path)) for path in paths)
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
            words = results.words_about(key, arrived.ending.log)
            tally.failed[key] = Failure(os.fsdecode(key), reason, cargo.worker, tries, words)
            logger.debug("failed: {} on {}: {}", os.fsdecode(key).encode(errors="replace"), cargo.worker, reason)
