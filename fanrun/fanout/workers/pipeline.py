"""One worker's pipeline: the next batches are pushed while one is processed and the last ones are pulled."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loguru import logger

from fanrun.fanout import commands
from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.plan import STAGE_CONCURRENCY, Batch, weight
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.batch_outcome import BatchOutcome, record
from fanrun.fanout.results.commit import commit_batch, give_up
from fanrun.fanout.results.faults import BatchFailed, Cause
from fanrun.fanout.workers.containers import Containers
from fanrun.fanout.workers.executor import Stopped
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.stage import Stage, take
from fanrun.fanout.workers.stage_display import StageDisplay
from fanrun.fanout.workers.transfer import Transfer
from fanrun.fanout.workers.uplink import Uplink
from fanrun.fanout.workers.warm_up import WarmUp
from fanrun.fleet.errors import HostError
from fanrun.fleet.probe import Probe


class Worker:
    """Runs batches on one host until the scheduler has none for it, or the host is lost.

    `lost` says why then, and `failed_batch` is the batch that it answered about but could not do its part of, if any.
    """

    def __init__(self, job: Job, link: Link, probe: Probe) -> None:
        self.job, self.link, self.probe = job, link, probe
        self.name = link.host
        self.stats = job.destination.stats_of(self.name)
        self.model = job.scheduler.model(self.name)
        self.lost = ""
        self.failed_batch: Batch | None = None
        self.settled = self.strikes = 0
        self.crash: BaseException | None = None
        self._pushed: queue.Queue[Attempt | None] = queue.Queue()
        self._processed: queue.Queue[Attempt | None] = queue.Queue()
        self.containers = Containers(job, link, probe, self._resize)
        self.warm_up = WarmUp(self.model, self.containers.count)
        self._display = StageDisplay(job.board, self.name, self.stats)
        self._lock = threading.Lock()
        self._uplink = Uplink()
        self._transfer = Transfer(link, job.src, job.destination, job.cache)
        self._stages = [
            Stage(self._push_all, self._pushed),
            Stage(self._process_all, self._processed),
            Stage(self._pull_all, None),
        ]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the stages."""
        with self._lock:
            for stage in self._stages:
                self._add_threads(stage, STAGE_CONCURRENCY)
        self._resize(self.containers.count)

    def _add_threads(self, stage: Stage, count: int) -> None:
        """Let so many threads more do a stage's work."""
        stage.left += count
        for _ in range(count):
            thread = threading.Thread(target=self._guard, args=(stage,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _resize(self, containers: int) -> None:
        """Process so many batches at the same time, while one more waits on the worker."""
        self.warm_up.resize(containers)
        process = self._stages[1]
        with self._lock:
            if process.left:  # else nothing is left to process
                self._add_threads(process, max(containers + STAGE_CONCURRENCY - 1 - process.left, 0))

    def alive(self) -> bool:
        """Whether a stage is still at work."""
        return any(thread.is_alive() for thread in list(self._threads))

    def join(self) -> None:
        """Wait for the stages to end: soon, once the link was stopped."""
        for thread in list(self._threads):
            thread.join()

    def _guard(self, stage: Stage) -> None:
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
                is_last = not stage.left
            self.warm_up.first_processed.set()
            self.warm_up.release()
            if stage.following is not None and is_last:
                stage.following.put(None)

    def _push_all(self) -> None:
        while True:
            self.warm_up.acquire()
            self._uplink.wait()
            batch = None if self.lost else self.job.scheduler.next_batch(self.name)
            if batch is None:
                return
            attempt = Attempt(batch, self.name, provisional=self.warm_up.is_provisional())
            if self._try_stage(attempt, self._push):
                self._pushed.put(attempt)
            else:
                self.warm_up.release()

    def _process_all(self) -> None:
        while (attempt := take(self._pushed)) is not None and not self.lost:
            if attempt.provisional and self._requeued(attempt.batch):
                continue
            is_needed = not self.job.scheduler.stopped and self.job.scheduler.is_needed(attempt.batch)
            done = not is_needed or self._try_stage(attempt, self._process)
            self.warm_up.first_processed.set()
            self.warm_up.release()
            if done:
                self._processed.put(attempt)

    def _requeued(self, batch: Batch) -> bool:
        """Wait until a first container has shown how long it takes; return whether this batch went back."""
        self.warm_up.first_processed.wait()
        if not self.job.scheduler.requeue(batch):
            return False
        logger.debug("{}: {} is taken back, it is too much", self.name, batch.name)
        self.containers.spend(self._folder(batch))
        self.warm_up.release()
        return True

    def _pull_all(self) -> None:
        while (attempt := take(self._processed)) is not None and not self.lost:
            if attempt.ended and self.job.scheduler.is_needed(attempt.batch):
                if not self._try_stage(attempt, self._pull):
                    continue
            else:  # a copy of it has overtaken it
                self.job.scheduler.complete(attempt.batch)
                logger.debug("{}: {} is let go", self.name, attempt.batch.name)
            self.containers.spend(self._folder(attempt.batch))

    def _try_stage(self, attempt: Attempt, work: Callable[[Attempt], None]) -> bool:
        """Do a stage's work on a batch; whether it could be done.

        Raises BatchFailed if the worker may be the reason why not; where the inputs are, they are failed or divided.
        """
        try:
            work(attempt)
        except BatchFailed as error:
            if self.lost or not self.job.scheduler.is_needed(attempt.batch):
                raise
            cause = self.job.blame.failed(attempt.batch, self.name, answers=True, worked=bool(self.stats.done))
            if cause is Cause.WORKER:
                self.failed_batch = attempt.batch
                raise
            logger.debug("{}: {} failed as it did before: {}", self.name, attempt.batch.name, error)
            reason = f"{self.job.blame.workers(attempt.keys[0])}: {error}"
            self._record(give_up(attempt, reason, self.job.scheduler, self.job.destination))
            # At once: what it left may fill the disk, and the next batch would fail for it.
            self.link.run(commands.discard_argv(self._folder(attempt.batch)))
            return False
        return True

    def _record(self, outcome: BatchOutcome) -> None:
        """Record what a batch came to, and show the progress."""
        record(outcome, self.job.destination)
        with self._lock:
            self.settled += outcome.settled
        self.job.board.advance(outcome.settled)

    def _folder(self, batch: Batch) -> BatchFolder:
        return BatchFolder(self.job.run, batch.name, self.link.layout)

    def _push(self, attempt: Attempt) -> None:
        expected = self.model.seconds("push", sum(map(weight, attempt.batch.inputs)))
        with self._timed("push", attempt.batch), self._uplink.transfer(expected) as seconds:
            self._learn("push", self._transfer.send(attempt, self._folder(attempt.batch)), seconds())

    def _process(self, attempt: Attempt) -> None:
        with self._timed("process", attempt.batch):
            seconds = self.containers.process(attempt, self._folder(attempt.batch))
            if seconds is not None:
                self._observe("process", attempt.batch, seconds)

    def _pull(self, attempt: Attempt) -> None:
        staging = os.path.join(self.job.destination.staging, f"{self.name}-{attempt.batch.name}")
        with self._timed("pull", attempt.batch):
            self._transfer.fetch(self._folder(attempt.batch), staging, apart=self.model.waits_for_uplink())
            self.job.destination.logs.keep(self.name, attempt.batch.name, Path(staging))
            outcome = commit_batch(attempt, staging, self.job.scheduler, self.job.destination)
            if outcome.short_of_memory:
                self.containers.killed_for_memory()
            self._record(outcome)
            self.stats.busy("process", outcome.seconds)
            shutil.rmtree(staging, ignore_errors=True)

    @contextlib.contextmanager
    def _timed(self, stage: str, batch: Batch) -> Iterator[None]:
        """Log and show that a stage is at work on a batch, and note its seconds."""
        started = time.monotonic()
        logger.debug("{}: {} {} ({} inputs)", self.name, stage, batch.name, batch.files)
        self._show(stage, batch.files)
        yield
        seconds = time.monotonic() - started
        if stage == "pull":
            self._observe(stage, batch, seconds)
        if stage != "process":  # a batch may have waited there for its turn
            self.stats.busy(stage, seconds)
        self._show(stage, -batch.files)

    def _observe(self, stage: str, batch: Batch, seconds: float) -> None:
        """Tell the scheduler how long a stage took for a batch."""
        self._learn(stage, sum(map(weight, batch.inputs)), seconds)

    def _learn(self, stage: str, load: int, seconds: float) -> None:
        """Tell the scheduler how long a stage took for that weight; nothing is learned from a weight of 0."""
        if load:
            self.job.scheduler.observe(self.name, stage, load, seconds)
        self.warm_up.learned(stage)

    def _show(self, stage: str, count: int) -> None:
        """Show that so many inputs more are in a stage, unless the worker is lost: its line says why."""
        self._display.add(stage, count)
        if not self.lost:
            self._display.show()
