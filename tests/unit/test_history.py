"""Which runs a client made."""

from __future__ import annotations

from pathlib import Path

from fanrun.fanout import history
from fanrun.fanout.history import PastRun

ONE, TWO = PastRun("20260101-000000-aaaa", "/one"), PastRun("20260102-000000-bbbb", "/two, caf\u00e9 \udcff")


def test_no_run_is_known_at_first(tmp_path: Path) -> None:
    assert history.find(tmp_path) is None
    assert history.find(tmp_path, "r") is None


def test_runs_are_found_again(tmp_path: Path) -> None:
    history.note(tmp_path, ONE)
    history.note(tmp_path, TWO)
    assert history.find(tmp_path) == TWO
    assert history.find(tmp_path, ONE.run) == ONE
    assert history.find(tmp_path, "other") is None
    assert (tmp_path / history.FILE).stat().st_mode & 0o777 == 0o600


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    history.note(tmp_path, ONE)
    with (tmp_path / history.FILE).open("ab") as file:
        file.write(b'\xff\n[]\n7\n{"run": "x"}\n{"run": "x", "dst": "y", "more": 1}\n{"run": "to')
    assert history.find(tmp_path) == ONE


def test_a_torn_line_spoils_no_later_run(tmp_path: Path) -> None:
    """The disk was full when the line was written."""
    (tmp_path / history.FILE).write_bytes(b'{"run": "to')
    history.note(tmp_path, ONE)
    assert history.find(tmp_path) == ONE


def test_a_folder_that_can_not_be_written_harms_no_run(tmp_path: Path) -> None:
    history.note(tmp_path / "nowhere", ONE)
    (tmp_path / history.FILE).mkdir()
    history.note(tmp_path, ONE)
