"""Hosts that fail in the middle of a run: noticed in time, and nothing is lost by it."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fanrun.fanout.workers import heartbeat
from tests.fleet.harness import CONNECT, CUT_OFF, Fab, docker, joblog, log, report, tree
from tests.variants import some
from tests.waiting import wait_until

NOTICED = 20
"""Seconds within which a worker that fails is noticed."""
COUNT = 120


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Files of which a first batch has some ten, all different."""
    (tmp_path / "src").mkdir()
    for number in range(COUNT):
        (tmp_path / "src" / f"{number:03}.bin").write_bytes(random.Random(number).randbytes(150_000))
    return tmp_path / "src"


@pytest.fixture
def small_disk(fab: Fab) -> Iterator[None]:
    """Give worker-2 a disk for its batches that can be filled."""
    fab.on("worker-2", "mount -t tmpfs -o size=200m,mode=700,uid=1000 none /var/lib/fanrun")
    yield
    fab.on("worker-2", "umount --lazy /var/lib/fanrun || :")  # a reboot has done it


@pytest.fixture
def repaired(fab: Fab) -> Iterator[None]:
    """Bring the fleet to its full state afterwards."""
    yield
    fab("up", "--hosts=2")


@dataclass(frozen=True)
class Fault:
    """What happens to worker-2, how it ends, and what is said of it, as a regular expression."""

    cause: Callable[[Fab], object]
    mend: Callable[[Fab], object]
    said: str
    seconds: float = 0.15


def on_worker(script: str) -> Callable[[Fab], str]:
    return lambda fab: fab.on("worker-2", script)


def on_container(*argv: str) -> Callable[[Fab], str]:
    return lambda fab: docker(*argv, fab.containers()["worker-2"])


SILENT = r"worker-2 is lost: (no sign of life|.*the SSH connection was lost)"
"""On a busy machine workers get more time, and ssh may give up the connection before that is over."""
FAULTS = {
    "dies": Fault(on_container("kill"), lambda fab: fab("up", "--hosts=2"), "worker-2 is lost", 0.3),
    "hangs": Fault(on_container("pause"), on_container("unpause"), SILENT, 0.3),
    "loses its network": Fault(
        on_worker(CUT_OFF),
        on_worker(CONNECT),
        SILENT,
        0.3,
    ),
    "fills its disk": Fault(
        on_worker("cat /dev/zero >/var/lib/fanrun/fill 2>/dev/null || :"),
        on_worker("rm /var/lib/fanrun/fill"),
        "worker-2 is lost",
    ),
    "has its dockerd killed": Fault(
        on_worker("kill -9 $(pidof dockerd)"),
        on_worker("rm -f /run/docker.pid; service docker start >/dev/null 2>&1"),
        "worker-2 is lost",
    ),
    "has its dockerd stopped": Fault(
        on_worker("kill -STOP $(pidof dockerd)"),
        on_worker("kill -CONT $(pidof dockerd)"),
        "worker-2 is lost: its Docker does not answer",
        0.3,
    ),
    "reboots": Fault(on_container("restart", "--time=0"), lambda fab: None, "worker-2 is lost"),
}


def check_all_done(src: Path, dst: Path) -> None:
    """Every input has its result and is accounted for once."""
    assert tree(dst) == tree(src)
    found = report(dst)
    assert (found["done"], found["left"], found["failed"]) == (COUNT, 0, [])
    assert sorted(line["Input"] for line in joblog(dst)) == sorted(path.name for path in src.iterdir())
    assert sum(worker["done"] for worker in found["workers"]) == COUNT


