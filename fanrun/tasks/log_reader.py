"""Bringing a run's lines together, from DST and from the hosts that have lines which are not there."""

from __future__ import annotations

import fcntl
import functools
import itertools
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from fanrun.fanout.results import log_lines, log_remote
from fanrun.fanout.results.log_lines import Choice, Fresh, Line, Source
from fanrun.fanout.results.log_remote import RemoteFile
from fanrun.fanout.results.logs import read_missing
from fanrun.fleet.errors import FanrunError
from fanrun.fleet.model import Host
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder

POLL = 1.0
"""Seconds between two looks at hosts while a log is followed."""
REST = 15.0
"""Seconds for which a host that did not answer is not asked again while a log is followed."""


@dataclass(frozen=True)
class Place:
    """A run whose lines are shown, and its folder in DST."""

    run: str
    home: Path

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def is_over(self) -> bool:
        """Whether the run has ended and left its report."""
        return (self.home / "report.json").exists()

    @property
    def is_dead(self) -> bool:
        """Whether the run was killed: nobody holds DST for it, and there is no report."""
        try:
            with (self.home.parents[1] / "lock").open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return not file.read().startswith(f"run {self.run} ".encode())
        except OSError:
            return False
        return not self.is_over


class Reader:
    """Reads the lines of a run that are wanted; `problems` says by host or batch what could not be read, and why."""

    def __init__(
        self, place: Place, choice: Choice, folder: Folder, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._place, self._choice, self._folder, self._clock = place, choice, folder, clock
        self._remotes: list[Remote] = []
        self._files: dict[str, RemoteFile] = {}
        self._asleep: dict[str, float] = {}
        self.problems: dict[str, str] = {}

    def lines(self) -> Iterator[Line]:
        """Yield what is wanted, sorted by time."""
        hosts = self._hosts()  # first: a batch that comes home meanwhile is on its host as well
        home = log_lines.home_batches(self._place.logs)
        sources = [*self._home_sources(home), *self._remote_sources(hosts, set(home))]
        return filter(self._choice.takes, log_lines.merge(sources))

    def follow(self, wait: Callable[[float], None]) -> Iterator[Line]:
        """Yield what is wanted as it is written, until the run is over; `wait` is called between two looks."""
        home = log_lines.home_batches(self._place.logs)
        fresh: dict[str, Fresh] = {}
        sources = self._home_sources(home)
        while True:
            is_last = self._place.is_over or self._place.is_dead
            if is_last:
                self.problems.clear()
            self._find_files(self._hosts())
            news, is_at_end = self._look(is_last=is_last)
            for name, lines in news.items():
                taken = fresh.setdefault(name, Fresh(set(home)))
                sources += [_listed(new)] if (new := [line for line in lines if taken.takes(line)]) else []
            yield from filter(self._choice.takes, log_lines.merge(sources))
            sources = []
            if is_last and is_at_end:
                break
            if is_at_end:
                wait(POLL)
        yield from filter(self._choice.takes, log_lines.merge(self._late_sources(set(home), fresh)))

    def _look(self, *, is_last: bool) -> tuple[dict[str, list[Line]], bool]:
        """Return the next lines of each host, and whether those are all; what one look brings bounds the memory.

        In the last look a host need not answer if all its lines came home.
        """
        names = [name for name in self._files if is_last or self._asleep.get(name, 0) < self._clock()]
        news, errors = fan_out(names, lambda name: self._files[name].read_more())
        self._asleep |= dict.fromkeys(errors, self._clock() + REST)
        needed = read_missing(self._place.logs) if self._place.is_over else self._files
        self._note({name: error for name, error in errors.items() if name in needed})
        return news, all(self._files[name].is_at_end for name in news)

    def close(self) -> None:
        """End the connections."""
        for remote in self._remotes:
            remote.close()

    def _late_sources(self, home: set[str], fresh: Mapping[str, Fresh]) -> list[Source]:
        """Return the sources for lines that came home, but not from a host before."""
        found = log_lines.home_batches(self._place.logs)
        late = self._home_sources({name: path for name, path in found.items() if name not in home})
        counts = sum((each.count for each in fresh.values()), start=Counter[str]())
        return [_without_first(source, counts) for source in late]

    def _hosts(self) -> list[Host]:
        """Return the workers that may have wanted lines which are not in DST."""
        is_over, missing = self._place.is_over, read_missing(self._place.logs)
        needed = {name for name, batches in missing.items() if any(map(self._choice.may_have, batches))}
        if is_over and not needed:
            return []
        try:
            known = {host.name: host for host in self._folder.load().workers}
        except FanrunError as error:
            self._note(dict.fromkeys(needed if is_over else {f"fleet {self._folder.name}"}, error))
            return []
        if not is_over:
            return [host for name, host in known.items() if self._choice.host in ("", name)]
        self.problems |= dict.fromkeys(needed - known.keys(), f"it is not in fleet {self._folder.name} any more")
        return [known[name] for name in sorted(needed & known.keys())]

    def _home_sources(self, home: Mapping[str, Path]) -> list[Source]:
        """Return the sources for lines that are in DST."""
        wanted = {name: path for name, path in home.items() if self._choice.may_have(name)}
        notes = {name: functools.partial(self.problems.__setitem__, name) for name in wanted}
        found = (log_lines.file_source(path, notes[name]) for name, path in wanted.items())
        return [source for source in found if source]

    def _remote_sources(self, hosts: Iterable[Host], home: set[str]) -> list[Source]:
        """Return the sources for lines that are not in DST."""
        self._find_files(hosts)
        first, errors = fan_out(self._files, lambda name: self._files[name].read_more())
        self._note(errors)
        if self._place.is_over:
            gone = [name for name in first if not self._files[name].is_there]
            self.problems |= dict.fromkeys(gone, "it has no log of this run, or none any more")
        sources = []
        for name, lines in first.items():
            fresh = Fresh(home)
            start = min((line.time for line in lines), default="")
            sources.append(Source(start, functools.partial(self._read, name, lines, fresh)))
        return sources

    def _read(self, name: str, first: list[Line], fresh: Fresh) -> Iterator[Line]:
        file = self._files[name]
        more = iter(()) if file.is_at_end else file.read_to_end()
        try:
            yield from filter(fresh.takes, itertools.chain(first, more))
        except FanrunError as error:
            self._note({name: error})

    def _find_files(self, hosts: Iterable[Host]) -> None:
        """Find where these workers' lines are: at the hub if they are shipped there, else on the workers."""
        new = [host for host in hosts if host.name not in self._files]
        if not new:
            return
        hub = self._folder.load().hub
        shipped = self._ask_hub(hub)
        for host in new:
            if host.name in shipped:
                self._files[host.name] = log_remote.hub_file(self._connect(hub), self._place.run, host.name)
            else:
                self._files[host.name] = log_remote.worker_file(self._connect(host), self._place.run)

    def _ask_hub(self, hub: Host) -> Collection[str]:
        """Return the workers whose lines are shipped to the hub; if it does not answer the workers have them too."""
        try:
            return log_remote.list_shipped(self._connect(hub), self._place.run)
        except FanrunError as error:
            logger.debug("{}: {}", hub.name, error)
            return ()

    def _connect(self, host: Host) -> Remote:
        remote = Remote(self._folder, host)
        self._remotes.append(remote)
        return remote

    def _note(self, errors: Mapping[str, FanrunError]) -> None:
        self.problems.update({name: str(error) for name, error in errors.items()})


def _listed(lines: list[Line]) -> Source:
    return Source(lines[0].time, lambda: iter(lines))


def _without_first(source: Source, counts: Mapping[str, int]) -> Source:
    """Return a source of one batch without as many of its first lines as `counts` says."""

    def lines() -> Iterator[Line]:
        left = -1
        for line in source.open():
            left = counts.get(line.batch, 0) if left < 0 else left
            if left == 0 or line.record.get("stream") == log_lines.OWN:
                yield line
            else:
                left -= 1

    return Source(source.start, lines)
