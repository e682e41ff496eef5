"""The workers of a run: who is at work, who is lost, who comes back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from loguru import logger

from fanrun.fanout import commands
from fanrun.fanout.results.report import shown
from fanrun.fanout.workers.blamed_batches import blamed_batches
from fanrun.fanout.workers.connections import Connections
from fanrun.fanout.workers.executor import SSH_FAILED, Stopped
from fanrun.fanout.workers.heartbeat import INTERVAL, Heartbeat
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.log_rest import fetch_rest
from fanrun.fanout.workers.pipeline import Worker
from fanrun.fanout.workers.termination import ReasonSource, TerminationReasons
from fanrun.fleet.errors import FanrunError
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.probe import Probe
from fanrun.fleet.store import Folder

POLL_SECONDS = 0.2
MAX_RETURN_SECONDS = 30.0
"""Seconds that a run without any worker waits for one to come back."""
MAX_STRIKES = 3
"""A worker that was lost so many times in a row without settling an input stays out."""
LAST_ANSWER_SECONDS = 5
"""Seconds in which a worker must answer that was lost just before the end."""
CONTAINER_GRACE = 2
"""Seconds that a container has to end by itself when the run is interrupted."""


@dataclass
class _LostWorker:
    """A worker that is lost: `again` is when to look for it next, on the monotonic clock; `probe` once it is back.

    `thread` is what closes its connection, and later looks for it; `looked` is whether that was done once.
    """

    again: float
    looking: bool = False
    looked: bool = False
    thread: threading.Thread | None = None
    probe: Probe | None = None
    strikes: int = 0


class Supervisor:
    """Starts a worker on every host, gives lost ones up and takes them back, and ends them all."""

    def __init__(
        self,
        job: Job,
        folder: Folder,
        fit: Callable[[Probe], str],
        termination_reasons: ReasonSource,
        dead: Mapping[str, Collection[str]],
    ) -> None:
        """`fit` and `dead` are those of Connections; `termination_reasons` tells why hosts are gone."""
        self._job = job
        self._connections = Connections(job, folder, fit, dead)
        self._termination_reasons = TerminationReasons(termination_reasons, self._explain)
        self._links = self._connections.links
        self._workers: dict[str, Worker] = {}
        self._started: list[Worker] = []
        self._lost_workers: dict[str, _LostWorker] = {}
        self._heartbeat = Heartbeat()

    @property
    def left(self) -> frozenset[str]:
        """The hosts where something of this run may be."""
        return frozenset(self._connections.left)

    @property
    def swept(self) -> frozenset[str]:
        """The hosts where what the dead runs left was ended."""
        return frozenset(self._connections.swept)

    @property
    def away(self) -> frozenset[str]:
        """The workers that were lost, or never came, and are not back."""
        return frozenset(self._lost_workers)

    def open(self, names: Sequence[str]) -> tuple[dict[str, Probe], dict[str, FanrunError]]:
        """Connect to every host and make room for the run there: (probes, errors) by name.

        One that can't take part now is taken in later if it can.
        """
        probes, errors = fan_out(names, self._connections.open)
        for name in errors:
            self._lost_workers[name] = _LostWorker(time.monotonic() + INTERVAL, looked=True)
        return probes, errors

    def work(self, probes: Mapping[str, Probe]) -> None:
        """Let these hosts work until all is settled or no worker is left; raise what a worker's own code raised."""
        for name, probe in probes.items():
            self._start(name, probe)
        alone_since = 0.0
        while not self._job.scheduler.wait(POLL_SECONDS):
            self._job.destination.check()
            self._look_after()
            if self._workers.keys() - self._lost_workers.keys():
                alone_since = 0.0
            elif not alone_since:
                alone_since = time.monotonic()
                logger.warning("no worker is left; waiting {:.0f} s for one to come back", MAX_RETURN_SECONDS)
            elif time.monotonic() - alone_since > MAX_RETURN_SECONDS or not self._awaited():
                return

    def wind_down(self) -> None:
        """Start nothing new, stop the containers, and fetch what is done."""
        self._job.scheduler.stop()
        working = {name: worker for name, worker in self._workers.items() if name not in self._lost_workers}

        def halt(name: str) -> None:
            link = self._links[name]
            link.end_pushes()
            with contextlib.suppress(Stopped):  # it was lost meanwhile
                link.run(commands.halt_argv(self._job.run, CONTAINER_GRACE), timeout=20)

        threading.Thread(target=lambda: fan_out(working, halt), daemon=True).start()
        while any(worker.alive() for name, worker in working.items() if name not in self._lost_workers):
            self._job.scheduler.wait(POLL_SECONDS)
            self._look_after()

    def close(self) -> None:
        """End everything here and on the hosts that answer; raise what a worker's own code raised here."""
        self._stop()

        def end(name: str) -> None:
            link = self._links[name]
            link.stop()
            for worker in self._started:
                if worker.name == name:
                    worker.join()
            lost = self._lost_workers.get(name)
            if lost is not None and lost.thread is not None:
                lost.thread.join()
            # One that is lost may have come back, or answer and be unfit: then there is a connection.
            known = lost is None or link.is_connected()
            if known or (lost is not None and not lost.looked):
                done = link.last(commands.stop_argv(self._job.run), timeout=20 if known else LAST_ANSWER_SECONDS)
                self._fetch_rest(name, is_there=done.exit_code != SSH_FAILED)
                if done.exit_code == 0:
                    self._connections.left.discard(name)
                else:
                    logger.debug("{}: could not be cleaned ({})", name, done.reason)
            else:
                self._fetch_rest(name, is_there=False)
            link.disconnect()

        fan_out(self._links, end)
        self._termination_reasons.close()
        for worker in self._started:
            if worker.crash is not None:
                raise worker.crash

    def _fetch_rest(self, name: str, *, is_there: bool) -> None:
        """Bring home the lines of batches that did not come home themselves, and say where some stay on the host."""
        logs, why = self._job.destination.logs, "it does not answer"
        if is_there:
            why = fetch_rest(self._links[name], self._job.run, logs, 2 * self._job.logs.batch)
        if count := len(logs.missing(name)):
            batches = "a batch" if count == 1 else f"{count} batches"
            logger.warning(
                "{}: what the containers of {} printed stays there ({}); `fab logs` can read it for a day",
                name, batches, why,
            )  # fmt: skip

    def abandon(self) -> None:
        """End everything here at once, and leave the hosts to the next run."""
        self._stop()
        fan_out(self._links, lambda name: self._links[name].close())

    def _stop(self) -> None:
        """Start nothing any more, no connection either."""
        self._job.scheduler.stop()
        self._heartbeat.close()
        self._connections.close()

    def _start(self, name: str, probe: Probe) -> None:
        worker = self._workers[name] = Worker(self._job, self._links[name], probe)
        self._job.scheduler.add_worker(name)
        self._started.append(worker)
        self._heartbeat.add(self._links[name], self._job.run)
        worker.start()

    def _look_after(self) -> None:
        """Give up who is lost, take back who is there again."""
        for name, reason in self._heartbeat.check().items():
            self._workers[name].lost = self._workers[name].lost or reason
        for name, worker in self._workers.items():
            if worker.crash is not None:
                raise worker.crash
            if worker.lost and name not in self._lost_workers:
                self._lose(worker)
        for name, lost in list(self._lost_workers.items()):
            if lost.probe is not None and not self._job.scheduler.stopped:
                del self._lost_workers[name]
                logger.warning("{} is back", name)
                self._start(name, lost.probe)
                self._workers[name].strikes = lost.strikes
            elif not lost.looking and lost.strikes < MAX_STRIKES and time.monotonic() > lost.again:
                lost.looking = True
                lost.thread = threading.Thread(target=self._look_for, args=(name, lost), daemon=True)
                lost.thread.start()

    def _lose(self, worker: Worker) -> None:
        name = worker.name
        parts = blamed_batches(self._job, worker)
        is_input = any(count > 1 for count in parts.values())  # then the worker is not to blame
        strikes = 0 if worker.settled or is_input else worker.strikes + 1
        # Its commands may hang as the host does; nobody waits for their end.
        thread = threading.Thread(target=self._links[name].close, daemon=True)
        thread.start()
        self._lost_workers[name] = _LostWorker(time.monotonic() + INTERVAL * strikes, thread=thread, strikes=strikes)
        self._heartbeat.drop(name)
        worker.stats.lost.append(worker.lost)
        count = self._job.scheduler.remove_worker(name, parts)
        going = "1 batch goes" if count == 1 else f"{count} batches go"
        logger.warning("{} is lost: {}; {} to the others", name, worker.lost, going)
        self._job.board.say(name, f"lost: {shown(worker.lost)}")
        self._termination_reasons.lost(name)

    def _explain(self, name: str, why: str) -> None:
        """Replace why a worker was lost by what its provider says."""
        logger.warning("{} is gone: {}", name, why)
        self._job.board.say(name, why)
        self._workers[name].stats.lost[-1] = why

    def _awaited(self) -> bool:
        """Whether a lost worker may still come back."""
        return any(lost.strikes < MAX_STRIKES for lost in self._lost_workers.values())

    def _look_for(self, name: str, lost: _LostWorker) -> None:
        """Try to reach a lost worker; it is taken back when it answers and is fit."""
        try:
            lost.probe = self._connections.open(name)
        except (FanrunError, Stopped) as error:
            logger.debug("{} is not back yet: {}", name, error)
        finally:
            lost.again = time.monotonic() + INTERVAL
            lost.looking, lost.looked = False, True
