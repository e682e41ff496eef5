"""Which runs `fab runs` shows, and what it says of each."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fanrun.fanout import history, run_list
from fanrun.fanout.history import PastRun
from fanrun.fanout.results.report import Failure, Report, write
from fanrun.fanout.run_list import AT_WORK, RunRow
from fanrun.fleet.errors import UsageError
from fanrun.fleet.lock import exclusive
from tests.unit.reports import REPORT

DONE, FAILED, LEFT, KILLED = (f"20260101-00000{number}-abcd" for number in range(4))


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    """A folder with four runs: all done, one input failed, two are left, and one whose process was killed."""
    reports = {
        DONE: dataclasses.replace(REPORT, image_name="process.py"),
        FAILED: dataclasses.replace(REPORT, done=2, failed=[Failure("a", "dark", "")], exit_code=1),
        LEFT: dataclasses.replace(REPORT, done=1, left=2, exit_code=3),
        KILLED: None,
    }
    for name, report in reports.items():
        folder = tmp_path / ".fanrun" / "runs" / name
        folder.mkdir(parents=True)
        if report:
            write(report, folder / "report.json")
    return tmp_path


def states(rows: list[RunRow]) -> list[str]:
    return [row.state for row in rows]


def test_the_runs_into_a_folder(dst: Path) -> None:
    rows = run_list.of_dst(str(dst))
    assert [row.run for row in rows] == [DONE, FAILED, LEFT, KILLED]
    assert states(rows) == ["done", "inputs failed", "not finished", "no report"]
    assert (rows[1].inputs, rows[1].done, rows[1].failed, rows[1].left) == (3, 2, 1, 0)
    assert (rows[0].image, rows[1].image) == ("process.py", REPORT.image)


def test_the_run_that_holds_the_folder_is_at_work(dst: Path) -> None:
    with exclusive(dst / ".fanrun" / "lock", "a run"):
        assert states(run_list.of_dst(str(dst)))[-2:] == ["not finished", AT_WORK]


def test_a_report_of_an_earlier_version_has_a_state(dst: Path) -> None:
    for name in (DONE, FAILED, LEFT):
        path = dst / ".fanrun" / "runs" / name / "report.json"
        data = json.loads(path.read_text())
        path.write_text(json.dumps({key: data[key] for key in data if key not in ("exit_code", "image_name")}))
    assert states(run_list.of_dst(str(dst)))[:3] == ["done", "inputs failed", "not finished"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seconds": 1}', "\0"])
def test_a_damaged_report_is_no_report(dst: Path, text: str) -> None:
    (dst / ".fanrun" / "runs" / DONE / "report.json").write_text(text)
    assert states(run_list.of_dst(str(dst)))[0] == "no report"


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no runs; give a folder that `fab run` brought results to"):
        run_list.of_dst(str(tmp_path))


def test_the_runs_of_a_fleet(dst: Path) -> None:
    past = [PastRun(DONE, str(dst)), PastRun(KILLED, str(dst)), PastRun("20260101-000009-abcd", "/gone")]
    rows = run_list.of_fleet(past, {KILLED: ["worker-1", "worker-2"], "20260101-000008-cafe": ["worker-2"]})
    assert states(rows) == ["done", AT_WORK, "no report", AT_WORK]
    assert [row.hosts for row in rows] == [(), ("worker-1", "worker-2"), (), ("worker-2",)]
    assert rows[-1] == RunRow("20260101-000008-cafe", "", AT_WORK, hosts=("worker-2",))


def test_the_last_runs_are_known(tmp_path: Path) -> None:
    runs = [PastRun(f"r{number}", f"/dst/{number}") for number in range(30)]
    assert history.last(tmp_path, 5) == []
    for each in runs:
        history.note(tmp_path, each)
    assert history.last(tmp_path, 5) == runs[-5:]
    assert history.last(tmp_path, 99) == runs


def test_the_table_has_a_line_for_each_run_and_nothing_that_a_terminal_would_obey(dst: Path) -> None:
    rows = [*run_list.of_dst(str(dst)), RunRow("r", "/a\x1b[2J", AT_WORK)]
    lines = run_list.table(rows).splitlines()
    assert lines[1].split() == [DONE, "done", "2.0", "s", "3", "3", "0", "0", "0", "process.py", str(dst)]
    assert lines[-1].split() == ["r", "at", "work", "-", "-", "-", "-", "-", "-", "-", "/a\\x1b[2J"]
    assert len(lines) == 6
    assert json.loads(run_list.to_json(rows))[1]["state"] == "inputs failed"


def test_a_report_says_how_the_command_ended() -> None:
    assert {"version", "image_name", "exit_code"} <= {field.name for field in dataclasses.fields(Report)}
