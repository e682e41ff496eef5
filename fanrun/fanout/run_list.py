"""The runs into a DST, and the last ones of a fleet, by the records that they left."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fanrun.fanout import plan
from fanrun.fanout.history import PastRun
from fanrun.fanout.results.report import shown
from fanrun.fleet.errors import UsageError
from fanrun.fleet.exit_codes import ExitCode
from fanrun.fleet.lock import is_held

AT_WORK = "at work"
STATES = {ExitCode.DONE: "done", ExitCode.FAILED: "inputs failed", ExitCode.UNFINISHED: "not finished"}


@dataclass(frozen=True)
class RunRow:
    """One run; `state` is one of STATES, AT_WORK, or says that there is no report.

    The numbers are those of the report, None without one.  `hosts` are those where the run is at work now.
    """

    run: str
    dst: str
    state: str
    seconds: float | None = None
    inputs: int | None = None
    done: int | None = None
    kept: int | None = None
    failed: int | None = None
    left: int | None = None
    image: str = ""
    hosts: tuple[str, ...] = ()


def of_dst(dst: str) -> list[RunRow]:
    """Return the runs into a DST, the oldest first; UsageError if there are none."""
    state = Path(dst) / os.fsdecode(plan.STATE)
    try:
        names = sorted(path.name for path in (state / "runs").iterdir())
    except OSError as error:
        raise UsageError(f"--dst {dst!r} has no runs; give a folder that `fab run` brought results to") from error
    return [_row(PastRun(name, dst), {}, is_latest=name == names[-1]) for name in names]


def of_fleet(past: Sequence[PastRun], working: Mapping[str, Sequence[str]]) -> list[RunRow]:
    """Return runs that this machine made, and those that are at work now: `working` has the hosts by the run's name."""
    known = {each.run for each in past}
    rows = [_row(each, working) for each in past]
    return rows + [RunRow(run, "", AT_WORK, hosts=tuple(working[run])) for run in sorted(working) if run not in known]


def _row(past: PastRun, working: Mapping[str, Sequence[str]], *, is_latest: bool = False) -> RunRow:
    state = Path(past.dst) / os.fsdecode(plan.STATE)
    hosts = tuple(working.get(past.run, ()))
    report = _read(state / "runs" / past.run / "report.json")
    if report is None:
        is_alive = bool(hosts) or (is_latest and is_held(state / "lock"))
        return RunRow(past.run, past.dst, AT_WORK if is_alive else "no report", hosts=hosts)
    failed, left = len(report["failed"]), report["left"]
    # Reports of earlier versions have no exit code.
    code = report.get("exit_code", ExitCode.UNFINISHED if left else ExitCode.FAILED if failed else ExitCode.DONE)
    numbers = {name: report[name] for name in ("seconds", "inputs", "done", "kept", "left")}
    image = report.get("image_name") or report["image"]
    return RunRow(past.run, past.dst, STATES.get(code, f"exit code {code}"), **numbers, failed=failed, image=image)


def _read(path: Path) -> dict[str, Any] | None:
    """Return a report; None if there is none, or if it can't be read."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, dict) and {"seconds", "inputs", "done", "kept", "left", "failed", "image"} <= found.keys():
            return found
    return None


def to_json(rows: Sequence[RunRow]) -> str:
    """Return the runs as JSON."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def table(rows: Sequence[RunRow]) -> str:
    """Return the runs as a table, a line each; the folder comes last, as it may be long."""
    lines = [["RUN", "STATE", "TIME", "INPUTS", "DONE", "BEFORE", "FAILED", "LEFT", "IMAGE", "DST"]]
    for row in rows:
        numbers = (row.inputs, row.done, row.kept, row.failed, row.left)
        seconds = "-" if row.seconds is None else f"{row.seconds:.1f} s"
        cells = ["-" if number is None else str(number) for number in numbers]
        lines.append([row.run, row.state, seconds, *cells, shown(row.image) or "-", shown(row.dst) or "-"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)] + [0]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