def busy() -> float:
    """Return how many times as much time a worker gets on this machine, where all of them are, for its load."""
    return min(max(os.getloadavg()[0] / (os.cpu_count() or 1) / heartbeat.BUSY_LOAD, 1.0), heartbeat.MAX_PATIENCE)


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize("name", some(FAULTS, "dies"))
def test_a_worker_that_fails_is_noticed_and_its_work_done_by_others(
    fab: Fab, program: str, inputs: Path, tmp_path: Path, name: str
) -> None:
    fault, dst = FAULTS[name], tmp_path / "dst"
    # A busy worker is given up later: the other one must not have finished the run by then.
    seconds = fault.seconds * busy()
    run = fab.start("run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", f"each {seconds:.2f}")
    run_one(fab, dst)
    fault.cause(fab)
    begun, patience = time.monotonic(), [busy()]

    def is_over() -> bool:
        patience.append(busy())  # the load may rise and fall meanwhile
        return bool(re.search(fault.said, log(dst))) or run.poll() is not None

    try:
        wait_until(is_over, timeout=NOTICED * (heartbeat.MAX_PATIENCE + 1))
        assert re.search(fault.said, log(dst))
        assert time.monotonic() - begun < NOTICED * (max(patience) + 0.5)
    finally:
        fault.mend(fab)
    wait_until(lambda: "worker-2 is back" in log(dst))
    out, err = run.communicate(timeout=120 * busy())
    assert run.returncode == 0, out + err
    assert "Traceback" not in err
    check_all_done(inputs, dst)
    lost = {worker["name"]: worker["lost"] for worker in report(dst)["workers"]}
    assert (len(lost["worker-1"]), len(lost["worker-2"])) == (0, 1)


@pytest.mark.long
def test_a_batch_that_is_stuck_is_run_by_another_and_forgotten(
    fab: Fab, program: str, inputs: Path, tmp_path: Path
) -> None:
    dst = tmp_path / "dst"
    run = fab.start("run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "each 0.1")
    run_one(fab, dst)
    # A batch may end between the two commands: then it is the next one's container that is paused.
    pause = "docker pause $(docker ps --quiet --filter label=fanrun.run)"
    fab.on("worker-2", f"for n in $(seq 100); do {pause} && exit; sleep 0.1; done; exit 1")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    check_all_done(inputs, dst)
    assert [worker["lost"] for worker in report(dst)["workers"]] == [[], []]
    assert "fanrun-" not in fab.on("worker-2", "docker ps --all")


@pytest.mark.long
@pytest.mark.usefixtures("repaired")
def test_all_lost_is_unfinished_and_the_same_command_goes_on(
    fab: Fab, program: str, inputs: Path, tmp_path: Path
) -> None:
    dst = tmp_path / "dst"
    argv = ["run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "each 0.2"]
    run = fab.start(*argv, "--memory=64m")
    run_one(fab, dst)
    for host in ("worker-1", "worker-2"):
        docker("kill", fab.containers()[host])
    out, err = run.communicate(timeout=90)
    assert run.returncode == 3, out + err
    assert "the workers were lost (worker-1: " in err
    assert f"`fab up --fleet {fab.fleet}` repairs the fleet; " in err
    assert "inputs are left, and the same command again goes on" in err
    check_dead(fab, argv)
    before = tree(dst)
    assert all(tree(inputs)[key] == content for key, content in before.items())
    fab("up", "--hosts=2")
    fab(*argv)
    assert tree(dst) == tree(inputs)
    assert report(dst)["kept"] == len(before) > 0
    assert {line["Input"].encode() for line in joblog(dst)} == set(tree(inputs)) - set(before)


def check_dead(fab: Fab, argv: list[str]) -> None:
    """Without a worker that answers every task says so at once."""
    line = fab(*argv, code=2).stderr.strip().splitlines()[-1]
    assert f"no worker of fleet {fab.fleet} can take part" in line
    assert f"`fab up --fleet {fab.fleet}` repairs them" in line
    rows = fab.status(code=1)
    assert [rows[name]["reachable"] for name in ("hub", "worker-1", "worker-2")] == [True, False, False]
    assert "worker-2: error" in fab("exec", "--command", "true", code=1).stderr


def run_one(fab: Fab, dst: Path) -> None:
    """Wait until a run has brought something home and goes on."""
    wait_until(lambda: dst.exists() and tree(dst) and "fanrun-" in fab.on("worker-2", "docker ps"))
