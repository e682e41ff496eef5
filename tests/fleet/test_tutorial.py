"""The tutorial, word by word: its commands work, and print what the page says that they print."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fleet.reader import reader
from tests.unit.pages import FENCE, file_name, read

TELLING = re.compile(
    r" plates, |^ready: |inputs? done in | have their results|nothing to do: |"
    r"^\d+ of \d+ inputs? failed; |not an image| is gone: |^fleet "
)
"""Lines of output that are the same on every machine, but for numbers."""
SETUP = ("script/setup", ". .venv/bin/activate", "export FANRUN_FLEET=tut")
"""What is done before a test: the fleet of the test has a name of its own."""


@dataclass
class Step:
    """A command of the page, and the lines that it prints; a block that is a file has the command that writes it."""

    command: str
    shown: list[str] = field(default_factory=list)
    code: int = 0


def steps() -> list[Step]:
    """Return what a reader of the tutorial does, in its order."""
    found: list[Step] = []
    text = read("docs/tutorial.md")
    for block in FENCE.finditer(text):
        if name := file_name(text, block):
            found.append(Step(f"mkdir -p {Path(name).parent}; cat >{name} <<'EOF'\n{block[2]}EOF"))
        for line in block[2].splitlines() if block[1] == "console" else ():
            if line.startswith("$ "):
                found.append(Step(line.removeprefix("$ ")))
            else:
                found[-1].shown.append(line)
    for place, step in enumerate(found):
        if step.command == "echo $?":
            found[place - 1].code = int(step.shown[0])
    return [step for step in found if step.command not in (*SETUP, "echo $?")]


def telling(lines: list[str], fleet: str, folder: Path) -> set[str]:
    """Return the lines that are the same everywhere, with # for numbers and hashes, as if the fleet were named tut."""
    same = (line.replace(str(folder), "/home/ana/fanrun").replace(fleet, "tut") for line in lines)
    return {re.sub(r"\b[0-9a-f]{12}\b|\d[\d.]*", "#", line) for line in same if TELLING.search(line)}


@pytest.mark.long
def test_the_tutorial_is_true(tmp_path: Path) -> None:
    """Every command ends as the page says, and prints the lines that the page shows."""
    done = steps()
    assert [step.command.split()[:2] for step in done][-1] == ["fab", "down"]
    with reader(tmp_path, "tutorial") as ana:
        for step in done:
            ran = ana.type(step.command)
            said = [*ran.stdout.splitlines(), *ran.stderr.splitlines()]
            assert ran.returncode == step.code, (step.command, said)
            shown = telling(step.shown, "tut", ana.checkout)
            assert shown <= telling(said, ana.fleet, ana.checkout), step.command


def test_the_lines_that_are_compared_are_those_of_each_task() -> None:
    shown = "\n".join(telling([line for step in steps() for line in step.shown], "tut", Path("/nowhere")))
    expected = ("plates,", "ready:", "done in", "not an image", "have their results", "is gone:")
    assert [words for words in expected if words not in shown] == []
