"""Whatever a run started on a host is ended by it, or by the next run there, into whatever DST."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import CONNECT, CUT_OFF, Fab, log, tree
from tests.waiting import wait_until

pytestmark = pytest.mark.long

WORKERS = ("worker-1", "worker-2")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A few files for each worker."""
    (tmp_path / "src").mkdir()
    for number in range(8):
        (tmp_path / "src" / str(number)).write_text(str(number))
    return tmp_path / "src"


@pytest.fixture
def cut(fab: Fab) -> Iterator[Fab]:
    """The fleet, with its network whole afterwards."""
    yield fab
    for worker in WORKERS:
        fab.on(worker, CONNECT)


def containers(fab: Fab, worker: str) -> list[str]:
    return fab.on(worker, "docker ps --all --quiet --filter label=fanrun.run").split()


def runs(fab: Fab, worker: str) -> list[str]:
    return fab.on(worker, "ls /var/lib/fanrun/runs").split()


def here(fab: Fab) -> list[str]:
    """The processes of this machine that are for the fleet, but for the shared connections of other tasks."""
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in shown if str(fab.home / fab.fleet) in line]


def long_run(fab: Fab, program: str, inputs: Path, dst: Path) -> subprocess.Popen[str]:
    """Start a run whose program takes for ever, and wait until it is at work on both workers."""
    argv = ["run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "slow 3000"]
    run = fab.start(*argv)
    running = "docker ps --quiet --filter label=fanrun.run"
    wait_until(lambda: all(fab.on(worker, running) for worker in WORKERS), timeout=60)
    return run


def short_run(fab: Fab, program: str, inputs: Path, dst: Path) -> None:
    """Do a run that ends well."""
    fab("run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "copy")
    assert tree(dst) == tree(inputs)


def test_the_next_run_ends_what_a_killed_one_left_whatever_its_dst(
    fab: Fab, program: str, inputs: Path, tmp_path: Path
) -> None:
    run = long_run(fab, program, inputs, tmp_path / "first")
    run.kill()
    run.communicate()
    assert all(containers(fab, worker) for worker in WORKERS), "nobody has ended them yet"
    short_run(fab, program, inputs, tmp_path / "second")
    assert {worker: (containers(fab, worker), runs(fab, worker)) for worker in WORKERS} == dict.fromkeys(
        WORKERS, ([], [])
    )
    wait_until(lambda: here(fab) == [], timeout=30)
    assert list((fab.home / fab.fleet / "runs").iterdir()) == []


@pytest.mark.parametrize("end", list(itertools.product([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], [1, 2])))
def test_a_run_that_is_ended_leaves_nothing(
    fab: Fab, program: str, inputs: Path, tmp_path: Path, end: tuple[signal.Signals, int]
) -> None:
    """By a signal that comes so many times."""
    how, times = end
    one = fab.program() if (how, times) == (signal.SIGINT, 1) else fab
    run = long_run(one, program, inputs, tmp_path / "dst")
    run.send_signal(how)
    wait_until(lambda: "interrupted" in log(tmp_path / "dst"))
    if times == 2:
        run.send_signal(how)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 3, out + err
    assert {worker: (containers(fab, worker), runs(fab, worker)) for worker in WORKERS} == dict.fromkeys(
        WORKERS, ([], [])
    )
    assert here(fab) == []
    assert list((fab.home / fab.fleet / "runs").iterdir()) == []


@pytest.mark.long
def test_a_worker_that_is_cut_off_when_the_run_ends_is_cleaned_by_the_next_one_there(
    cut: Fab, program: str, inputs: Path, tmp_path: Path
) -> None:
    """Also where a run in between could not reach it, and where one that died had not reached anybody."""
    fab = cut
    run = long_run(fab, program, inputs, tmp_path / "first")
    fab.on("worker-2", CUT_OFF)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 3, err
    assert (containers(fab, "worker-1"), runs(fab, "worker-1")) == ([], [])
    (left,) = runs(fab, "worker-2")
    assert containers(fab, "worker-2"), "it is out of reach"
    short_run(fab, program, inputs, tmp_path / "between")
    assert runs(fab, "worker-2") == [left]
    dead = fab.start("run", "--src", str(inputs), "--dst", str(tmp_path / "dead"), "--image", program, "--args", "copy")
    wait_until(lambda: len(list((fab.home / fab.fleet / "runs").iterdir())) == 3)
    dead.kill()
    dead.communicate()
    fab.on("worker-2", CONNECT)
    wait_until(lambda: fab.status(code=None)["worker-2"]["reachable"], timeout=60)
    short_run(fab, program, inputs, tmp_path / "second")
    assert {worker: (containers(fab, worker), runs(fab, worker)) for worker in WORKERS} == dict.fromkeys(
        WORKERS, ([], [])
    )
    assert list((fab.home / fab.fleet / "runs").iterdir()) == []


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 1.5])
def test_a_worker_that_comes_back_while_the_run_ends_is_left_clean(
    cut: Fab, program: str, inputs: Path, tmp_path: Path, seconds: float
) -> None:
    fab, dst = cut, tmp_path / "dst"
    run = long_run(fab, program, inputs, dst)
    fab.on("worker-2", "kill -9 $(ps -C sshd,sshd-session -o pid=,args= | awk '/admin/ {print $1}')")
    wait_until(lambda: "worker-2 is lost" in log(dst))
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(seconds)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=120)
    assert run.returncode == 3
    assert {worker: (containers(fab, worker), runs(fab, worker)) for worker in WORKERS} == dict.fromkeys(
        WORKERS, ([], [])
    )
    assert here(fab) == []
    assert os.listdir(fab.home / fab.fleet / "runs") == []
