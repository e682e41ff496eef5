"""Collecting the lines of a run, from DST and from the hosts that have lines which are not in DST."""

from __future__ import annotations

import fcntl
import functools
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from fanrun.fanout.results import log_lines, log_remote
from fanrun.fanout.results.log_fresh import Fresh, Shown
from fanrun.fanout.results.log_lines import Choice, Line, Source
from fanrun.fanout.results.log_pieces import Chooser
from fanrun.fanout.results.log_worker import REST, WorkerLog
from fanrun.fanout.results.logs import read_missing
from fanrun.fleet.errors import FanrunError
from fanrun.fleet.model import Host
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder

POLL = 1.0
"""Seconds between two looks at hosts while a log is followed."""
GONE = "it was removed or renamed; if DST was moved, name it with --dst"


@dataclass(frozen=True)
class RunFolder:
    """A run whose lines are shown, and its folder in DST."""

    run: str
    home: Path

    @property
    def logs(self) -> Path:
        """The folder of the lines."""
        return self.home / "logs"

    @property
    def is_over(self) -> bool:
        """Whether the run has ended and left its report."""
        return (self.home / "report.json").exists()

    @property
    def had_nothing_to_do(self) -> bool:
        """Whether the run started no container, as all results were there before it."""
        try:
            report = json.loads((self.home / "report.json").read_text("utf-8"))
            return bool(report["kept"] == report["inputs"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    @property
    def is_gone(self) -> bool:
        """Whether DST, or the run's folder in it, was removed or renamed."""
        return not self.home.is_dir()

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

    @property
    def has_ended(self) -> bool:
        """Whether nothing of the run goes on."""
        return self.is_over or self.is_dead


class RunReader:
    """Reads the chosen lines of a run; `problems` says by host or batch what could not be read, and why."""

    def __init__(
        self, run_folder: RunFolder, choice: Choice, folder: Folder, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run, self._choice, self._folder, self._clock = run_folder, choice, folder, clock
        self._chooser = Chooser(choice)
        self._remotes: list[Remote] = []
        self._logs: dict[str, WorkerLog] = {}
        self._asleep: dict[str, float] = {}
        self.problems: dict[str, str] = {}

    @property
    def why_none(self) -> str:
        """Return why there is no line whatever is asked for; "" if it is not known."""
        runs = self._run.home.parent
        return (
            f"it had nothing to do; name one before it with --run, from {runs}" if self._run.had_nothing_to_do else ""
        )

    def lines(self) -> Iterator[Line]:
        """Yield the chosen lines, sorted by time."""
        is_last = self._run.has_ended  # before all: it may end meanwhile, and a worker that wrote nothing has no log
        hosts = self._hosts()  # before DST: a batch that comes home meanwhile is on its host as well
        home = log_lines.home_batches(self._run.logs)
        sources = [*self._home_sources(home), *self._remote_sources(hosts, set(home), is_last=is_last)]
        return self._chosen(log_lines.merge(sources))

    def _chosen(self, lines: Iterator[Line]) -> Iterator[Line]:
        yield from self._chooser.choose(lines)
        yield from self._chooser.end()

    def follow(self, wait: Callable[[float], None]) -> Iterator[Line]:
        """Yield the chosen lines as they are written, until the run is over; `wait` is called between two looks."""
        home = log_lines.home_batches(self._run.logs)
        shown, sources = Shown(), self._home_sources(home)
        while True:
            is_gone = self._run.is_gone
            is_last = is_gone or self._run.has_ended
            if is_last:
                self.problems.clear()
            if is_gone:
                self.problems[str(self._run.home)] = GONE
            self._find_logs(self._hosts(), set(home), is_bounded=False)
            parts, is_at_end = self._look(is_last=is_last)
            sources += map(shown.noted, parts)
            yield from self._chooser.choose(log_lines.merge(sources))
            sources = []
            if is_last and is_at_end:
                break
            if is_at_end:
                wait(POLL)
        found = log_lines.home_batches(self._run.logs)
        late = self._home_sources({name: path for name, path in found.items() if name not in home})
        yield from self._chosen(log_lines.merge(map(shown.without, late)))

    def _look(self, *, is_last: bool) -> tuple[list[Source], bool]:
        """Return the next part of each worker's log, and whether those are all; a part is small, for many are held.

        In the last look a host need not answer if all its lines came home.
        """
        names = [name for name in self._logs if is_last or self._asleep.get(name, 0) <= self._clock()]
        is_over = is_last and not self._run.is_gone  # without DST nobody knows whether a worker has to have a log
        parts, errors = fan_out(names, lambda name: self._logs[name].read_more(is_last=is_over))
        self._asleep |= dict.fromkeys(errors, self._clock() + REST)
        needed = read_missing(self._run.logs) if self._run.is_over else self._logs
        self._note({name: error for name, error in errors.items() if name in needed})
        self.problems |= {name: why for name in parts if name in needed and (why := self._logs[name].problem)}
        return [parts[name] for name in names if name in parts], all(self._logs[name].is_at_end for name in parts)

    def close(self) -> None:
        """End the connections."""
        for remote in self._remotes:
            remote.close()

    def _hosts(self) -> list[Host]:
        """Return the workers that may have chosen lines which are not in DST."""
        is_over, missing = self._run.is_over, read_missing(self._run.logs)
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
        chosen = {name: path for name, path in home.items() if self._choice.may_have(name)}
        notes = {name: functools.partial(self.problems.__setitem__, name) for name in chosen}
        found = (log_lines.file_source(path, notes[name]) for name, path in chosen.items())
        return [source for source in found if source]

    def _remote_sources(self, hosts: Iterable[Host], home: set[str], *, is_last: bool) -> list[Source]:
        """Return the sources for lines that are not in DST."""
        self._find_logs(hosts, home, is_bounded=True)
        first, errors = fan_out(self._logs, lambda name: self._logs[name].read_first(is_last=is_last))
        self._note(errors)
        return [
            Source(first[name].start, functools.partial(self._read, name, first[name], is_last=is_last))
            for name in self._logs
            if name in first  # lines of the same time have the same order each time
        ]

    def _read(self, name: str, part: Source, *, is_last: bool) -> Iterator[Line]:
        """Yield the lines of a worker's log from its first part on; only one part is held."""
        log, lines = self._logs[name], part.open()
        del part  # it would be held to the end
        try:
            yield from lines
            while not log.is_at_end:
                yield from log.read_more(is_last=is_last).open()
        except FanrunError as error:
            self._note({name: error})
        else:
            self.problems |= {name: log.problem} if log.problem else {}

    def _find_logs(self, hosts: Iterable[Host], home: set[str], *, is_bounded: bool) -> None:
        """Find where these workers' lines are: on the workers, and at the hub where they are shipped to it."""
        new = [host for host in hosts if host.name not in self._logs]
        if not new:
            return
        hub, run = self._folder.load().hub, self._run.run
        names = self._ask_hub(hub)
        for host in new:
            own, shipped = log_remote.worker_file(self._connect(host), run, is_bounded=is_bounded), None
            if host.name in names:
                shipped = log_remote.hub_file(self._connect(hub), run, host.name, is_bounded=is_bounded)
            self._logs[host.name] = WorkerLog(own, shipped, Fresh(home), run, self._clock)

    def _ask_hub(self, hub: Host) -> Collection[str]:
        """Return the workers whose lines are shipped to the hub; if it does not answer the workers have them too."""
        try:
            return log_remote.list_shipped(self._connect(hub), self._run.run)
        except FanrunError as error:
            logger.debug("{}: {}", hub.name, error)
            return ()

    def _connect(self, host: Host) -> Remote:
        remote = Remote(self._folder, host)
        self._remotes.append(remote)
        return remote

    def _note(self, errors: Mapping[str, FanrunError]) -> None:
        self.problems.update({name: str(error) for name, error in errors.items()})
