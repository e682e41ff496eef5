"""What a person reads: commands that name the fleet, and questions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fanrun.fleet.config import usual_fleet
from fanrun.tasks.console import Console, name_fleet, one_line
from tests.terminal import talk

ROOT = Path(__file__).resolve().parents[2]
ASKING = """
import sys
from fanrun.tasks.console import Console
Console().confirm("this will end hub", yes="--yes" in sys.argv)
print("done")
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`fab up` makes one", "`fab up --fleet blue` makes one"),
        ("`fab ssh --host hub`, `fab status`", "`fab ssh --host hub --fleet blue`, `fab status --fleet blue`"),
        ("`fab down --fleet red` ends it", "`fab down --fleet red` ends it"),
        ("`fab down --fleet=red` ends it", "`fab down --fleet=red` ends it"),
        ("`fab sample` and `fab verify --dst x`", "`fab sample` and `fab verify --dst x`"),
        ("`fab --help run` shows it", "`fab --help run` shows it"),
        ("after the last fab command", "after the last fab command"),
        ("`fab\nup`", "`fab\nup`"),
    ],
)
def test_commands_name_the_fleet(text: str, expected: str) -> None:
    assert name_fleet(text, "blue") == expected
    assert name_fleet(expected, "blue") == expected
    assert name_fleet(text, "") == text


@pytest.mark.parametrize(
    ("file", "environment", "expected"),
    [
        ({}, {}, "default"),
        ({"fleet": "red"}, {}, "red"),
        ({"fleet": "red"}, {"FANRUN_FLEET": "blue"}, "blue"),
        ({"fleet": None}, {"FANRUN_FLEET": ""}, "default"),
    ],
)
def test_the_fleet_that_is_meant_without_a_flag(
    file: dict[str, object], environment: dict[str, str], expected: str
) -> None:
    assert usual_fleet(file, environment) == expected


def test_everything_a_person_reads_names_the_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.fleet = "blue"
    board = console.board()
    board.say("hub", "`fab up`")
    board.write("`fab down`\n")
    console.say("`fab status`")
    console.log("`fab run`\n")
    console.show("`fab ssh`")
    out, err = capsys.readouterr()
    named = ["hub        `fab up --fleet blue`", "`fab down --fleet blue`", "`fab status --fleet blue`"]
    assert err.splitlines() == [*named, "`fab run --fleet blue`"]
    assert out == "`fab ssh --fleet blue`\n"


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Console().error("first\n  second\r\n\nthird")
    assert capsys.readouterr().err == "error: first second third\n"
    assert one_line("a  b") == "a  b"


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"y\n", 0, "done"),
        (b"YES\n", 0, "done"),
        (b"n\n", 1, "nothing was changed"),
        (b"\n", 1, "nothing was changed"),
        (b"\xff\n", 1, "nothing was changed"),
        (b"\x04", 1, "nothing was changed"),
    ],
)
def test_a_question_at_a_terminal(answer: bytes, code: int, words: str) -> None:
    argv = [sys.executable, "-c", ASKING]
    done = talk(argv, {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}, "Go on? [y/N]", answer, cwd=ROOT)
    assert "this will end hub. Go on? [y/N]" in done.text
    assert (done.code, words in done.text) == (code, True)
    assert ("done" in done.text) == (code == 0)


def test_yes_is_an_answer() -> None:
    argv = [sys.executable, "-c", ASKING, "--yes"]
    done = talk(argv, {"PYTHONPATH": str(ROOT)}, "Go on?", b"n\n", cwd=ROOT)
    assert (done.code, done.text) == (0, "done\n")


def test_without_a_terminal_nobody_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        Console().confirm("this will end hub", yes=False)
    assert capsys.readouterr() == ("", "")
