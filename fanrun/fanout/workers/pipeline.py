"""One worker's pipeline: the next batches are pushed while one is processed and the last ones are pulled."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from loguru import logger

from fanrun.fanout import commands
from fanrun.fanout.commands import BatchFolder, LogLimits, LogSource, Program
from fanrun.fanout.plan import STAGE_CONCURRENCY, Batch, unreadable, weight
from fanrun.fanout.results.commit import Attempt, Destination, WorkerStats, commit_batch, give_up
from fanrun.fanout.results.faults import BatchFailed, Blame, Cause
from fanrun.fanout.results.ledger import FileStat, file_stat
from fanrun.fanout.schedule.scheduler import Assignment, Scheduler
from fanrun.fanout.schedule.throughput import ThroughputModel, is_worth_copying
from fanrun.fanout.workers.executor import SSH_FAILED, CommandResult, Stopped
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.uplink import Uplink
from fanrun.fleet.errors import HostError, RunUnfinished
from fanrun.fleet.probe import Probe
from fanrun.fleet.progress import Board

WARM_UP_PERMITS = {"push": 1, "process": 2}
"""One batch alone is on its way to or in the container at first, and so many more when it has told a stage's speed: so
the next ones can be of the right size.  The second is cut boldly, when the line's speed alone is known, and taken
back if the container tells that it is far too much.  Then one is processed, two are pushed, one is ready to follow."""
SECOND_BATCH_DELAY = 0.4
"""Seconds after which a second batch, as small as the first, follows though that one is still on the line: a slow line
is to have something to do meanwhile."""
STAGES = ("push", "process", "pull")
VANISHED = (23, 24)
"""rsync's exit codes for "some files could not be read" and "some files vanished"."""
OF_FILES = (3, 11, *VANISHED)
"""rsync's exit codes for what is wrong with files or folders, though the connection is well."""
NAME_ERRORS = (
    "invalid argument",
    "file name too long",
    "illegal byte sequence",
    "incomplete multibyte",
    "no such file or directory",
)
"""What this machine's rsync says of a name that DST can't hold, in lower case."""


@dataclass(frozen=True)
class Job:
    """What all workers of a run share; `src` is an absolute path."""

    run: str
    src: str
    program: Program
    scheduler: Scheduler
    destination: Destination
    board: Board
    models: dict[str, ThroughputModel]
    blame: Blame = field(default_factory=Blame)
    fleet: str = "default"
    logs: LogLimits = field(default_factory=LogLimits)


@dataclass
class _Stage:
    """A stage's work, the queue whose listeners its last thread sends home, and how many threads are still at it."""

    work: Callable[[], None]
    following: queue.Queue[Attempt | None] | None
    left: int = STAGE_CONCURRENCY


