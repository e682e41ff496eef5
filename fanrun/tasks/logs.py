"""`fab logs`: what the containers of a run wrote, from DST and from the hosts."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from fanrun.fanout import history
from fanrun.fanout.history import PastRun
from fanrun.fanout.results import log_windows
from fanrun.fanout.results.log_lines import LEVELS, Choice
from fanrun.tasks.log_printer import Printer
from fanrun.tasks.log_reader import Place, Reader
from provision import config
from provision.errors import UsageError
from provision.fleet import Folder

STATE = ".fanrun"
SINCE = re.compile(r"[0-9]+[smhd]?")


def locate(folder: Folder, run: str | None, dst: str | None) -> Place:
    """Return the place of the run of that name, or of the last one; UsageError if it is not known."""
    if dst is None:
        past = history.find(folder.path, run)
        if past is None:
            which = f"run {run} is" if run else "no run is"
            raise UsageError(f"{which} known of fleet {folder.name}; name the folder with its results: --dst DST")
        place = _place(past)
        if not place.home.is_dir():
            raise UsageError(f"run {past.run} is not in {past.dst!r} any more; if DST was moved, name it with --dst")
        return place
    runs = Path(dst) / STATE / "runs"
    names = sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    if run is not None and run not in names:
        raise UsageError(f"--run {run!r} is not in {dst!r}; the last one there is {names[-1] if names else 'none'}")
    if not names:
        raise UsageError(f"--dst {dst!r} has no run; give the folder with the results of one")
    return _place(PastRun(run or names[-1], dst))


def _place(past: PastRun) -> Place:
    return Place(past.run, Path(past.dst) / STATE / "runs" / past.run)


def since(text: str | None, now: datetime) -> str:
    """Return the time that `--since` names, as logs have it; "" if none is given.

    UsageError for what is neither a time ago (90s, 10m, 2h, 1d) nor a date and time.
    """
    if text is None:
        return ""
    with contextlib.suppress(ValueError, OverflowError):
        if SINCE.fullmatch(text):
            return log_windows.stamp(now - timedelta(seconds=config.duration("since", text, 0)))
        found = datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith(("Z", "z")) else text)
        return log_windows.stamp(found)  # one without a zone is local
    raise UsageError(f"--since {text!r}: give a time ago, as 10m or 2h, or a time, as 2026-01-31T12:00:00Z")


def choose(place: Place | None, options: Mapping[str, str | None], now: datetime) -> Choice:
    """Return which lines are wanted; UsageError for an option that can't be meant."""
    level = (options["level"] or "").lower()
    if level and level not in LEVELS:
        raise UsageError(f"--level {level!r}: give one of {', '.join(LEVELS)}")
    try:
        pattern = re.compile(options["grep"]) if options["grep"] is not None else None
    except (re.error, RecursionError) as error:
        raise UsageError(f"--grep {options['grep']!r} is no regular expression: {error}") from error
    windows = None
    if place and (key := options["input"]) is not None:
        windows = log_windows.find(place.home, os.fsencode(key.removeprefix("./")))
        if not windows:
            raise UsageError(f"--input {key!r}: run {place.run} has not processed it; give its path under SRC")
    return Choice(options["host"] or "", options["batch"] or "", level, since(options["since"], now), pattern, windows)


def show(self, line: Line) -> None:
        """Print a line, or keep a piece of one until its end is there."""
        self.count += 1
        if self._as_json:
            record = {name: line.record[name] for name in FIELDS if name in line.record}
            self._write(json.dumps(record, ensure_ascii=False))
            return
        key = (line.host, line.batch, line.stream)
        pieces = self._pieces.setdefault(key, [])
        pieces.append(line)
        if not line.is_partial or len(pieces) >= LONGEST:
            self._print(self._pieces.pop(key))

    def end(self) -> None:
        """Print the lines whose end is missing."""
        for pieces in self._pieces.values():
            self._print(pieces)
        self._pieces.clear()

    def _print(self, pieces: list[Line]) -> None:
        first = pieces[0]
        message = "".join(piece.message for piece in pieces).rstrip("\r")
        self._write(f"{first.time} {first.batch or first.host} | {printable(message)}")


