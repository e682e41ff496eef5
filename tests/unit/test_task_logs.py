"""`fab logs`: which run, which lines, and how they are printed."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from fanrun.fanout import history
from fanrun.fanout.history import PastRun
from fanrun.fanout.results.log_lines import FIELDS
from fanrun.fanout.results.log_pieces import LONGEST
from fanrun.fleet.errors import UsageError
from fanrun.fleet.lock import exclusive
from fanrun.fleet.store import Folder
from fanrun.tasks import log_source
from fanrun.tasks.log_printer import Printer
from fanrun.tasks.log_reader import RunFolder
from tests.unit.logs_world import DAY, made, write_batch

NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
NONE: dict[str, str | None] = dict.fromkeys(("host", "batch", "input", "grep", "level", "since"))


def add_run(folder: Folder, dst: Path, run: str) -> Path:
    """Note a run and make its folder in DST."""
    history.note(folder.path, PastRun(run, str(dst)))
    home = dst / ".fanrun" / "runs" / run
    home.mkdir(parents=True)
    return home


def test_the_last_run_is_meant(folder: Folder, tmp_path: Path) -> None:
    first, second = add_run(folder, tmp_path / "one", "r1"), add_run(folder, tmp_path / "two", "r2")
    assert log_source.locate(folder, None, None) == RunFolder("r2", second)
    assert log_source.locate(folder, "r1", None) == RunFolder("r1", first)
    assert log_source.locate(folder, None, str(tmp_path / "one")) == RunFolder("r1", first)


def refused(call: object) -> str:
    """Return the text of the UsageError that a call raises; it is one line."""
    assert callable(call)
    with pytest.raises(UsageError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_run_that_is_not_known(folder: Folder, tmp_path: Path) -> None:
    hint = "of fleet default; name the folder with its results: --dst DST"
    assert refused(lambda: log_source.locate(folder, None, None)) == f"no run is known {hint}"
    assert refused(lambda: log_source.locate(folder, "r2", None)) == f"run 'r2' is not known {hint}"
    home = add_run(folder, tmp_path / "one", "r1")
    for name in ("r2", "r", ""):
        assert refused(lambda name=name: log_source.locate(folder, name, None)) == (
            f"run {name!r} is not known of fleet default, whose last one is r1; give its whole name, or the folder "
            "with its results: --dst DST"
        )
    dst = str(tmp_path / "one")
    assert (
        refused(lambda: log_source.locate(folder, "r2", dst))
        == f"--run 'r2' is not in {dst!r}; the last one there is r1"
    )
    assert refused(lambda: log_source.locate(folder, "../runs/r1", dst)).startswith("--run '../runs/r1' is not in")
    home.rename(home.with_name("r0"))
    assert refused(lambda: log_source.locate(folder, "r1", None)).endswith("if DST was moved, name it with --dst")


@pytest.mark.parametrize("made_first", [False, True])
def test_a_dst_without_runs(folder: Folder, tmp_path: Path, made_first: bool) -> None:
    if made_first:
        (tmp_path / "dst" / ".fanrun" / "runs").mkdir(parents=True)
    dst = str(tmp_path / "dst")
    assert (
        refused(lambda: log_source.locate(folder, None, dst))
        == f"--dst {dst!r} has no run; give the folder with the results of one"
    )
    assert (
        refused(lambda: log_source.locate(folder, "r", dst))
        == f"--run 'r' is not in {dst!r}; the last one there is none"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, ""),
        ("90s", "2026-01-31T11:58:30.000Z"),
        ("90", "2026-01-31T11:58:30.000Z"),
        ("10m", "2026-01-31T11:50:00.000Z"),
        ("2h", "2026-01-31T10:00:00.000Z"),
        ("1d", "2026-01-30T12:00:00.000Z"),
        ("0s", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00.250Z", "2026-01-31T12:00:00.250Z"),
    ],
)
def test_since(text: str | None, found: str) -> None:
    assert log_source.since(text, NOW) == found


def test_a_time_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-1")  # one hour east of UTC, on any machine
    time.tzset()
    try:
        assert log_source.since("2026-01-31 13:00", NOW) == "2026-01-31T12:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text", ["", "yesterday", "10 m", "-5m", "1w", "99999999999999d", "2026-13-01", "٣m", "0001-01-01"]
)
def test_since_what(text: str) -> None:
    said = refused(lambda: log_source.since(text, NOW))
    assert said == f"--since {text!r}: give a time ago, as 10m or 2h, or a time, as 2026-01-31T12:00:00Z"


def test_choose(tmp_path: Path) -> None:
    place = RunFolder("r1", tmp_path)
    choice = log_source.choose(place, {**NONE, "host": "worker-1", "level": "WARNING", "grep": "a.c"}, NOW)
    assert (choice.host, choice.level, choice.pattern and choice.pattern.pattern) == ("worker-1", "warning", "a.c")
    assert choice.windows is None
    said = refused(lambda: log_source.choose(place, {**NONE, "level": "loud"}, NOW))
    assert said == "--level 'loud': give one of trace, debug, info, warning, error, critical"
    said = refused(lambda: log_source.choose(place, {**NONE, "input": "cat/9.jpg"}, NOW))
    assert said == "--input 'cat/9.jpg': run r1 has not processed it; give its path under SRC"


@pytest.mark.parametrize("pattern", ["(", "*", "[", "(" * 3000 + ")" * 3000, "a{99999999999}"])
def test_a_pattern_that_is_none(tmp_path: Path, pattern: str) -> None:
    said = refused(lambda: log_source.choose(RunFolder("r1", tmp_path), {**NONE, "grep": pattern}, NOW))
    assert "is no regular expression" in said


def test_a_run_is_dead_that_nobody_holds(tmp_path: Path) -> None:
    place = RunFolder("r1", tmp_path / ".fanrun" / "runs" / "r1")
    place.home.mkdir(parents=True)
    states = [(place.is_dead, place.is_over)]  # there is no lock to tell by
    lock = tmp_path / ".fanrun" / "lock"
    with exclusive(lock, "run r1 (process 7 on here)"):
        states.append((place.is_dead, place.is_over))
    states.append((place.is_dead, place.is_over))
    with exclusive(lock, "run r10 (process 8 on here)"):
        states.append((place.is_dead, place.is_over))
    (place.home / "report.json").touch()
    states.append((place.is_dead, place.is_over))
    assert states == [(False, False), (False, False), (True, False), (True, False), (False, True)]


def shown(*lines: tuple[str, dict[str, object]], as_json: bool = False) -> list[str]:
    """Return what is printed of stdout lines with these messages and fields."""
    out: list[str] = []
    printer = Printer(out.append, as_json=as_json)
    for message, more in lines:
        printer.show(made(1, message, batch=str(more.pop("batch", "worker-1.0001")), **more))
    printer.end()
    return out


HEAD = f"{DAY}01.000Z worker-1.0001 | "


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("plain", "plain"),
        ("tab\tthere", "tab\tthere"),
        ("crlf\r", "crlf"),
        ("progress 1\rprogress 2", "progress 1\\rprogress 2"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m \x7f \x00", "\\x9b31m \\x7f \\x00"),
        ("\u202edrow \u2028 \ufeff", "\\u202edrow \\u2028 \\ufeff"),
        ("caf\u00e9 \U0001f600", "caf\u00e9 \U0001f600"),
        (f"{DAY}01.000Z worker-2.0001 | not mine\nnext", f"{DAY}01.000Z worker-2.0001 | not mine\\nnext"),
        ("", ""),
    ],
)
def test_a_line_for_a_person_changes_no_terminal(message: str, text: str) -> None:
    assert shown((message, {})) == [HEAD + text]


def test_what_is_before_the_message_changes_no_terminal_either() -> None:
    """A worker that somebody else has taken over may send any name."""
    assert shown(("x", {"batch": "evil\x1b[2J"})) == [f"{DAY}01.000Z evil\\x1b[2J | x"]


def test_pieces_of_a_line_are_put_together() -> None:
    other: dict[str, object] = {"batch": "worker-2.0001"}
    lines: list[tuple[str, dict[str, object]]] = [
        ("a", {"partial": True}),
        ("x", other),
        ("b", {"partial": True}),
        ("!", {"stream": "stderr"}),
        ("c", {}),
    ]
    assert shown(*lines) == [f"{DAY}01.000Z worker-2.0001 | x", f"{HEAD}!", f"{HEAD}abc"]


def test_a_line_without_an_end_is_printed_at_the_end() -> None:
    assert shown(("a", {"partial": True}), ("b", {"partial": True})) == [f"{HEAD}ab"]


def test_a_line_whose_end_is_left_out_is_printed_by_itself() -> None:
    lines: list[tuple[str, dict[str, object]]] = [
        ("a", {"partial": True}),
        ("2 lines are left out", {"stream": "fanrun"}),
        ("b", {}),
    ]
    assert shown(*lines) == [f"{HEAD}a", f"{HEAD}2 lines are left out", f"{HEAD}b"]


def test_of_a_huge_line_little_is_kept() -> None:
    piece: dict[str, object] = {"partial": True}
    printed = shown(*[("x", piece)] * (2 * LONGEST + 1))
    assert printed == [HEAD + "x" * LONGEST, HEAD + "x" * LONGEST, f"{HEAD}x"]


def test_as_json_it_is_the_line() -> None:
    (text,) = shown(
        ('"\x1b[31m\x9b\u202e\U000e0001 caf\u00e9', {"level": "error", "file": "f", "offset": 7}), as_json=True
    )
    assert text.isprintable()
    record = json.loads(text)
    assert record["message"] == '"\x1b[31m\x9b\u202e\U000e0001 caf\u00e9'
    assert "caf\u00e9" in text
    assert list(record) == [name for name in FIELDS if name in record], "as the filter writes it, without the shipping"
    assert "offset" not in record


def test_as_json_pieces_stay_pieces() -> None:
    texts = shown(("a", {"partial": True}), ("b", {}), as_json=True)
    assert [json.loads(text).get("partial") for text in texts] == [True, None]


def test_batches_of_dst_are_named_after_their_files(tmp_path: Path) -> None:
    assert write_batch(tmp_path, "worker-1.0001", [(1, "a")]).name == "worker-1.0001.jsonl.gz"
