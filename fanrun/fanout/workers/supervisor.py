"""The workers of a run: who is at work, who is lost, who comes back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from loguru import logger

from fanrun.fanout import commands
from fanrun.fanout.results.commit import Cargo, Tally, give_up
from fanrun.fanout.results.faults import Cause
from fanrun.fanout.results.report import shown
from fanrun.fanout.workers.executor import SSH_FAILED, Stopped
from fanrun.fanout.workers.heartbeat import EVERY, Watch
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.log_rest import fetch_rest
from fanrun.fanout.workers.pipeline import Job, Worker
from fanrun.fanout.workers.termination import Ask, Fates
from fanrun.fleet.errors import FanrunError, HostUnreachable
from fanrun.fleet.parallel import FAN_OUT, fan_out
from fanrun.fleet.probe import Probe, parse
from fanrun.fleet.shell import complaint
from fanrun.fleet.store import Folder

PATIENCE = 0.2
RETURN = 30.0
"""Seconds that a run without any worker waits for one to come back."""
STRIKES = 3
"""A worker that was lost so many times in a row without settling an input stays out."""
SOON = 5
"""Seconds in which a worker must answer that was lost just before the end."""
GRACE = 2
"""Seconds that a container has to end by itself when the run is interrupted."""


@dataclass
class _Absence:
    """A worker that is lost: `again` is when to look for it next, on the monotonic clock; `probe` once it is back.

    `thread` is what closes its connection, and later looks for it; `looked` is whether that was done once.
    """

    again: float
    looking: bool = False
    looked: bool = False
    thread: threading.Thread | None = None
    probe: Probe | None = None
    strikes: int = 0


class Crew:
    """Starts a worker on every host, gives lost ones up and takes them back, and ends them all."""

    def __init__(
        self, job: Job, folder: Folder, fit: Callable[[Probe], str], fates: Ask, dead: Mapping[str, Collection[str]]
    ) -> None:
        """`fit` tells why a host can't take part, "" if it can; `dead` are runs with the hosts they could not clean."""
        self._job, self._folder, self._fit, self._dead = job, folder, fit, dead
        self._fates = Fates(fates, self._explain)
        self._links: dict[str, Link] = {}
        self._workers: dict[str, Worker] = {}
        self._started: list[Worker] = []
        self._absent: dict[str, _Absence] = {}
        self._watch = Watch()
        self._slots = threading.BoundedSemaphore(FAN_OUT)
        self._turns = 0
        self._lock = threading.Lock()
        self._over = False
        self.tallies: dict[str, Tally] = {}
        self.left: set[str] = set()
        """The hosts where something of this run may be."""
        self.swept: set[str] = set()
        """The hosts where what the dead runs left was ended."""

    @property
    def away(self) -> frozenset[str]:
        """The workers that were lost, or never came, and are not back."""
        return frozenset(self._absent)

    def open(self, names: Sequence[str]) -> tuple[dict[str, Probe], dict[str, FanrunError]]:
        """Connect to every host and make room for the run there: (probes, errors) by name.

        One that can't take part now is taken in later if it can.
        """
        probes, errors = fan_out(names, self._open)
        for name in errors:
            self._absent[name] = _Absence(time.monotonic() + EVERY, looked=True)
        return probes, errors

    def work(self, probes: Mapping[str, Probe]) -> None:
        """Let these hosts work until every input is settled, or nobody is left to do it.

        Raises what a worker's own code raised: an error here, not on a host.
        """
        for name, probe in probes.items():
            self._start(name, probe)
        alone_since = 0.0
        while not self._job.deck.wait(PATIENCE):
            self._job.shore.check()
            self._look_after()
            if self._workers.keys() - self._absent.keys():
                alone_since = 0.0
            elif not alone_since:
                alone_since = time.monotonic()
                logger.warning("no worker is left; waiting {:.0f} s for one to come back", RETURN)
            elif time.monotonic() - alone_since > RETURN or not self._awaited():
                return

    def wind_down(self) -> None:
        """Begin nothing new, stop the containers, and bring home what is done."""
        self._job.deck.stop()
        working = {name: worker for name, worker in self._workers.items() if name not in self._absent}

        def halt(name: str) -> None:
            link = self._links[name]
            link.end_pushes()
            with contextlib.suppress(Stopped):  # it was lost meanwhile
                link.run(commands.halt_argv(self._job.run, GRACE), timeout=20)

        threading.Thread(target=lambda: fan_out(working, halt), daemon=True).start()
        while any(worker.alive() for name, worker in working.items() if name not in self._absent):
            self._job.deck.wait(PATIENCE)
            self._look_after()

    def close(self) -> None:
        """End everything here and on the hosts, a host that is gone is passed over; what has arrived is landed.

        Raises what a worker's own code raised: an error here, not on a host.
        """
        self._stop()

        def end(name: str) -> None:
            link = self._links[name]
            link.stop()
            for worker in self._started:
                if worker.name == name:
                    worker.join()
            absence = self._absent.get(name)
            if absence is not None and absence.thread is not None:
                absence.thread.join()
            # One that is lost may have come back, or answer and be unfit: then there is a connection.
            known = absence is None or link.is_connected()
            if known or (absence is not None and not absence.looked):
                done = link.last(commands.stop_argv(self._job.run), timeout=20 if known else SOON)
                self._fetch_rest(name, is_there=done.exit_code != SSH_FAILED)
                if done.exit_code == 0:
                    self.left.discard(name)
                else:
                    logger.debug("{}: could not be cleaned ({})", name, done.reason)
            else:
                self._fetch_rest(name, is_there=False)
            link.disconnect()

        fan_out(self._links, end)
        self._fates.close()
        for worker in self._started:
            if worker.crash is not None:
                raise worker.crash

    def _fetch_rest(self, name: str, *, is_there: bool) -> None:
        """Bring home the lines of batches that did not come home themselves, and say where some stay on the host."""
        logs, why = self._job.shore.logs, "it does not answer"
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
        """Begin nothing any more, no connection either."""
        self._job.deck.stop()
        self._watch.close()
        with self._lock:
            self._over = True

    def _renew(self, name: str) -> tuple[Link, list[str]]:
        """Return a new way to a host, in the place of the one before, and the runs to end there first.

        Stopped when the run is being closed.
        """
        with self._lock:
            if self._over:
                raise Stopped
            self._turns += 1
            before = self._links.get(name)
            link = self._links[name] = Link(self._folder, name, f"{self._job.run}-{self._turns}", self._slots)
            self.left.add(name)
        if before is not None:
            before.disconnect()
        # One that comes back may still be at what it was told before.
        own = [self._job.run] if before is not None else []
        return link, [*own, *(run for run, hosts in self._dead.items() if name in hosts)]

    def _open(self, name: str) -> Probe:
        """Connect, end what an earlier connection left behind, and ask the host how it is."""
        with self._slots:
            link, dead = self._renew(name)
            done = link.run(commands.open_and_probe_argv(self._job.run, self._job.program.ref, dead), timeout=40)
        if done.exit_code != 0:
            raise HostUnreachable(done.reason, host=name)
        answer = done.output.decode(errors="replace")
        if not answer.startswith("left "):
            self.swept.add(name)
        if done.noise:
            raise HostUnreachable(complaint(done.noise), host=name)
        probe = parse(answer)
        reason = self._fit(probe)
        if reason:
            raise HostUnreachable(reason, host=name)
        return probe

    def _start(self, name: str, probe: Probe) -> None:
        tally = self.tallies.setdefault(name, Tally())
        worker = self._workers[name] = Worker(self._job, self._links[name], probe, tally)
        self._job.deck.join(name)
        self._started.append(worker)
        self._watch.add(self._links[name], self._job.run)
        worker.start()

    def _look_after(self) -> None:
        """Give up who is lost, take back who is there again."""
        for name, reason in self._watch.check().items():
            self._workers[name].lost = self._workers[name].lost or reason
        for name, worker in self._workers.items():
            if worker.crash is not None:
                raise worker.crash
            if worker.lost and name not in self._absent:
                self._lose(worker)
        for name, absence in list(self._absent.items()):
            if absence.probe is not None and not self._job.deck.stopped:
                del self._absent[name]
                logger.warning("{} is back", name)
                self._start(name, absence.probe)
                self._workers[name].strikes = absence.strikes
            elif not absence.looking and absence.strikes < STRIKES and time.monotonic() > absence.again:
                absence.looking = True
                absence.thread = threading.Thread(target=self._look_for, args=(name, absence), daemon=True)
                absence.thread.start()

    def _lose(self, worker: Worker) -> None:
        name = worker.name
        parts = self._blame(worker)
        is_input = any(count > 1 for count in parts.values())  # then the worker is not to blame
        strikes = 0 if worker.settled or is_input else worker.strikes + 1
        # Its commands may hang as the host does; nobody waits for their end.
        thread = threading.Thread(target=self._links[name].close, daemon=True)
        thread.start()
        self._absent[name] = _Absence(time.monotonic() + EVERY * strikes, thread=thread, strikes=strikes)
        self._watch.drop(name)
        worker.tally.lost.append(worker.lost)
        count = self._job.deck.lose(name, parts)
        logger.warning("{} is lost: {}; {} batches go to the others", name, worker.lost, count)
        self._job.board.say(name, f"lost: {shown(worker.lost)}")
        self._fates.lost(name)

    def _blame(self, worker: Worker) -> dict[str, int]:
        """Return the batch that may have made a worker fail: {its name: into how many groups its inputs are divided}.

        If it is known which input did, that input fails.
        """
        if worker.failed_batch is not None:
            return {worker.failed_batch.name: 1}
        batch = worker.inside
        if batch is None or not self._job.deck.wanted(batch):
            return {}
        blame = self._job.blame
        cause = blame.failed(batch, worker.name, answers=False, worked=bool(worker.settled))
        if cause is Cause.INPUT:
            workers = blame.workers(batch.inputs[0].key)
            reason = f"{workers} did not survive processing it ({worker.lost})"
            settled = give_up(Cargo(batch, worker.name), reason, self._job.deck, self._job.shore, worker.tally)
            self._job.board.advance(settled)
            return {}
        return {batch.name: 2 if cause is Cause.INPUTS else 1}

    def _explain(self, name: str, why: str) -> None:
        """What the silence was, where somebody knows better."""
        logger.warning("{} is gone: {}", name, why)
        self._job.board.say(name, why)
        self._workers[name].tally.lost[-1] = why

    def _awaited(self) -> bool:
        """Whether a lost worker may still come back."""
        return any(absence.strikes < STRIKES for absence in self._absent.values())

    def _look_for(self, name: str, absence: _Absence) -> None:
        """Try to reach a lost worker; it is taken back when it answers and is fit."""
        try:
            absence.probe = self._open(name)
        except (FanrunError, Stopped) as error:
            logger.debug("{} is not back yet: {}", name, error)
        finally:
            absence.again = time.monotonic() + EVERY
            absence.looking, absence.looked = False, True
