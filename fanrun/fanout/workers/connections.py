"""The connections of a run: a link to each host, made anew when a host comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

from fanrun.fanout import commands
from fanrun.fanout.workers.executor import Stopped
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.link import Link
from fanrun.fleet.errors import HostUnreachable
from fanrun.fleet.parallel import FAN_OUT
from fanrun.fleet.probe import Probe, parse
from fanrun.fleet.shell import complaint
from fanrun.fleet.store import Folder


class Connections:
    """Opens links to hosts and makes room there for the run; safe to use from many threads."""

    def __init__(
        self, job: Job, folder: Folder, fit: Callable[[Probe], str], dead: Mapping[str, Collection[str]]
    ) -> None:
        """`fit` tells why a host can't take part, "" if it can; `dead` are runs with the hosts they could not clean."""
        self._run, self._image = job.run, job.program.ref
        self._folder, self._fit, self._dead = folder, fit, dead
        self._slots = threading.BoundedSemaphore(FAN_OUT)
        self._turns = 0
        self._lock = threading.Lock()
        self._closed = False
        self.links: dict[str, Link] = {}
        self.left: set[str] = set()
        """The hosts where something of this run may be."""
        self.swept: set[str] = set()
        """The hosts where what the dead runs left was ended."""

    def close(self) -> None:
        """Begin no connection any more."""
        with self._lock:
            self._closed = True

    def _renew(self, name: str) -> tuple[Link, list[str]]:
        """Return a new link to a host, in the place of the one before, and the runs to end there first.

        Raises Stopped when the run is being closed.
        """
        with self._lock:
            if self._closed:
                raise Stopped
            self._turns += 1
            before = self.links.get(name)
            link = self.links[name] = Link(self._folder, name, f"{self._run}-{self._turns}", self._slots)
            self.left.add(name)
        if before is not None:
            before.disconnect()
        # One that comes back may still be at what it was told before.
        own = [self._run] if before is not None else []
        return link, [*own, *(run for run, hosts in self._dead.items() if name in hosts)]

    def open(self, name: str) -> Probe:
        """Connect to a host, end what an earlier connection left behind, and return how the host is.

        Raises HostUnreachable when it does not answer or can't take part, Stopped when the run is being closed.
        """
        with self._slots:
            link, dead = self._renew(name)
            done = link.run(commands.open_and_probe_argv(self._run, self._image, dead), timeout=40)
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
