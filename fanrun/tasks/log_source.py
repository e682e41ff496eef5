"""Which lines `fab logs` shows: of which run, by which filters, read from where."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from fanrun.fanout import history
from fanrun.fanout.history import PastRun
from fanrun.fanout.results import log_windows
from fanrun.fanout.results.log_lines import LEVELS, Choice
from fanrun.fleet import values
from fanrun.fleet.errors import UsageError
from fanrun.fleet.exit_codes import ExitCode
from fanrun.fleet.store import Folder
from fanrun.tasks import options
from fanrun.tasks.console import RED, Console
from fanrun.tasks.log_printer import Printer
from fanrun.tasks.log_reader import RunFolder, RunReader
from fanrun.tasks.service_logs import ServiceReader

STATE = ".fanrun"
SINCE = re.compile(r"[0-9]+[smhd]?")


def locate(folder: Folder, run: str | None, dst: str | None) -> RunFolder:
    """Return the folder of the run of that name, or of the last one; UsageError if it is not known."""
    if dst is None:
        past = history.find(folder.path, run)
        if past is None:
            last = history.find(folder.path)
            if run is not None and last is not None:
                known = f"whose last one is {last.run}; give its whole name, or the folder with its results: --dst DST"
                raise UsageError(f"run {run!r} is not known of fleet {folder.name}, {known}")
            which = "no run is" if run is None else f"run {run!r} is not"
            raise UsageError(f"{which} known of fleet {folder.name}; name the folder with its results: --dst DST")
        run_folder = _folder_of(past)
        if not run_folder.home.is_dir():
            raise UsageError(f"run {past.run} is not in {past.dst!r} any more; if DST was moved, name it with --dst")
        return run_folder
    runs = Path(dst) / STATE / "runs"
    names = sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    if run is not None and run not in names:
        raise UsageError(f"--run {run!r} is not in {dst!r}; the last one there is {names[-1] if names else 'none'}")
    if not names:
        raise UsageError(f"--dst {dst!r} has no run; give the folder with the results of one")
    return _folder_of(PastRun(run or names[-1], dst))


def _folder_of(past: PastRun) -> RunFolder:
    return RunFolder(past.run, Path(past.dst) / STATE / "runs" / past.run)


def since(text: str | None, now: datetime) -> str:
    """Return the time that `--since` names, as logs have it; "" if none is given.

    UsageError for what is neither a time ago (90s, 10m, 2h, 1d) nor a date and time.
    """
    if text is None:
        return ""
    with contextlib.suppress(ValueError, OverflowError):
        if SINCE.fullmatch(text):
            return log_windows.stamp(now - timedelta(seconds=values.duration("since", text, 0)))
        found = datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith(("Z", "z")) else text)
        return log_windows.stamp(found)  # one without a zone is local
    raise UsageError(f"--since {text!r}: give a time ago, as 10m or 2h, or a time, as 2026-01-31T12:00:00Z")


def choose(run_folder: RunFolder | None, options: Mapping[str, str | None], now: datetime) -> Choice:
    """Return which lines are shown; UsageError for an option with a value that is not valid."""
    level = (options["level"] or "").lower()
    if level and level not in LEVELS:
        raise UsageError(f"--level {level!r}: give one of {', '.join(LEVELS)}")
    try:
        pattern = re.compile(options["grep"]) if options["grep"] is not None else None
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"--grep {options['grep']!r} is no regular expression: {error}") from error
    windows = None
    if run_folder and (key := options["input"]) is not None:
        windows = log_windows.find(run_folder.home, os.fsencode(key.removeprefix("./")))
        if not windows:
            raise UsageError(f"--input {key!r}: run {run_folder.run} has not processed it; give its path under SRC")
    return Choice(options["host"] or "", options["batch"] or "", level, since(options["since"], now), pattern, windows)


def show(reader: RunReader | ServiceReader, printer: Printer, *, is_followed: bool) -> None:
    """Print all lines that the reader yields."""
    lines = reader.follow(time.sleep) if is_followed else reader.lines()
    for line in lines:
        printer.show(line)
    printer.end()


def now() -> datetime:
    """Return the time."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class LogSource:
    """What reads the lines, its name in messages, and whether no more lines will come."""

    reader: RunReader | ServiceReader
    name: str
    is_over: bool


def service_source(folder: Folder, filters: Mapping[str, str | None]) -> LogSource:
    """Return the source of the lines of `fab serve`."""
    return LogSource(ServiceReader(choose(None, filters, now()), folder), "the service", is_over=False)


def run_source(folder: Folder, filters: Mapping[str, str | None], run: str | None, dst: str | None) -> LogSource:
    """Return the source of the lines of a run: the one of that name, or the last one."""
    run_folder = locate(folder, run, None if dst is None else options.path("dst", dst))
    is_over = run_folder.is_over
    return LogSource(
        RunReader(run_folder, choose(run_folder, filters, now()), folder), f"run {run_folder.run}", is_over
    )


def explain(console: Console, source: LogSource, count: int, *, is_filtered: bool) -> None:
    """Say which lines could not be read, and why there are none; exit with 1 where some could not be read."""
    reader = source.reader
    for host_name, why in sorted(reader.problems.items()):
        console.say(f"{host_name}: {console.paint('error:', RED)} its lines could not be read: {why}")
    if not count:
        reason = "no line is as asked for" if is_filtered else "its containers wrote nothing"
        console.say(f"{source.name}: {reader.why_none or reason}")
    if reader.problems:
        raise SystemExit(ExitCode.FAILED)
