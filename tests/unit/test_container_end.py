"""What a batch left of its end: exit code, last words, manifest, report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.results.container_end import (
    Ending,
    ReportLine,
    explain,
    parse_ending,
    parse_manifest,
    parse_report,
)
from tests.unit.container_ends import DIGEST, ended

ROOT = Path(__file__).resolve().parents[2]


@given(st.binary(max_size=200))
def test_a_garbled_manifest_is_read(data: bytes) -> None:
    parse_manifest(data)
    parse_manifest(data + b"  ./" + data)


@given(st.dictionaries(st.binary(min_size=1, max_size=20).filter(lambda path: 0 not in path), st.just(DIGEST)))
def test_a_manifest_is_what_sha256sum_wrote(manifest: dict[bytes, str]) -> None:
    data = b"".join(b"%s  ./%s\0" % (digest.encode(), path) for path, digest in manifest.items())
    assert parse_manifest(data) == manifest


FIELDS = ["path", "ok", "error", "seconds", ""]


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "ok", "error", "seconds", ""]), inner)
    ),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=200), json_values.map(lambda value: json.dumps(value).encode())))
def test_a_garbled_report_is_read(data: bytes) -> None:
    good = b'\n{"path": "good", "ok": true}\n'
    found = parse_report(data + good + data)
    assert b"good" in found
    assert {(type(line.ok), type(line.error)) for line in found.values()} == {(bool, str)}
    assert all(line.seconds is None or line.seconds >= 0 for line in found.values())


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"path":' * 200_000,
        b'{"path": "\\ud800", "ok": true}',
        b'{"path": "a", "ok": %s}' % (b"9" * 9999),
    ],
    ids=["deep list", "deep object", "lone surrogate", "long number"],
)
def test_a_malicious_report_is_passed_over(data: bytes) -> None:
    assert set(parse_report(data + b'\n{"path": "good", "ok": true}')) <= {b"good", b"a"}


def test_a_report_is_read_line_by_line_and_the_last_one_wins() -> None:
    lines = [
        b'{"path": "a", "ok": false, "error": "first try"}',
        b"Warning: not JSON",
        b"",
        b'{"path": "a", "ok": true}',
        b'{"path": "caf\\u00e9\\udcff", "ok": false}',
        b'{"path": "n\\nl", "ok": "yes", "error": 7}',
        b'{"path": "cut',
        b'{"path": "b", "ok": true, "seconds": 1.5}',
        b'{"path": "c", "ok": true, "seconds": -1}',
        b'{"path": "d", "ok": true, "seconds": "long"}',
        b'{"path": "e", "ok": true, "seconds": 0}',
    ]
    assert parse_report(b"\n".join(lines)) == {
        b"a": ReportLine(True, ""),
        b"caf\xc3\xa9\xff": ReportLine(False, ""),
        b"n\nl": ReportLine(False, "7"),
        b"b": ReportLine(True, "", 1.5),
        b"c": ReportLine(True, ""),
        b"d": ReportLine(True, ""),
        b"e": ReportLine(True, "", 0.0),
    }


@pytest.mark.parametrize(
    ("code", "words"),
    [*((code, f"exit {code}") for code in (0, 1, 124, 126, 127, 255)), (137, "killed"), (139, "segmentation fault")],
)
def test_explain(code: int, words: str) -> None:
    assert explain(ended(code)).startswith(f"the program ended with exit {code}")
    assert words in explain(ended(code))


def test_a_program_that_was_stopped_is_told_from_one_that_exits_so() -> None:
    """A program may exit with 124, 126 or 127 for reasons of its own."""
    late = dataclasses.replace(ended(137), late=True)
    assert explain(late) == "the program finished nothing within the timeout and was stopped: last words"
    assert "timeout" not in explain(ended(124))


@pytest.mark.parametrize(
    ("code", "log", "is_dockers"),
    [
        (125, "docker: Error response from daemon: no such image.\nSee 'docker run --help'.", True),
        (125, 'time="2026-01-01" level=error msg="error waiting for container: unexpected EOF"', True),
        (125, "I give up", False),
        (125, "", False),
        (1, "docker: not here", False),
    ],
)
def test_what_docker_could_not_do_is_told_from_a_program_that_exits_with_its_code(
    code: int, log: str, is_dockers: bool
) -> None:
    assert dataclasses.replace(ended(code), log=log).no_container == is_dockers


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0",
        b"0\n9\n1",
        b"0\n9\n1 2 3",
        b"0\n1 2 3 4",
        b"x\n9\n1 2 3 4 0",
        b"0\n9\n1 2 3 4",
        b"0\n9\n1 2 3 4 5 6",
        b"\xff\n9\n1 2 3 4",
    ],
)
def test_an_end_that_is_not_whole_is_no_end(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_ending(data, b"")


def test_an_end_is_a_code_its_seconds_and_what_is_free() -> None:
    assert parse_ending(b"137\n2500000000\n5 4096 100 7 1\n", b"a\xff\n") == Ending(
        137, "a\ufffd\n", 2.5, 20480, 7, late=True
    )
    assert parse_ending(b"0\n1\n5 4096 0 0 0\n", b"").inodes is None, "a file system that doesn't count them"
    assert parse_ending(b"0\n1\n5 4096 9 0 0\n", b"").inodes == 0


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "it said nothing"),
        (" \n\n", "it said nothing"),
        ("a\n b \n\n", "b"),
        ("docker: no such image.\nSee 'docker run --help'.\n", "docker: no such image."),
    ],
)
def test_what_a_program_said_last(log: str, said: str) -> None:
    assert ended(1, log).said == said


def test_only_docker_can_say_that_there_is_no_program() -> None:
    log = "docker: Error response from daemon: exec: \"x\": executable file not found\nSee 'docker run --help'.\n"
    assert [code for code in (0, 1, 125, 126, 127, 137) if ended(code, log).cannot_start] == [126, 127]
    assert not ended(127, "sh: convert: not found").cannot_start


@pytest.mark.parametrize("seconds", [b"1" + b"0" * 400, b"Infinity", b"NaN", b"-1", b'"x"', b"null"])
def test_seconds_that_no_program_takes_are_passed_over(seconds: bytes) -> None:
    assert parse_report(b'{"path": "a", "ok": true, "seconds": %s}' % seconds) == {b"a": ReportLine(True, "")}
