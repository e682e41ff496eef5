"""Lines of logs: read, merged, chosen."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.results import log_lines
from fanrun.fanout.results.log_lines import Choice, Line, Source, Window, merge, parse
from tests.unit.logs_world import DAY, encoded, made, write_batch


def test_a_line_is_read() -> None:
    line = parse(encoded(1.5, "caf\u00e9", level="error", stream="stderr"))
    assert line is not None
    assert (line.time, line.host, line.batch) == (f"{DAY}01.500Z", "worker-1", "worker-1.0001")
    assert (line.stream, line.message, line.level, line.is_partial) == ("stderr", "caf\u00e9", "error", False)
    assert made(1, "x", partial=True).is_partial
    assert not made(1, "x", partial="yes").is_partial


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        encoded(1, "x")[:-9],
        b"\0" * 100,
        b"\xff\xfe",
        b"7",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"[" * 100_000,
        b'{"timestamp":"x"}',
        encoded(1, "x", host=7),
        encoded(1, "x", stream=None),
        encoded(1, "x", timestamp=["x"]),
        encoded(1, "x").replace(b'"worker-1.0001"', b"{}"),
        b'{"message":"not ours"}',
        b"1" * 5000,
    ],
    ids=range(18),
)
def test_what_is_torn_or_foreign_is_no_line(text: bytes) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("message", ["next", "ends in {", '{"level": "error"}', ""])
def test_a_line_that_follows_a_torn_one_is_read(message: str) -> None:
    """A hub that is killed may leave any part of a line, and goes on behind it."""
    torn, whole = encoded(1, 'said {"a": 1} {'), encoded(2, message)
    assert {log_lines.after_torn(torn[:end] + whole) for end in range(1, len(torn) - 1)} == {whole}
    assert {log_lines.after_torn(torn[:end]) for end in range(len(torn) - 2)} == {b""}


def test_the_first_line_of_a_log_may_have_no_batch() -> None:
    text = encoded(1, "x").replace(b'"batch":"worker-1.0001",', b"")
    line = parse(text)
    assert line is not None
    assert line.batch == ""


def read_all(path: Path) -> tuple[list[str], list[str]]:
    """Return the messages of a file, and what is noted of it."""
    notes: list[str] = []
    return [line.message for line in log_lines.read(path, notes.append)], notes


def test_a_file_is_read(tmp_path: Path) -> None:
    path = write_batch(tmp_path, "worker-1.0001", [(1, "a"), (2, "b")])
    assert read_all(path) == (["a", "b"], [])
    path.write_bytes(path.read_bytes() + gzip.compress(b"not ours\n" + encoded(3, "c")))
    assert read_all(path) == (["a", "b", "c"], []), "several gzip files one after the other are one"
    assert log_lines.home_batches(tmp_path) == {"worker-1.0001": path}


def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_batch(tmp_path, "b", [(1, os.urandom(500).hex()) for _ in range(500)])
    path.write_bytes(path.read_bytes()[:-20_000])
    messages, notes = read_all(path)
    assert 100 < len(messages) < 500
    assert notes == [f"{path} is damaged; what follows is missing"]


@pytest.mark.parametrize(
    "data", [b"no gzip at all", gzip.compress(encoded(1, "x"), mtime=0)[:-1], b"\x1f\x8b\x08\0" + b"\xff" * 50]
)
def test_a_damaged_file_is_said(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(data)
    assert read_all(path)[1] == [f"{path} is damaged; what follows is missing"]
    assert log_lines.file_source(path, lambda text: None) is None or data[2:3] == b"\x08"


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl.gz").touch()
    assert read_all(tmp_path / "b.jsonl.gz") == ([], [])


def test_a_file_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl.gz").mkdir()
    assert read_all(tmp_path / "b.jsonl.gz") == ([], [f"{tmp_path / 'b.jsonl.gz'} can't be read (Is a directory)"])


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A host may send what it likes: some KB that would be a line of a GB."""
    path = tmp_path / "b.jsonl.gz"
    bomb = gzip.compress(bytes(10_000_000)) * 100
    path.write_bytes(gzip.compress(encoded(1, "x")) + bomb)
    assert read_all(path) == (["x"], [f"{path} has a line that no container wrote; what follows is not shown"])


def source(*lines: Line) -> Source:
    return Source(lines[0].time, lambda: iter(lines))