class Worker:
    """Runs batches on one host until the scheduler has none for it, or the host is lost.

    `lost` says why then, and `failed_batch` is the batch that it answered about but could not do its part of, if any.
    """

    def __init__(self, job: Job, link: Link, probe: Probe, stats: WorkerStats) -> None:
        self.job, self.link, self.probe, self.stats = job, link, probe, stats
        self.name = link.host
        self.model = job.models.setdefault(self.name, ThroughputModel())
        self.lost = ""
        self.failed_batch: Batch | None = None
        self.settled = 0
        self.strikes = 0
        self.crash: BaseException | None = None
        self._pushed: queue.Queue[Attempt | None] = queue.Queue()
        self._processed: queue.Queue[Attempt | None] = queue.Queue()
        self._spent: queue.SimpleQueue[BatchFolder] = queue.SimpleQueue()
        self._ahead = threading.Semaphore(
            1 + sum(more for stage, more in WARM_UP_PERMITS.items() if self.model.knows(stage))
        )
        self._inside: list[Batch] = []
        self._interrupted: Batch | None = None
        self._entered = 0.0
        self._any_taken = False
        self._any_early = False
        self._proven = threading.Event()
        self._now: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._uplink = Uplink()
        stages = [
            _Stage(self._push_all, self._pushed),
            _Stage(self._process_all, self._processed),
            _Stage(self._pull_all, None),
        ]
        self._threads = [
            threading.Thread(target=self._guard, args=(stage,), daemon=True)
            for stage in stages
            for _ in range(STAGE_CONCURRENCY)
        ]

    def start(self) -> None:
        """Start the stages."""
        for thread in self._threads:
            thread.start()

    def alive(self) -> bool:
        """Whether a stage is still at work."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait for the stages to end: soon, once the link was stopped."""
        for thread in self._threads:
            thread.join()

    def _guard(self, stage: _Stage) -> None:
        """Run a stage; a lost host is given up, and the stage after this one is told to end."""
        try:
            stage.work()
        except Stopped:
            pass
        except HostError as error:
            self.lost = self.lost or str(error)
        except BaseException as error:  # raised in the main thread
            self.crash = error
        finally:
            with self._lock:
                stage.left -= 1
            self._proven.set()
            self._ahead.release()
            if stage.following is not None and not stage.left:
                for _ in range(STAGE_CONCURRENCY):
                    stage.following.put(None)

    def _push_all(self) -> None:
        while True:
            self._wait_for_room()
            self._uplink.wait()
            batch = None if self.lost else self.job.scheduler.next_batch(self.name, self._most, self._worth)
            if batch is None:
                return
            attempt = Attempt(batch, self.name, provisional=self._is_provisional())
            if self._try_stage(attempt, self._push):
                self._pushed.put(attempt)
            else:
                self._ahead.release()

    def _wait_for_room(self) -> None:
        """Wait until one batch more may be on its way."""
        if not self.model.knows("push"):
            if self._ahead.acquire(timeout=SECOND_BATCH_DELAY):
                return
            with self._lock:
                self._any_early = not self.model.knows("push")
            if self._any_early:
                return
        self._ahead.acquire()

    def _process_all(self) -> None:
        while (attempt := self._pushed.get()) is not None and not self.lost:
            if attempt.provisional and self._taken_back(attempt.batch):
                continue
            is_wanted = not self.job.scheduler.stopped and self.job.scheduler.is_needed(attempt.batch)
            done = not is_wanted or self._try_stage(attempt, self._process)
            self._proven.set()
            self._ahead.release()
            if done:
                self._processed.put(attempt)

    def _is_provisional(self) -> bool:
        """Whether the batch just taken has another before it, and was cut while the line's speed alone was known."""
        with self._lock:
            first, self._any_taken = not self._any_taken, True
        return not first and self.model.knows("push") and not self.model.knows("process")

    def _taken_back(self, batch: Batch) -> bool:
        """Wait until a first container has told how long it takes; whether this batch is far too much, and not done.

        Where it is the line that takes long, what has been sent is processed: to send it twice would cost most.
        """
        self._proven.wait()
        if self.model.waits_for_line() or not self.model.knows("process"):
            return False
        if not self.job.scheduler.requeue(batch, lambda waiting: self.model.right(waiting, self._part())):
            return False
        logger.debug("{}: {} is taken back, it is too much", self.name, batch.name)
        self._spent.put(BatchFolder(self.job.run, batch.name))
        self._ahead.release()
        return True

    def _pull_all(self) -> None:
        while (attempt := self._processed.get()) is not None and not self.lost:
            place = BatchFolder(self.job.run, attempt.batch.name)
            if attempt.ended and self.job.scheduler.is_needed(attempt.batch):
                if not self._try_stage(attempt, self._pull):
                    continue
            else:  # a copy of it came home before
                self.job.scheduler.complete(attempt.batch)
                logger.debug("{}: {} is let go", self.name, attempt.batch.name)
            self._spent.put(place)

    def _try_stage(self, attempt: Attempt, work: Callable[[Attempt], None]) -> bool:
        """Do a stage's work on a batch; whether it could be done.

        Raises BatchFailed if the worker may be the reason why not; where the inputs are, they are failed or divided.
        """
        try:
            work(attempt)
        except BatchFailed as error:
            if self.lost or not self.job.scheduler.is_needed(attempt.batch):
                raise
            cause = self.job.blame.failed(attempt.batch, self.name, answers=True, worked=bool(self.settled))
            if cause is Cause.WORKER:
                self.failed_batch = attempt.batch
                raise
            logger.debug("{}: {} failed as it did before: {}", self.name, attempt.batch.name, error)
            workers = self.job.blame.workers(attempt.batch.inputs[0].key)
            self._count(give_up(attempt, f"{workers}: {error}", self.job.scheduler, self.job.destination, self.stats))
            # At once: what it left may fill the disk, and the next batch would fail for it.
            self.link.run(commands.discard_argv(BatchFolder(self.job.run, attempt.batch.name)))
            return False
        return True

    def _count(self, settled: int) -> None:
        """Count inputs that are settled."""
        with self._lock:
            self.settled += settled
        self.job.board.advance(settled)

    @property
    def inside(self) -> Batch | None:
        """The batch that is processed now, or was when the worker was lost."""
        with self._lock:
            return self._inside[0] if self._inside else self._interrupted

    def _most(self, waiting: int) -> int:
        """The weight of this worker's next batch."""
        return self.model.most(waiting, self._part())

    def _part(self) -> float:
        """This worker's part of all that is done in a second (0 to 1)."""
        models = self.job.models.copy()  # other workers may come while this one reckons
        rates = {name: model.rate() for name, model in models.items()}
        known = [rate for rate in rates.values() if rate]
        usual = sum(known) / len(known) if known else 1.0  # those of whom nothing is known are like the others
        return (rates[self.name] or usual) / sum(rate or usual for rate in rates.values())

    def _worth(self, assignment: Assignment, assignments: list[Assignment]) -> bool:
        return is_worth_copying(
            self.model, self.job.models[assignment.worker], assignment, assignments, time.monotonic()
        )

    def _push(self, attempt: Attempt) -> None:
        expected = self.model.seconds("push", sum(map(weight, attempt.batch.inputs)))
        with self._timed("push", attempt.batch), self._uplink.transfer(expected) as seconds:
            self._send(attempt)
            self._note("push", attempt.batch, seconds())

    def _send(self, attempt: Attempt) -> None:
        file_stats = self._hash(attempt)
        place, keys = BatchFolder(self.job.run, attempt.batch.name), [item.key for item in attempt.batch.inputs]
        self._retried("push", lambda: self.link.push(self.job.src, place, keys), sent_what_there_is)
        for key, then in file_stats.items():
            with contextlib.suppress(OSError):
                if file_stat(self._path(key)) == then:
                    continue
            del attempt.hashes[key]  # it changed meanwhile: nobody knows what was sent

    def _hash(self, attempt: Attempt) -> dict[bytes, FileStat]:
        """Read the inputs' hashes; returns what each looked like before."""
        file_stats = {}
        for item in attempt.batch.inputs:
            try:
                then = file_stat(self._path(item.key))
                attempt.hashes[item.key] = self.job.destination.ledger.hash_of(self._path(item.key))
                file_stats[item.key] = then
            except OSError as error:
                attempt.unreadable[item.key] = unreadable(self._path(item.key), error)
        return file_stats

    def _path(self, key: bytes) -> bytes:
        return os.path.join(os.fsencode(self.job.src), key)

    def _process(self, attempt: Attempt) -> None:
        place = BatchFolder(self.job.run, attempt.batch.name)
        spent = [self._spent.get() for _ in range(self._spent.qsize())]
        with self._timed("process", attempt.batch), self._turn(attempt.batch):
            self.job.destination.logs.begin(self.name, attempt.batch.name)
            source = LogSource(self.job.fleet, self.name, self.job.logs)
            done = self.link.run(commands.batch_argv(place, self.job.program, self.probe, source, spent))
            if done.exit_code == 0:
                attempt.ended = time.time()
            elif not self.job.scheduler.stopped:  # then it has no turn any more
                kind = HostError if done.exit_code == SSH_FAILED else BatchFailed
                raise kind(f"could not run a batch ({done.reason})", host=self.name)

    @contextlib.contextmanager
    def _turn(self, batch: Batch) -> Iterator[None]:
        """Know which batch is in the container, the one that came first, and since when.

        Learn from how long it was, unless it came to grief.
        """

        def enter() -> None:
            if self._inside:
                self._entered = time.monotonic()
                self.job.scheduler.start_processing(self._inside[0])

        with self._lock:
            self._inside.append(batch)
            if self._inside[0] is batch:
                enter()
        try:
            yield
        except HostError:
            with self._lock:
                self._interrupted = self._interrupted or self._inside[0]
            raise
        finally:
            with self._lock:
                turn = self._inside[0] is batch
                self._inside.remove(batch)
                seconds = time.monotonic() - self._entered
                if turn:
                    enter()
        if turn:
            self._note("process", batch, seconds)

    def _pull(self, attempt: Attempt) -> None:
        with self._timed("pull", attempt.batch):
            self._bring(attempt, BatchFolder(self.job.run, attempt.batch.name))

    def _bring(self, attempt: Attempt, place: BatchFolder) -> None:
        staging = os.path.join(self.job.destination.staging, f"{self.name}-{attempt.batch.name}")
        self._retried(
            "pull",
            lambda: self.link.pull(place, staging, apart=self.model.waits_for_line()),
            lambda done: self._brought(done),
        )
        self.job.destination.logs.keep(self.name, attempt.batch.name, Path(staging))
        settled, seconds = commit_batch(attempt, staging, self.job.scheduler, self.job.destination, self.stats)
        self.stats.busy("process", seconds)
        shutil.rmtree(staging, ignore_errors=True)
        self._count(settled)

    def _brought(self, done: CommandResult) -> bool:
        """Whether a pull brought all that DST can hold; RunUnfinished where it can't be written."""
        lines = [line for line in done.error.splitlines() if "[receiver]" in line or "[generator]" in line]
        if done.exit_code not in OF_FILES or not lines:
            return done.exit_code == 0
        self.job.destination.check()
        other = [line for line in lines if not any(words in line.lower() for words in NAME_ERRORS)]
        if other:
            raise RunUnfinished(f"DST can't take the results ({other[0]}); make room there")
        return True  # the results of these names are missing, so their inputs fail

    def _retried(self, what: str, call: Callable[[], CommandResult], fine: Callable[[CommandResult], bool]) -> None:
        """Run an rsync, once more if it failed; what arrived the first time doesn't travel again."""
        done = call()
        if not fine(done):
            logger.debug("{}: {} failed ({}), trying once more", self.name, what, done.reason)
            done = call()
        if not fine(done):
            kind = BatchFailed if done.exit_code in OF_FILES else HostError
            raise kind(f"could not {what} a batch ({done.reason})", host=self.name)

    @contextlib.contextmanager
    def _timed(self, stage: str, batch: Batch) -> Iterator[None]:
        """Log and show that a stage is at work on a batch, and note its seconds."""
        begun = time.monotonic()
        logger.debug("{}: {} {} ({} inputs)", self.name, stage, batch.name, len(batch.inputs))
        with self._lock:
            self._now[stage] += len(batch.inputs)
        self._show()
        yield
        seconds = time.monotonic() - begun
        with self._lock:
            self._now[stage] -= len(batch.inputs)
        if stage == "pull":
            self._note(stage, batch, seconds)
        if stage != "process":  # a batch may have waited there for its turn
            self.stats.busy(stage, seconds)
        self._show()

    def _note(self, stage: str, batch: Batch, seconds: float) -> None:
        """Learn from how long a stage took."""
        with self._lock:
            new = stage in WARM_UP_PERMITS and not self.model.knows(stage)
            self.model.note(stage, sum(map(weight, batch.inputs)), seconds)
        if new:
            early = stage == "process" and self._any_early
            self._ahead.release(WARM_UP_PERMITS[stage] - early)

    def _show(self) -> None:
        """Write the worker's line: what each stage has in hand, and what is done."""
        if self.lost:
            return
        failed = f", {len(self.stats.failed)} failed" if self.stats.failed else ""
        busy = "".join(f", {stage} {self._now[stage]}" for stage in STAGES if self._now[stage])
        self.job.board.step(self.name, f"{self.stats.done} done{failed}{busy}")


def sent_what_there_is(done: CommandResult) -> bool:
    """Whether a push brought every input that could be read here; the worker's own troubles are labelled otherwise."""
    if done.exit_code in VANISHED:
        return "[receiver]" not in done.error and "[generator]" not in done.error
    return done.exit_code == 0
