"""What a person sees at a terminal while tasks are at work: they are driven by tmux, at two widths."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fleet.harness import FAB, ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.long
ROW = re.compile(r"^(total|hub|worker-\d+|deploy|ledger|up|down|serve|verify)\s")
"""A row of the display, by its name."""
PATIENCE = 300.0
SLOWEST = 3.0
"""Seconds within which a screen changes: the clocks on it show seconds, and this machine may be busy."""


@dataclass(frozen=True)
class Sample:
    """A screen at a time, in seconds; lines that the terminal wrapped are one."""

    at: float
    lines: list[str]

    @property
    def rows(self) -> Counter[str]:
        """How often each row of the display is on the screen."""
        return Counter(found[1] for line in self.lines if (found := ROW.match(line)))


class Terminal:
    """A shell in tmux."""

    def __init__(self, columns: int, home: Path) -> None:
        self._tmux = ["tmux", "-L", f"fanrun-{os.getpid()}-{columns}"]
        own = {key: value for key, value in os.environ.items() if not key.startswith(("FANRUN_", "COLUMNS", "LINES"))}
        own |= {"FANRUN_HOME": str(home), "FANRUN_FLEET": f"terminal-{os.getpid()}-{columns}", "PS1": "> "}
        size = ["-x", str(columns), "-y", "40"]
        self.end: list[str] = []
        self._count = 0
        subprocess.run([*self._tmux, "new-session", "-d", *size, "-c", str(ROOT), "sh"], env=own, check=True)

    def watch(self, command: str, code: int = 0) -> list[Sample]:
        """Type a command, and look at the screen until it ends; it must end with `code`.

        What is on the screen at the end is in `end`.
        """
        self._count += 1  # the end of the command before may still be on the screen
        line = f"clear; {command}; echo ended {self._count}: $?"
        subprocess.run([*self._tmux, "send-keys", "-l", line], check=True)
        subprocess.run([*self._tmux, "send-keys", "Enter"], check=True)
        samples = list[Sample]()

        def ended() -> str:
            samples.append(self._look())
            return next((line for line in samples[-1].lines if line.startswith(f"ended {self._count}: ")), "")

        wait_until(ended, timeout=PATIENCE)
        *before, last = samples
        assert f"ended {self._count}: {code}" in last.lines, last.lines
        self.end = last.lines[: last.lines.index(f"ended {self._count}: {code}")]
        return before

    def _look(self) -> Sample:
        argv = [*self._tmux, "capture-pane", "-p", "-J"]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return Sample(time.monotonic(), [line.rstrip() for line in text.splitlines() if line.strip()])

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False)


@pytest.fixture(params=[80, 120])
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(request.param, tmp_path / "home")
    try:
        yield made
    finally:
        made.watch(f"{FAB} down --yes")
        made.close()


def check(samples: list[Sample], row: str) -> None:
    """No row is on the screen twice, and while the one of that name is there, the screen keeps changing."""
    assert [sample.lines for sample in samples if any(count > 1 for count in sample.rows.values())] == []
    drawn = [sample for sample in samples if row in sample.rows]
    if not drawn:  # it was over before there was anything to see
        assert not samples or samples[-1].at - samples[0].at < SLOWEST, [sample.lines for sample in samples]
        return
    changes = [drawn[0].at, *(two.at for one, two in pairwise(drawn) if one.lines != two.lines), drawn[-1].at]
    assert max(two - one for one, two in pairwise(changes)) < SLOWEST, [sample.lines for sample in drawn]


def test_what_is_on_the_screen_moves_and_ends_with_what_a_person_needs(
    terminal: Terminal, program: str, tmp_path: Path
) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    for number in range(40):
        (src / f"{number:02}").write_text("an input")
    up = terminal.watch(f"{FAB} up --hosts=2")
    check(up, "up")
    assert terminal.end[-1].startswith("ready: 2 workers with process.py ")

    run = terminal.watch(f"{FAB} run --src {src} --dst {dst} --image {program} --args 'each 0.3' --jobs 1")
    check(run, "total")
    assert any("process 20" in line for each in run for line in each.lines), "what each worker has in hand"
    assert any(line.startswith("40 of 40 inputs done in ") for line in terminal.end)

    terminal.watch(f"{FAB} verify --dst {dst}")
    assert terminal.end[-1].startswith("40 of 40 inputs in ")

    serve = terminal.watch(f"{FAB} serve --replicas=1")
    check(serve, "serve")
    assert any(line.startswith("call it: ") for line in terminal.end)

    down = terminal.watch(f"{FAB} down --yes")
    check(down, "down")
    assert terminal.end[-1].endswith(" is gone: hub, worker-1, worker-2")