def test_lines_are_merged_by_time() -> None:
    one, two = source(made(1, "a"), made(3, "c")), source(made(2, "b", batch="worker-2.0001"), made(4, "d"))
    assert [line.message for line in merge([two, one])] == ["a", "b", "c", "d"]
    assert list(merge([])) == []


def test_a_clock_that_was_set_back_changes_no_order() -> None:
    one = source(made(5, "a"), made(1, "b"), made(6, "c"))
    two = source(made(2, "x", batch="worker-2.0001"), made(5.5, "y", batch="worker-2.0001"))
    assert [line.message for line in merge([one, two])] == ["x", "a", "b", "y", "c"]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), max_size=5))
def test_merging_keeps_all_lines_and_the_order_of_each_source(times: list[list[int]]) -> None:
    batches = [[made(time, f"{name} {place}") for place, time in enumerate(each)] for name, each in enumerate(times)]
    found = [line.message for line in merge([source(*lines) for lines in batches])]
    assert sorted(found) == sorted(line.message for lines in batches for line in lines)
    for name, lines in enumerate(batches):
        assert [text for text in found if text.startswith(f"{name} ")] == [line.message for line in lines]
    if all(each == sorted(each) for each in times):
        by_message = {line.message: line.time for lines in batches for line in lines}
        assert [by_message[text] for text in found] == sorted(by_message.values())


def test_few_sources_are_open_at_once() -> None:
    open_now, most = set[int](), 0

    def numbered(number: int) -> Source:
        def lines() -> Iterator[Line]:
            nonlocal most
            open_now.add(number)
            most = max(most, len(open_now))
            yield made(number, "a")
            yield made(number + 0.5, "b")
            open_now.remove(number)

        return Source(made(number, "a").time, lines)

    assert len(list(merge([numbered(number) for number in range(50)]))) == 100
    assert most <= 2


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice(host="worker-1"), True),
        (Choice(host="worker-2"), False),
        (Choice(batch="worker-1.0001"), True),
        (Choice(batch="worker-1.000"), False),
        (Choice(level="error"), True),
        (Choice(level="warning"), True),
        (Choice(level="critical"), False),
        (Choice(since=f"{DAY}05.000Z"), True),
        (Choice(since=f"{DAY}05.001Z"), False),
        (Choice(pattern=re.compile("o+")), True),
        (Choice(pattern=re.compile("^ood")), False),
        (Choice(windows={}), False),
        (Choice(windows={"worker-1.0001": None}), True),
        (Choice(windows={"worker-1.0001": []}), False),
        (Choice(windows={"worker-1.0001": [Window(f"{DAY}04.000Z", f"{DAY}05.000Z")]}), True),
        (Choice(windows={"worker-1.0001": [Window(f"{DAY}05.100Z", f"{DAY}06.000Z")]}), False),
        (Choice(windows={"worker-2.0001": None}), False),
    ],
)
def test_choice(choice: Choice, taken: bool) -> None:
    assert choice.takes(made(5, "good", level="error")) is taken


def test_a_line_without_a_level_reaches_none() -> None:
    assert not Choice(level="trace").takes(made(1, "x"))
    assert not Choice(level="trace").takes(made(1, "x", level="made up"))


def test_only_files_that_may_have_wanted_lines_are_read() -> None:
    assert Choice(host="worker-1").may_have("worker-1.0001")
    assert not Choice(host="worker-1").may_have("worker-10.0001")
    assert not Choice(batch="worker-1.0002").may_have("worker-1.0001")
    assert not Choice(windows={"worker-1.0002": None}).may_have("worker-1.0001")


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.500Z"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123Z"),
        ("2026-01-31T12:00:00+00:00", "2026-01-31T12:00:00.000Z"),
        ("no time", "no time"),
    ],
)
def test_times_have_milliseconds(text: str, normal: str) -> None:
    assert log_lines.normal_time(text) == normal


@pytest.mark.parametrize(
    ("text", "torn"),
    [
        (b'{"timestamp":"2026-01-\n', True),
        (b'{"a":1}{"b":2}\n', True),
        (b"\0\0\n", True),
        (b"[" * 100_000, True),
        (b'{"message":"no line of ours"}\n', False),
        (encoded(1, "x"), False),
        (b"\n", False),
        (b"", False),
    ],
    ids=range(8),
)
def test_what_is_no_object_was_torn(text: bytes, torn: bool) -> None:
    assert log_lines.is_torn(text) is torn
