"""Several containers at the same time on each worker."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, Runs

EACH = """for file in *; do
  read begin _ </proc/uptime; {work}; read end _ </proc/uptime; echo "$begin $end" >"$1/$file"
done"""
"""A program that processes its inputs in turn. A result holds the times at which its input was begun and done.

They are in seconds since the start of the machine.
"""


def worker_of(dst: Path) -> dict[str, str]:
    """Return which worker made each result, by the joblog."""
    lines = next(dst.glob(".fanrun/runs/*/joblog.tsv")).read_text().splitlines()[1:]
    return {line.split("\t")[0]: line.split("\t")[1] for line in lines}


def most_at_once(times: list[tuple[float, float]]) -> int:
    """Return how many of these intervals overlap at most."""
    changes = sorted([(begin, 1) for begin, _ in times] + [(end, -1) for _, end in times])
    count = most = 0
    for _, change in changes:
        count += change
        most = max(most, count)
    return most


def at_once(runs: Runs) -> dict[str, int]:
    """Return how many inputs each worker worked on at the same time, at most."""
    workers, times = worker_of(runs.dst), defaultdict[str, list[tuple[float, float]]](list)
    for name, text in runs.results().items():
        begin, end = map(float, text.split())
        times[workers[name]].append((begin, end))
    return {worker: most_at_once(intervals) for worker, intervals in times.items()}


@pytest.mark.long
def test_as_many_containers_run_as_were_asked_for(runs: Runs) -> None:
    runs.write(*(f"{number:03}" for number in range(60)))
    said = runs(EACH.format(work="sleep 0.3"), "--jobs=3")
    assert "60 of 60 inputs done" in said
    assert "3 containers on worker-1: " in said
    assert at_once(runs) == {"worker-1": 3, "worker-2": 3}
    runs.again(EACH.format(work="sleep 0.3"))


@pytest.mark.long
def test_more_containers_than_a_connection_has_sessions(runs: Runs) -> None:
    """An sshd allows ten commands at a time in one connection."""
    runs.write(*(f"{number:03}" for number in range(28)))
    runs(EACH.format(work="sleep 8"), "--jobs=14")
    most = at_once(runs)
    assert all(10 < count <= 14 for count in most.values()), most


def test_a_program_that_waits_gets_a_container_for_each_core(runs: Runs) -> None:
    runs.write(*(f"{number:03}" for number in range(60)))
    said = runs(EACH.format(work="sleep 0.5"))
    cores = os.cpu_count()
    assert f"{cores} containers on worker-1: " in said
    assert "as many as cores" in said
    report = json.loads(next(runs.dst.glob(".fanrun/runs/*/report.json")).read_text())
    assert [worker["containers"] for worker in report["workers"]] == [cores, cores]
    assert at_once(runs) == {"worker-1": cores, "worker-2": cores}


def test_an_input_whose_container_is_killed_is_processed_alone_before_it_fails(runs: Runs) -> None:
    """Beside other containers it may be their memory that ran out."""
    names = [f"{number:03}" for number in range(40)]
    runs.write(*names, "bad")
    work = EACH.format(work="[ $file != bad ] || exit 137; sleep 0.2")
    said = runs(work, "--jobs=3", "--retries=0", code=1)
    assert sorted(runs.results()) == names
    assert "bad: the program ended with exit 137, it was killed, as the memory limit does" in said
    assert "1 failed" in said


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--jobs=1000", "--jobs=1000: give a whole number from 1 to 256, or auto"),
        ("--jobs=0", "--jobs=0: give a whole number from 1 to 256, or auto"),
        ("--jobs=many", "--jobs=many: give a whole number from 1 to 256, or auto"),
        ("--cpus=0", "--cpus=0: give a number from 0.01 to 10000, as 2 or 0.5"),
        ("--cpus=nan", "--cpus=nan: give a number from 0.01 to 10000, as 2 or 0.5"),
    ],
)
def test_a_number_that_can_not_be_meant_is_refused(runs: Runs, option: str, words: str) -> None:
    runs.write("a")
    assert words in runs("true", option, code=2)
    assert not runs.dst.exists()


@pytest.mark.long
def test_own_image_has_one_container_that_uses_all_cores(fab: Fab, src: Path, tmp_path: Path) -> None:
    said = fab("run", "--src", str(src), "--dst", str(tmp_path / "dst")).stdout
    assert "container" not in said
    said = fab("run", "--src", str(src), "--dst", str(tmp_path / "two"), "--jobs=2", "--cpus=0.5").stdout
    assert "2 containers on worker-1: " in said
