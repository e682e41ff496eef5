"""--halt: which values there are, when a run ends by them, and how."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import cast

import pytest

from fanrun.fanout import run_commands
from fanrun.fanout.halt import Halt, Halted, parse_halt
from fanrun.fanout.results.report import Failure
from fanrun.fanout.results.stats import WorkerStats
from fanrun.fanout.workers.connections import Connections
from fanrun.fanout.workers.course import work
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.supervisor import Supervisor
from fanrun.fleet.errors import RunUnfinished, UsageError
from fanrun.fleet.layout import USUAL, Layout
from fanrun.fleet.store import Folder


def stats(done: int, failed: int) -> list[WorkerStats]:
    """Return what two workers have done."""
    one, two = WorkerStats(), WorkerStats()
    one.done, two.done = done // 2, done - done // 2
    for number in range(failed):
        path = f"{number}"
        (one if number % 2 else two).failed[path.encode()] = Failure(path, "why", "worker-1")
    return [one, two]


def is_reached(text: str, done: int, failed: int, total: int) -> bool:
    halt = parse_halt(text)
    assert halt is not None
    try:
        halt.check(stats(done, failed), total)
    except Halted:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "before", "then"),
    [
        ("now,fail=1", (9, 0), (0, 1)),
        ("soon,fail=3", (9, 2), (9, 3)),
        ("soon,fail=10%", (0, 9), (0, 10)),
        ("soon,fail=1%", (0, 2), (0, 3)),
        ("soon,success=3", (2, 9), (3, 0)),
        ("soon,success=1%", (0, 9), (1, 0)),
        ("now,done=5", (2, 2), (2, 3)),
        ("now,done=50%", (40, 9), (40, 10)),
    ],
)
def test_a_run_ends_when_so_many_inputs_are(text: str, before: tuple[int, int], then: tuple[int, int]) -> None:
    """Of 100 inputs; a percentage of failed inputs counts from the third on."""
    assert not is_reached(text, *before, 100)
    assert is_reached(text, *then, 100)


def test_a_percentage_is_of_the_inputs_of_the_run() -> None:
    assert not is_reached("soon,fail=50%", 0, 4, 9)
    assert is_reached("soon,fail=50%", 0, 5, 9)
    assert not is_reached("soon,success=1%", 0, 0, 9), "none is never enough"


def test_the_reason_has_the_numbers() -> None:
    halt = parse_halt("soon,fail=10%")
    assert halt == Halt("soon,fail=10%", False, "fail", 10, True)
    with pytest.raises(Halted, match=r"^halted: 6 of 60 inputs have failed \(--halt soon,fail=10%\)$") as caught:
        halt.check(stats(9, 6), 60)
    assert not caught.value.now


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "10%", "soon", "later,fail=1", "never,fail=1", "soon,fails=1", "soon,fail", "soon,fail="),
        *(
            "soon,fail=0",
            "now,fail=0%",
            "now,fail=101%",
            "soon,fail=-1",
            "soon,fail=1.5",
            "soon, fail=1",
            "soon,fail=1\n",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--halt=.*: give soon or now, and fail=, success= or done= with a number"):
        parse_halt(text)


def test_never_is_no_condition() -> None:
    assert parse_halt("never") is None


class Scripted:
    """A supervisor that does as it is told: `ends` are the errors by which work and each wind_down end."""

    def __init__(self, *ends: BaseException | None) -> None:
        self.ends, self.calls = list(ends), list[str]()

    def work(self, probes: object) -> None:
        self._do("work")

    def wind_down(self, *, now: bool) -> None:
        self._do("end" if now else "finish")

    def _do(self, name: str) -> None:
        self.calls.append(name)
        if (error := self.ends.pop(0)) is not None:
            raise error


SOON, NOW, CTRL_C = Halted("why", now=False), Halted("why", now=True), KeyboardInterrupt()


@pytest.mark.parametrize(
    ("ends", "calls", "why"),
    [
        ([None], ["work"], ""),
        ([SOON, None], ["work", "finish"], "why"),
        ([NOW, None], ["work", "end"], "why"),
        ([CTRL_C, None], ["work", "end"], "interrupted"),
        ([CTRL_C, CTRL_C], ["work", "end"], "interrupted"),
        ([SOON, CTRL_C, None], ["work", "finish", "end"], "interrupted"),
        ([SOON, CTRL_C, CTRL_C], ["work", "finish", "end"], "interrupted"),
        ([NOW, CTRL_C], ["work", "end"], "interrupted"),
        ([RunUnfinished("gone")], ["work"], "gone"),
    ],
)
def test_what_runs_is_finished_or_ended(ends: list[BaseException | None], calls: list[str], why: str) -> None:
    supervisor = Scripted(*ends)
    assert work(cast(Supervisor, supervisor), {}) == why
    assert supervisor.calls == calls


class Recording:
    """A link that writes down what it is told."""

    layout = USUAL

    def __init__(self) -> None:
        self.calls: list[object] = []

    def end_pushes(self) -> None:
        self.calls.append("end pushes")

    def run(self, argv: list[str], *, timeout: float) -> None:
        self.calls.append(argv)


def test_a_host_that_finishes_gets_nothing_more(tmp_path: Path) -> None:
    connections, link = Connections("r", "image", Folder(tmp_path / "home", "default")), Recording()
    connections.links["worker-1"] = cast(Link, link)
    connections.hold("worker-1")
    assert link.calls == ["end pushes", ["touch", "--", "/var/lib/fanrun/runs/r/halt"]]


def test_a_worker_is_told_to_start_nothing(tmp_path: Path) -> None:
    """batch.sh looks for this file."""
    (tmp_path / "runs" / "r").mkdir(parents=True)
    layout = Layout(str(tmp_path), str(tmp_path / "logs"))
    subprocess.run(run_commands.hold_argv("r", layout), check=True)
    assert (tmp_path / "runs" / "r" / "halt").exists()
