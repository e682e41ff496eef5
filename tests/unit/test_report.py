"""What a person and a program are told of a run."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.plan import Input
from fanrun.fanout.results.report import (
    Failure,
    Plan,
    Report,
    WorkerReport,
    amount,
    plan_json,
    shown,
    to_json,
    write,
)
from fanrun.fanout.results.report_text import SHOWN, by_reason, more, plan_text, summary
from fanrun.tasks.console import name_fleet
from tests.unit.reports import REPORT
from tests.unit.samples import HOSTILE


def test_json_holds_everything_and_names_that_are_no_utf8() -> None:
    failed = [Failure(os.fsdecode(key), "dark", "worker-1") for key in HOSTILE]
    text = to_json(dataclasses.replace(REPORT, failed=failed))
    assert text.isascii()
    read = json.loads(text)
    assert [os.fsencode(item["path"]) for item in read["failed"]] == list(HOSTILE)
    assert read["workers"][0]["seconds"]["process"] == 1.5
    assert set(read) == {field.name for field in dataclasses.fields(Report)}


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with path.open() as reader:
        write(REPORT, path)
        assert reader.read() == "old"
    assert json.loads(path.read_text()) == dataclasses.asdict(REPORT)
    assert [item.name for item in tmp_path.iterdir()] == ["report.json"]


def test_the_summary_of_a_good_run() -> None:
    assert summary(REPORT).splitlines() == [
        "3 of 3 inputs done in 2.0 s (1.5 files/s), 3.8 MB in, 1.5 kB out",
        "  worker-1   3 done (1.5 files/s): push 0.1 s, process 1.5 s, pull 0.2 s",
    ]


def test_the_summary_names_what_went_wrong() -> None:
    lost = WorkerReport("worker-2", 0, 1, 0, 0, {"push": 0.0}, ["no SSH", "its\nDocker"])
    failed = [
        Failure("d/\x1b[2J.jpg", "cut\nshort", "worker-2", 3, ["Traceback\x07", "short", "d: truncated"]),
        Failure("e.jpg", "dark", "worker-1"),
    ]
    report = dataclasses.replace(REPORT, inputs=9, kept=4, left=5, extra=2, failed=failed, workers=[lost], dst="/a b")
    assert summary(report).splitlines() == [
        "3 of 9 inputs done in 2.0 s (1.5 files/s), 3.8 MB in, 1.5 kB out; 4 were done before",
        "  worker-2   0 done, 1 failed (0.0 files/s): push 0.0 s, lost: no SSH; its\\nDocker; it came back",
        "2 files that belong to no input: in /a b/.fanrun/runs/r/extra",
        "  d/\\x1b[2J.jpg: cut\\nshort (3 tries, the last on worker-2)",
        "    | Traceback\\x07",
        "    | d: truncated",
        "  e.jpg: dark (worker-1)",
        "2 of 9 inputs failed; `fab retry --dst '/a b'` tries them again",
        "5 inputs are left",
    ]
    assert "`fab retry --dst '/a b' --fleet mine`" in name_fleet(summary(report), "mine")


def test_failures_are_told_by_reason() -> None:
    failed = [Failure(f"{number:03}.jpg", "dark", "worker-1", 2) for number in range(100)]
    failed += [Failure("x/odd.jpg", "can't read x/odd.jpg", "worker-2"), Failure("even.jpg", "can't read even.jpg", "")]
    assert summary(dataclasses.replace(REPORT, inputs=200, failed=failed)).splitlines()[2:] == [
        "  100 inputs: dark",
        "    000.jpg (2 tries, the last on worker-1)",
        "    001.jpg (2 tries, the last on worker-1)",
        "    002.jpg (2 tries, the last on worker-1)",
        "    … and 97 more",
        "  2 inputs: can't read {name}",
        "    x/odd.jpg (worker-2)",
        "    even.jpg",
        "102 of 200 inputs failed; `fab retry --dst /dst` tries them again",
        "all of them are in /dst/.fanrun/runs/r/report.json",
    ]


def test_many_reasons_are_cut() -> None:
    failed = [Failure(f"{number:03}", f"reason {number}", "") for number in range(SHOWN + 5)]
    lines = summary(dataclasses.replace(REPORT, inputs=99, failed=failed)).splitlines()
    assert "  … and 5 more reasons" in lines
    assert len(lines) == 2 + SHOWN + 3


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6))))
def test_every_failure_has_one_reason(pairs: list[tuple[str, str]]) -> None:
    failed = [Failure(path, reason, "") for path, reason in pairs]
    found = by_reason(failed)
    assert sorted(id(item) for _, items in found for item in items) == sorted(map(id, failed))
    assert [len(items) for _, items in found] == sorted((len(items) for _, items in found), reverse=True)
    assert all(items[0].reason == reason for reason, items in found if len(items) == 1)


def test_a_run_with_nothing_to_do_says_so() -> None:
    nothing = dataclasses.replace(REPORT, done=0, kept=3, workers=[])
    assert summary(nothing) == "nothing to do: all 3 results are there"
    assert summary(dataclasses.replace(nothing, inputs=1, kept=1)) == "nothing to do: its result is there"


def test_a_long_list_is_cut() -> None:
    assert more(SHOWN) == []
    assert more(SHOWN + 2) == ["  … and 2 more, all in --json"]


PLAN = Plan(7, 4, {"worker-1": [Input(b"a", 1500), Input(b"c", 500)], "worker-2": [Input(b"b", 2)]})


def test_a_plan_for_people() -> None:
    assert plan_text(PLAN, "process.py").splitlines() == [
        "3 inputs (4 are done already), 2.0 kB, image process.py; nothing was done",
        "  worker-1   2 inputs, 2.0 kB",
        "  worker-2   1 input, 2 B",
    ]
    assert "done already" not in plan_text(dataclasses.replace(PLAN, inputs=3, kept=0), "i")


def test_a_plan_for_programs() -> None:
    assert json.loads(plan_json(PLAN, "another:1")) == {
        "image": "another:1",
        "inputs": 7,
        "kept": 4,
        "junk": 0,
        "bytes": 2002,
        "workers": {"worker-1": {"inputs": 2, "bytes": 2000}, "worker-2": {"inputs": 1, "bytes": 2}},
        "groups": [],
        "remarks": [],
        "mounts": [],
        "variables": [],
    }


def test_files_that_were_skipped_are_told() -> None:
    told = "3 skipped (.DS_Store, *~ and the like); --junk takes them"
    assert told in plan_text(dataclasses.replace(PLAN, junk=3), "another:1").splitlines()
    assert told in summary(dataclasses.replace(REPORT, junk=3)).splitlines()
    assert "skipped" not in summary(REPORT)


def test_a_run_that_was_stopped_tells_how_many_inputs_were_not_tried() -> None:
    failed = [Failure("a", "exit 2", "", 1), *(Failure(str(number), "not tried", "", 0) for number in range(9))]
    lines = summary(dataclasses.replace(REPORT, failed=failed, stopped="every batch ends with exit 2")).splitlines()
    assert lines[2:] == [
        "  a: exit 2",
        "  9 were not tried: every batch ends with exit 2",
        "10 of 3 inputs failed; correct the program or its arguments, and type the command again",
    ]


def test_a_run_of_no_time_has_no_rate() -> None:
    nothing = dataclasses.replace(REPORT, seconds=0.0, done=0)
    assert nothing.rate == 0
    assert "(0.0 files/s)" in summary(nothing)


texts = st.text(st.characters(), max_size=20)


@given(texts, texts, texts, texts, texts)
def test_a_terminal_gets_nothing_it_would_obey(path: str, reason: str, lost: str, word: str, dst: str) -> None:
    workers = [WorkerReport("worker-1", 0, 1, 0, 0, {}, [lost])]
    failed = [Failure(path, reason, "worker-1", 2, [word])]
    text = summary(dataclasses.replace(REPORT, failed=failed, workers=workers, dst=dst))
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    assert len(text.split("\n")) == 4 + (word not in reason and reason not in word)


@given(texts)
def test_shown_keeps_what_is_printable(path: str) -> None:
    assert shown(path).isprintable()
    assert not path.isprintable() or shown(path) == path
    shown(path).encode()  # raises where a surrogate is left


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (3_800_000, "3.8 MB"),
        (2.5e9, "2.5 GB"),
        (7e12, "7.0 TB"),
        (7e15, "7000.0 TB"),
    ],
)
def test_amount(count: float, text: str) -> None:
    assert amount(count) == text
