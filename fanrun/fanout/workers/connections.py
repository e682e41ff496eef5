"""The connections of a run: a link to each host, made anew when a host comes back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from loguru import logger

from fanrun.fanout import run_commands
from fanrun.fanout.leftovers import Leftovers
from fanrun.fanout.workers.bandwidth import Bandwidth
from fanrun.fanout.workers.executor import CommandResult, Stopped
from fanrun.fanout.workers.link import Link
from fanrun.fleet.errors import FanrunError, FleetError, HostUnreachable
from fanrun.fleet.parallel import FAN_OUT, fan_out
from fanrun.fleet.probe import Probe, parse
from fanrun.fleet.shell import complaint
from fanrun.fleet.store import Folder

MAX_IDLE_SECONDS = 30.0
"""A connection that was made longer ago and not used since is made anew: ssh ends an idle one after a minute."""
CONTAINER_GRACE = 2
"""Seconds that a container has to end by itself when the run is interrupted."""
CLEAN_SECONDS = 20
"""Seconds in which a host that is connected has to end the run there."""

Answers = tuple[dict[str, Probe], dict[str, FanrunError]]
"""What hosts told of themselves, and why others did not: (probes, errors) by name."""


@dataclass(frozen=True)
class Allowance:
    """What a run may take of hosts and lines: `cache` is the maximum number of bytes of inputs that a host keeps.

    None is a quarter of its free disk.
    """

    cache: int | None = None
    bandwidth: Bandwidth = field(default_factory=Bandwidth)


class Connections:
    """Opens links to hosts, makes the folder of the run there, and removes it; safe to use from many threads."""

    def __init__(
        self,
        run: str,
        image: str,
        folder: Folder,
        clock: Callable[[], float] = time.monotonic,
        allowance: Allowance | None = None,
    ) -> None:
        self.folder, self._run, self._image, self._clock = folder, run, image, clock
        self.allowance = allowance or Allowance()
        self._leftovers = Leftovers(folder.path / "runs")
        self._dead: dict[str, set[str]] = {}
        self._held = contextlib.ExitStack()
        self._slots = threading.BoundedSemaphore(FAN_OUT)
        self._count = 0
        self._lock = threading.Lock()
        self._closed = False
        self._names: list[str] = []
        self._opening: Future[tuple[Answers, float]] | None = None
        self.links: dict[str, Link] = {}
        self._unclean: set[str] = set()
        self._swept: set[str] = set()

    @property
    def unclean(self) -> frozenset[str]:
        """The hosts where something of this run may be."""
        return frozenset(self._unclean)

    def begin(self, names: Sequence[str]) -> None:
        """Start to connect to these hosts, and return at once; a second call does nothing."""
        if self._opening is not None:
            return
        self._names, self._opening = list(names), Future()
        self.allowance.bandwidth.workers = len(names)
        self._dead = self._leftovers.dead()
        self._held.enter_context(self._leftovers.hold(self._run, names))
        threading.Thread(target=self._open_beside, args=(self._opening,), daemon=True).start()

    def all_failed(self) -> dict[str, FanrunError]:
        """Return why no host can be connected, once that is known of every host; else nothing."""
        if self._opening is None or not self._opening.done():
            return {}
        (probes, errors), _ = self._opening.result()
        return {} if probes else errors

    def wait(self) -> Answers:
        """Wait until `begin` has tried every host; connect once more if that was long ago.

        Raises Stopped when the run is being closed.
        """
        if self._opening is None:
            return {}, {}
        answers, opened = self._opening.result()
        return answers if self._clock() - opened <= MAX_IDLE_SECONDS else self.open_all(self._names)

    def open_all(self, names: Sequence[str]) -> Answers:
        """Connect to all these hosts and wait for them."""
        return fan_out(names, self.open)

    def add(self, name: str) -> None:
        """Note that the run uses one more host."""
        self._names.append(name)
        self.allowance.bandwidth.workers += 1
        self._leftovers.add(self._run, name)

    def open(self, name: str) -> Probe:
        """Connect to a host, end what earlier connections left there, and return what the host tells of itself.

        Raises HostUnreachable when it does not answer, Stopped when the run is being closed.
        """
        with self._slots:
            link, dead = self._renew(name)
            argv = run_commands.open_and_probe_argv(
                self._run, self._image, dead, link.layout, cache=self.allowance.cache
            )
            done = link.run(argv, timeout=40)
        if done.exit_code != 0:
            raise HostUnreachable(done.reason, host=name)
        answer = done.output.decode(errors="replace")
        if not answer.startswith("left "):
            self._swept.add(name)
        if done.noise:
            raise HostUnreachable(complaint(done.noise), host=name)
        return parse(answer)

    def clean(self, name: str, timeout: float) -> CommandResult:
        """End what runs on a host for this run, and delete the run's folder there."""
        link = self.links[name]
        done = link.last(run_commands.stop_argv(self._run, link.layout), timeout=timeout)
        if done.exit_code == 0:
            self._unclean.discard(name)
        else:
            logger.debug("{}: could not be cleaned ({})", name, done.reason)
        return done

    def halt(self, name: str) -> None:
        """Push nothing more to a host, and end its containers; what they did stays."""
        link = self.links[name]
        link.end_pushes()
        with contextlib.suppress(Stopped):  # it was lost meanwhile
            link.run(run_commands.halt_argv(self._run, CONTAINER_GRACE, link.layout), timeout=20)

    def hold(self, name: str) -> None:
        """Push nothing more to a host, and start no container that waits there for its turn."""
        link = self.links[name]
        link.end_pushes()
        with contextlib.suppress(Stopped):  # it was lost meanwhile
            link.run(run_commands.hold_argv(self._run, link.layout), timeout=20)

    def close(self) -> None:
        """Make no new connections."""
        with self._lock:
            self._closed = True

    def give_up(self) -> None:
        """End all connections of a run that fails before it has workers, and clean the hosts that answer."""
        self.close()

        def end(name: str) -> None:
            link = self.links[name]
            link.stop()
            if link.is_connected():
                self.clean(name, CLEAN_SECONDS)
            link.disconnect()

        try:
            fan_out(self.links, end)
        except KeyboardInterrupt:
            self.abandon()
            raise
        finally:
            self.finish()

    def abandon(self) -> None:
        """End all connections at once; the next run cleans the hosts."""
        self.close()
        fan_out(self.links, lambda name: self.links[name].close())

    def finish(self) -> None:
        """Note which hosts are clean, and let other runs clean the rest."""
        for run in self._dead:
            self._leftovers.cleaned(run, self._swept)
        self._leftovers.cleaned(self._run, set(self._names) - self._unclean)
        self._held.close()
        with contextlib.suppress(FleetError):
            self._leftovers.forget_all_but([host.name for host in self.folder.load().hosts])

    def _open_beside(self, opening: Future[tuple[Answers, float]]) -> None:
        try:
            answers = self.open_all(self._names)
        except BaseException as error:  # raised where the answers are waited for
            opening.set_exception(error)
        else:
            opening.set_result((answers, self._clock()))

    def _renew(self, name: str) -> tuple[Link, list[str]]:
        """Return a new link to a host in place of the earlier one, and the runs that have to be ended there first.

        Raises Stopped when the run is being closed.
        """
        with self._lock:
            if self._closed:
                raise Stopped
            self._count += 1
            before = self.links.get(name)
            parts = f"{self._run}-{self._count}", self._slots, self.allowance.bandwidth
            link = self.links[name] = Link(self.folder, name, *parts)
            self._unclean.add(name)
        if before is not None:
            before.disconnect()
        # A host that comes back may still do what it was told before.
        own = [self._run] if before is not None else []
        return link, [*own, *(run for run, hosts in self._dead.items() if name in hosts)]
