"""`fab logs`: what the containers of a run wrote, from DST and from the hosts."""

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
from fanrun.tasks import options, target
from fanrun.tasks.console import RED, Console
from fanrun.tasks.log_printer import Printer
from fanrun.tasks.log_reader import RunFolder, RunReader
from fanrun.tasks.options import FLEET
from fanrun.tasks.service_logs import ServiceReader
from fanrun.tasks.task import task

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


@task(
    help={
        "follow": "go on with what is written, until the run is over",
        "run": "the run, by the name that its report has (default: the last one)",
        "host": "only lines of this worker",
        "batch": "only lines of this batch",
        "input_": "only what was written while this input was processed (its path under SRC)",
        "grep": "only messages that match this regular expression",
        "level": f"only lines of this level or above: {', '.join(LEVELS)}",
        "since": "only lines since then: a time ago, as 10m or 2h, or a time, as 2026-01-31T12:00:00Z",
        "json_": "print each line as a JSON object",
        "service": "show what the containers of `fab serve` wrote, and not those of a run",
        "dst": "the folder with the results, where the fleet's folder does not know the run",
        "fleet": FLEET,
    },
)
def logs(
    console: Console,
    follow: bool = False,
    run: str | None = None,
    host: str | None = None,
    batch: str | None = None,
    input_: str | None = None,
    grep: str | None = None,
    level: str | None = None,
    since: str | None = None,
    json_: bool = False,
    service: bool = False,
    dst: str | None = None,
    fleet: str | None = None,
) -> None:
    """Show what the containers of a run wrote: where, when, and while which input was processed."""
    folder = target.folder(console, fleet)
    filters = {"host": host, "batch": batch, "input": input_, "grep": grep, "level": level, "since": since}
    if service:
        options.refuse({"run": run, "batch": batch, "input": input_, "dst": dst}, "--service is about no run")
        source = _service_source(folder, filters)
    else:
        source = _run_source(folder, filters, run, dst)
    printer = Printer(lambda text: print(text, flush=follow), as_json=json_)
    with contextlib.closing(source.reader):
        show(source.reader, printer, is_followed=follow and not source.is_over)
    _explain(console, source, printer.count, is_filtered=any(filters.values()))


@dataclass(frozen=True)
class _LogSource:
    """What reads the lines, its name in messages, and whether no more lines will come."""

    reader: RunReader | ServiceReader
    name: str
    is_over: bool


def _service_source(folder: Folder, filters: Mapping[str, str | None]) -> _LogSource:
    return _LogSource(ServiceReader(choose(None, filters, now()), folder), "the service", is_over=False)


def _run_source(folder: Folder, filters: Mapping[str, str | None], run: str | None, dst: str | None) -> _LogSource:
    run_folder = locate(folder, run, None if dst is None else options.path("dst", dst))
    is_over = run_folder.is_over
    return _LogSource(
        RunReader(run_folder, choose(run_folder, filters, now()), folder), f"run {run_folder.run}", is_over
    )


def _explain(console: Console, source: _LogSource, count: int, *, is_filtered: bool) -> None:
    """Say which lines could not be read, and why there are none; exit with 1 where some could not be read."""
    reader = source.reader
    for host_name, why in sorted(reader.problems.items()):
        console.say(f"{host_name}: {console.paint('error:', RED)} its lines could not be read: {why}")
    if not count:
        reason = "no line is as asked for" if is_filtered else "its containers wrote nothing"
        console.say(f"{source.name}: {reader.why_none or reason}")
    if reader.problems:
        raise SystemExit(ExitCode.FAILED)
