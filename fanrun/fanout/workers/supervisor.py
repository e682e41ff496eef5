"""The workers of a run: they are started, given up when they are lost, and taken back when they answer again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from loguru import logger

from fanrun.fanout.results.faults import Cause
from fanrun.fanout.results.report import shown
from fanrun.fanout.workers.blamed_batches import blamed_batches
from fanrun.fanout.workers.connections import CLEAN_SECONDS, Connections
from fanrun.fanout.workers.executor import SSH_FAILED, Stopped
from fanrun.fanout.workers.heartbeat import INTERVAL, Heartbeat
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.log_rest import bring_rest
from fanrun.fanout.workers.lost_worker import LostWorker
from fanrun.fanout.workers.membership import Membership
from fanrun.fanout.workers.pipeline import Worker
from fanrun.fanout.workers.termination import ReasonSource, TerminationReasons
from fanrun.fleet.errors import FanrunError, HostUnreachable
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.probe import Probe

POLL_SECONDS = 0.2
MAX_RETURN_SECONDS = 30.0
"""Seconds that a run without any worker waits for one to come back."""
MAX_STRIKES = 3
"""A worker that was lost this many times in a row without settling an input stays out."""
LAST_ANSWER_SECONDS = 5
"""Seconds in which a worker that was lost just before the end has to answer."""


class Supervisor:
    """Starts a worker on every host, gives lost ones up and takes them back, and ends them all."""

    def __init__(
        self,
        job: Job,
        connections: Connections,
        unfit: Callable[[Probe], str],
        termination_reasons: ReasonSource,
        membership: Membership,
    ) -> None:
        """`unfit` returns why a host can't take part, "" if it can; `termination_reasons` tells why hosts are gone."""
        self._job, self._connections, self._unfit, self._membership = job, connections, unfit, membership
        self._termination_reasons = TerminationReasons(termination_reasons, self._explain)
        self._links = connections.links
        self._workers: dict[str, Worker] = {}
        self._started: list[Worker] = []
        self._lost_workers: dict[str, LostWorker] = {}
        self._heartbeat = Heartbeat()
        self._freeing: dict[str, threading.Thread] = {}

    @property
    def away(self) -> frozenset[str]:
        """The workers that were lost, or could not take part from the start, and are not back."""
        return frozenset(self._lost_workers.keys() - self._membership.joining)

    def open(self) -> tuple[dict[str, Probe], dict[str, FanrunError]]:
        """Wait until the hosts are connected: (probes of those that can take part, errors of the others) by name.

        A host that can't take part now is taken in later if it can.
        """
        answers, failed = self._connections.wait()
        probes, unfit = fan_out(answers, lambda name: self._fit(name, answers[name]))
        errors = {**failed, **unfit}
        for name in errors:
            self._lost_workers[name] = LostWorker(time.monotonic() + INTERVAL, tried=True)
        return probes, errors

    def _fit(self, name: str, probe: Probe) -> Probe:
        """Return the probe of a host that can take part; raise HostUnreachable for another one."""
        if reason := self._unfit(probe):
            raise HostUnreachable(reason, host=name)
        self._job.prepare(self._links[name], probe)
        return probe

    def work(self, probes: Mapping[str, Probe]) -> None:
        """Let these hosts work until all is settled or no worker is left; raise what a worker's own code raised."""
        for name, probe in probes.items():
            self._start(name, probe)
        without_worker_since = 0.0
        while not self._job.scheduler.wait(POLL_SECONDS):
            self._job.destination.check()
            self._job.check()
            self._check_workers()
            self._follow_membership()
            if self._workers.keys() - self._lost_workers.keys() - self._membership.freed:
                without_worker_since = 0.0
            elif not without_worker_since:
                without_worker_since = time.monotonic()
                logger.warning("no worker is left; waiting {:.0f} s for one to come back", MAX_RETURN_SECONDS)
            elif time.monotonic() - without_worker_since > MAX_RETURN_SECONDS or not self._may_return():
                return

    def wind_down(self, *, now: bool = True) -> None:
        """Start nothing new, and fetch what is done; with `now` stop the containers, else let them finish."""
        self._job.scheduler.stop()
        working = {name: worker for name, worker in self._workers.items() if name not in self._lost_workers}
        end = self._connections.halt if now else self._connections.hold
        threading.Thread(target=lambda: fan_out(working, end), daemon=True).start()
        while any(worker.alive() for name, worker in working.items() if name not in self._lost_workers):
            self._job.scheduler.wait(POLL_SECONDS)
            self._check_workers()

    def close(self) -> None:
        """End everything here and on the hosts that answer; raise what a worker's own code raised here."""
        self._stop()
        fan_out(self._links, self._end_host)
        self._termination_reasons.close()
        for worker in self._started:
            if worker.crash is not None:
                raise worker.crash

    def _end_host(self, name: str) -> None:
        """Stop a host's worker, and clean the host if it answers."""
        link = self._links[name]
        if name in self._membership.freed:
            self._freeing[name].join()
            link.disconnect()
            return
        link.stop()
        for worker in self._started:
            if worker.name == name:
                worker.join()
        lost = self._lost_workers.get(name)
        if lost is not None and lost.thread is not None:
            lost.thread.join()
        # A lost host may have come back, or answer and be unfit: then there is a connection.
        is_connected = lost is None or link.is_connected()
        if is_connected or (lost is not None and not lost.tried):
            done = self._connections.clean(name, CLEAN_SECONDS if is_connected else LAST_ANSWER_SECONDS)
            bring_rest(link, self._job, is_there=done.exit_code != SSH_FAILED)
        else:
            bring_rest(link, self._job, is_there=False)
        link.disconnect()

    def abandon(self) -> None:
        """End everything here at once, and leave the hosts to the next run."""
        self._stop()
        self._connections.abandon()

    def _stop(self) -> None:
        """Start nothing any more, no connection either."""
        self._job.scheduler.stop()
        self._heartbeat.close()
        self._connections.close()

    def _start(self, name: str, probe: Probe) -> None:
        worker = self._workers[name] = Worker(self._job, self._links[name], probe)
        self._job.scheduler.add_worker(name)
        self._started.append(worker)
        self._heartbeat.add(self._links[name], self._job.run, usage=self._job.program.jobs != 1)
        worker.start()

    def _check_workers(self) -> None:
        """Give up workers that are lost, and take back those that answer again."""
        for name, reason in self._heartbeat.check().items():
            self._workers[name].lost = self._workers[name].lost or reason
        for name, samples in self._heartbeat.samples().items():
            self._workers[name].containers.sample(samples)
        for name, worker in self._workers.items():
            if worker.crash is not None:
                raise worker.crash
            if worker.lost and name not in self._lost_workers:
                self._lose(worker)
        for name, lost in list(self._lost_workers.items()):
            if lost.probe is not None and not self._job.scheduler.stopped:
                del self._lost_workers[name]
                logger.warning("{} {}", name, "has joined" if name in self._membership.joining else "is back")
                self._membership.joining.discard(name)
                self._start(name, lost.probe)
                self._workers[name].strikes = lost.strikes
            elif self._is_due(name, lost):
                lost.connecting = True
                lost.thread = threading.Thread(target=self._reconnect, args=(name, lost), daemon=True)
                lost.thread.start()

    def _is_due(self, name: str, lost: LostWorker) -> bool:
        """Return whether it is time to connect to a lost worker once more."""
        may_return = lost.strikes < MAX_STRIKES and name not in self._membership.drained
        return may_return and not lost.connecting and time.monotonic() > lost.retry_at

    def _follow_membership(self) -> None:
        """Connect to workers that are new in the fleet, and let those that are drained come to their end."""
        members, lost = self._membership, self._lost_workers.keys()
        changes = members.look(self._workers.keys(), lost)
        for name in changes.joining:
            self._connections.add(name)
        for name in changes.joining | changes.back:
            self._lost_workers[name] = LostWorker(time.monotonic())
        notices = {name: text for name, text in self._heartbeat.notices().items() if members.end(name)}
        for name, why in {**dict.fromkeys(changes.drained, "is drained"), **notices}.items():
            logger.warning("{} {}: it gets nothing more to do", name, why)
            self._job.scheduler.drain(name)
        for name in members.drained - members.freed - lost:
            if not self._workers[name].alive():
                members.freed.add(name)
                self._heartbeat.drop(name)
                self._freeing[name] = threading.Thread(target=self._free, args=(name,), daemon=True)
                self._freeing[name].start()

    def _free(self, name: str) -> None:
        """Fetch the last log lines from a drained worker, and clean it: it may be gone before the run ends."""
        bring_rest(self._links[name], self._job, is_there=True)
        self._connections.clean(name, CLEAN_SECONDS)

    def _lose(self, worker: Worker) -> None:
        name = worker.name
        parts, cause = blamed_batches(self._job, worker)
        strikes = worker.strikes + 1 if cause is Cause.WORKER else worker.strikes
        if worker.settled or cause is Cause.INPUTS:
            strikes = 0
        # Its commands may hang as the host does; nobody waits for their end.
        thread = threading.Thread(target=self._links[name].close, daemon=True)
        thread.start()
        self._lost_workers[name] = LostWorker(time.monotonic() + INTERVAL * strikes, thread=thread, strikes=strikes)
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

    def _may_return(self) -> bool:
        """Whether a lost worker may still come back."""
        return any(lost.strikes < MAX_STRIKES for lost in self._lost_workers.values())

    def _reconnect(self, name: str, lost: LostWorker) -> None:
        """Try to connect to a lost worker; it is taken back when it answers and is fit."""
        try:
            probe = self._fit(name, self._connections.open(name))
            if probe.marked or name not in self._membership.joining:  # else `fab up` is still at work there
                lost.probe = probe
        except (FanrunError, Stopped) as error:
            logger.debug("{} is not back yet: {}", name, error)
        finally:
            lost.retry_at = time.monotonic() + INTERVAL
            lost.connecting, lost.tried = False, True