def printable(text: str) -> str:
    """Escape what would change a terminal: control characters but tabs."""
    return "".join(char if char.isprintable() or char == "\t" else ascii(char)[1:-1] for char in text)


class Reader:
    """Brings a run's lines together, from DST and from the hosts that have lines of it that are not there.

    `problems` has the hosts that could not be asked, and why.
    """

    def __init__(self, place: Place, choice: Choice, folder: Folder) -> None:
        self._place, self._choice, self._folder = place, choice, folder
        self._remotes: list[Remote] = []
        self._files: dict[str, RemoteFile] = {}
        self.problems: dict[str, str] = {}

    def lines(self) -> Iterator[Line]:
        """Yield what is wanted, sorted by time."""
        home = log_lines.home_batches(self._place.logs)
        wanted = [path for name, path in home.items() if self._choice.may_have(name)]
        sources = [source for source in map(log_lines.file_source, wanted) if source]
        sources += self._remote_sources(set(home))
        return filter(self._choice.takes, log_lines.merge(sources))

    def follow(self, wait: Callable[[float], None]) -> Iterator[Line]:
        """Yield what is wanted as it is written, until the run is over; `wait` is called between two looks."""
        fresh: dict[str, Fresh] = {}
        is_last = False
        while not is_last:
            is_last = self._place.is_over
            self._find_files(self._hosts())
            news, errors = fan_out(self._files, lambda name: list(self._files[name].read_to_end()))
            self._note(errors)
            lines = [
                line
                for name, found in news.items()
                for line in found
                if fresh.setdefault(name, Fresh(())).takes(line) and self._choice.takes(line)
            ]
            yield from sorted(lines, key=lambda line: line.time)
            if not is_last:
                wait(POLL)

    def close(self) -> None:
        """End the connections."""
        for remote in self._remotes:
            remote.close()

    def _hosts(self) -> list[Host]:
        """Return the workers that have lines which are not in DST."""
        missing = read_missing(self._place.logs)
        if self._place.is_over and not missing:
            return []
        workers = self._folder.load().workers
        return [
            host
            for host in workers
            if self._choice.host in ("", host.name) and (not self._place.is_over or host.name in missing)
        ]

    def _remote_sources(self, home: set[str]) -> list[Source]:
        """Return the sources for lines that are not in DST."""
        self._find_files(self._hosts())
        first, errors = fan_out(self._files, lambda name: self._files[name].read_more())
        self._note(errors)
        return [
            Source(lines[0].time, functools.partial(self._read, name, lines, home))
            for name, lines in first.items()
            if lines
        ]

    def _read(self, name: str, first: list[Line], home: set[str]) -> Iterator[Line]:
        fresh = Fresh(home)
        try:
            for line in itertools.chain(first, self._files[name].read_to_end()):
                if fresh.takes(line):
                    yield line
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
        """Return the workers whose lines are shipped to the hub."""
        try:
            return log_remote.list_shipped(self._connect(hub), self._place.run)
        except FanrunError as error:
            self._note({hub.name: error})
            return ()

    def _connect(self, host: Host) -> Remote:
        remote = Remote(self._folder, host)
        self._remotes.append(remote)
        return remote

    def _note(self, errors: Mapping[str, FanrunError]) -> None:
        self.problems.update({name: str(error) for name, error in errors.items()})


def show(reader: Reader | ServiceReader, printer: Printer, *, is_followed: bool) -> None:
    """Print all lines that are wanted."""
    lines = reader.follow(time.sleep) if is_followed else reader.lines()
    for line in lines:
        printer.show(line)
    printer.end()


def now() -> datetime:
    """Return the time."""
    return datetime.now(timezone.utc)
