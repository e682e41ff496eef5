"""The containers of one worker: they process its batches, several at a time if there is room."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from loguru import logger

from fanrun.fanout import commands
from fanrun.fanout.commands import BatchFolder, LogSource, Turn
from fanrun.fanout.plan import weight
from fanrun.fanout.program import AUTO, max_containers
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.faults import BatchFailed
from fanrun.fanout.schedule.jobs import Jobs, Sample
from fanrun.fanout.workers.container_slots import ContainerSlots
from fanrun.fanout.workers.executor import SSH_FAILED
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.link import Link
from fanrun.fleet.errors import HostError
from fanrun.fleet.probe import Probe


class Containers:
    """Runs a container for each batch of one worker, as many at a time as `jobs` allows; safe to use from many threads.

    `on_change` is called with the number of containers whenever it changes.
    """

    def __init__(self, job: Job, link: Link, probe: Probe, on_change: Callable[[int], None]) -> None:
        self._job, self._link, self._probe, self._on_change = job, link, probe, on_change
        self.jobs = Jobs(max_containers(job.program, probe), fixed=job.program.jobs != AUTO)
        self._count = self.jobs.count
        self.slots = ContainerSlots(job.scheduler.start_processing, self._count)
        self._model = job.scheduler.model(link.host)
        self._spent: queue.SimpleQueue[BatchFolder] = queue.SimpleQueue()
        self._lock = threading.Lock()
        job.scheduler.set_containers(link.host, self._count, self.jobs.expected)

    @property
    def count(self) -> int:
        """How many containers may run at the same time."""
        return self._count

    def spend(self, folder: BatchFolder) -> None:
        """Note that a batch's folders on the worker are not needed any more."""
        self._spent.put(folder)

    def process(self, attempt: Attempt, folder: BatchFolder) -> float | None:
        """Process a batch on the worker; return the seconds, None if its turn had not come.

        Raises HostError when the worker is lost, BatchFailed when it could not do it.
        """
        load = sum(map(weight, attempt.batch.inputs))
        slot = self.slots.enter(attempt.batch, self._model.seconds("process", load))
        try:
            self._run(attempt, folder, slot)
        except HostError:
            self.slots.interrupt()
            raise
        finally:
            processed = self.slots.leave(attempt.batch)
        if processed is None:
            return None
        if processed.containers:
            with self._lock:
                self.jobs.processed(processed.containers, load, processed.seconds)
            self._follow()
        return processed.seconds

    def sample(self, samples: Sequence[Sample]) -> None:
        """Learn what the containers use; there may be more or fewer of them after it."""
        with self._lock:
            for sample in samples:
                self.jobs.sample(sample)
        self._follow()

    def killed_for_memory(self) -> None:
        """Learn that one of several containers was killed because there was not enough memory."""
        with self._lock:
            self.jobs.killed_for_memory()
        self._follow()

    def _run(self, attempt: Attempt, folder: BatchFolder, slot: int) -> None:
        """Run a batch's container, and remove the folders of spent batches."""
        name, batch = self._link.host, attempt.batch
        self._job.destination.logs.begin(name, batch.name)
        attempt.containers = 1 if batch.exclusive else self._count
        spent = [self._spent.get() for _ in range(self._spent.qsize())]
        source = LogSource(self._job.fleet, name, self._job.logs)
        turn = Turn(slot, attempt.containers, spent)
        argv = commands.batch_argv(folder, self._job.program, self._probe, source, turn)
        result = self._link.run(argv, slot=slot)
        if result.exit_code == 0:
            attempt.ended = time.time()
        elif not self._job.scheduler.stopped:  # then it has no turn any more
            kind = HostError if result.exit_code == SSH_FAILED else BatchFailed
            raise kind(f"could not run a batch ({result.reason})", host=name)

    def _follow(self) -> None:
        """Use as many containers as the measurements say."""
        with self._lock:
            stats = self._job.destination.stats_of(self._link.host)
            stats.containers, stats.cores, stats.containers_reason = self.jobs.count, self.jobs.cores, self.jobs.reason
            count, before = self.jobs.count, self._count
            self._job.scheduler.set_containers(self._link.host, count, self.jobs.expected)
            if count == before:
                return
            self._count = count
            self.slots.resize(count)
        logger.debug("{}: {} containers at a time ({})", self._link.host, count, self.jobs.reason)
        self._on_change(count)
