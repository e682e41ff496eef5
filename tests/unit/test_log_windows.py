"""Which part of a batch's lines was written while an input was processed."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from datetime import datetime, timezone
from pathlib import Path

import pytest

from fanrun.fanout.results import log_windows
from fanrun.fanout.results.joblog import Entry, Joblog
from fanrun.fanout.results.log_lines import Window
from tests.unit.logs_world import DAY, write_report

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc).timestamp()


def told(path: str, seconds: float | None, *, ok: bool = True) -> bytes:
    """Return a line of a report."""
    more = {} if seconds is None else {"seconds": seconds}
    return json.dumps({"path": path, "ok": ok, **more}).encode() + b"\n"


def write_joblog(run: Path, *entries: tuple[bytes, str]) -> None:
    """Write a joblog with these keys and batches."""
    run.mkdir(parents=True, exist_ok=True)
    log = Joblog(run / "joblog.tsv")
    log.add([Entry(key, "worker-1", batch, 0, 1, 1, 1, 1, 0) for key, batch in entries])
    log.close()


def window(start: float, end: float) -> Window:
    """Return the window of a report's line, with what is added to both ends."""
    return Window(f"{DAY}{start - 0.11:06.3f}Z", f"{DAY}{end + 0.05:06.3f}Z")


def test_one_after_the_other(tmp_path: Path) -> None:
    write_report(tmp_path / "logs", "b", [told("a", 1), told("cat/1.jpg", 2)], [NOON + 11, NOON + 13])
    assert log_windows.find(tmp_path, b"a") == {"b": [window(10, 11)]}
    assert log_windows.find(tmp_path, b"cat/1.jpg") == {"b": [window(11, 13)]}
    assert log_windows.find(tmp_path, b"cat") == {}


def test_side_by_side(tmp_path: Path) -> None:
    """Two lines came between two looks at the report."""
    write_report(tmp_path / "logs", "b", [told("a", 3) + told("b", 2)], [NOON + 13])
    assert log_windows.find(tmp_path, b"a") == {"b": [window(10, 13)]}
    assert log_windows.find(tmp_path, b"b") == {"b": [window(11, 13)]}


def test_in_several_batches(tmp_path: Path) -> None:
    """A retry, or a copy: each has its part."""
    write_report(tmp_path / "logs", "w.1", [told("a", 1, ok=False)], [NOON + 11])
    write_report(tmp_path / "logs", "w.2", [told("b", 1)], [NOON + 15])
    write_report(tmp_path / "logs", "w.3", [told("a", 1)], [NOON + 21])
    write_joblog(tmp_path, (b"a", "w.3"), (b"b", "w.2"))
    assert log_windows.find(tmp_path, b"a") == {"w.1": [window(10, 11)], "w.3": [window(20, 21)]}


def test_a_program_that_tells_of_an_input_twice(tmp_path: Path) -> None:
    write_report(tmp_path / "logs", "b", [told("a", 1, ok=False), told("a", 1)], [NOON + 11, NOON + 21])
    assert log_windows.find(tmp_path, b"a") == {"b": [window(10, 11), window(20, 21)]}


@pytest.mark.parametrize("report", [[], [told("other", 1)], [told("a", None)], [b"not a report\n"], [b"x" * 3_000_000]])
def test_without_a_usable_report_it_is_the_whole_batch(tmp_path: Path, report: list[bytes]) -> None:
    if report:
        write_report(tmp_path / "logs", "b", report, [NOON + 11])
    write_joblog(tmp_path, (b"a", "b"), (b"other", "b"))
    assert log_windows.find(tmp_path, b"a") == {"b": None}


@pytest.mark.parametrize(
    "key", [b"latin-\xe9\xff.jpg", b"new\nline", b"tab\t", b"back\\slash\\n", "caf\u00e9".encode()]
)
def test_names_of_all_kinds(tmp_path: Path, key: bytes) -> None:
    write_joblog(tmp_path, (key, "w.7"), (b"other", "w.8"))
    assert log_windows.find(tmp_path, key) == {"w.7": None}
    write_report(tmp_path / "logs", "w.7", [told(os.fsdecode(key), 1)], [NOON + 11])
    assert log_windows.find(tmp_path, key) == {"w.7": [window(10, 11)]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.times", b"not numbers\n"),
        ("b.times", b"\xff\n"),
        ("b.times", b"1\n"),
        ("b.report.gz", b"no gzip"),
        ("b.times", b"99999999999999999999 1000\n"),
        ("b.report.gz", gzip.compress(told("a", 1) * 9999, mtime=0)[:30]),
    ],
)
def test_damaged_files_count_as_none(tmp_path: Path, name: str, content: bytes) -> None:
    write_report(tmp_path / "logs", "b", [told("a", 1)], [NOON + 11])
    (tmp_path / "logs" / name).write_bytes(content)
    write_joblog(tmp_path, (b"a", "b"))
    assert log_windows.find(tmp_path, b"a") == {"b": None}


def test_a_run_that_has_nothing_yet(tmp_path: Path) -> None:
    assert log_windows.find(tmp_path, b"a") == {}


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 1, 31, 12, 0, 0, 5999, tzinfo=timezone.utc), "2026-01-31T12:00:00.005Z"),
        (datetime(1, 2, 3, tzinfo=timezone.utc), "0001-02-03T00:00:00.000Z"),
    ],
)
def test_stamp(time: datetime, text: str) -> None:
    assert log_windows.stamp(time) == text


def test_a_file_of_times_that_has_no_end_takes_no_memory(tmp_path: Path) -> None:
    """A host may send what it likes."""
    write_report(tmp_path / "logs", "b", [told("a", 1)], [NOON + 11])
    path = tmp_path / "logs" / "b.times"
    path.write_bytes(b"0 0\n" * 400_000 + path.read_bytes())
    write_report(tmp_path / "logs", "c", [told("a", 1)], [NOON + 11])
    with (tmp_path / "logs" / "c.times").open("wb") as file:
        file.truncate(10**9)
    tracemalloc.start()
    try:
        assert log_windows.find(tmp_path, b"a") == {"b": [window(10, 11)]}
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024**2
    finally:
        tracemalloc.stop()
