"""Workers that come and go while a run is at work."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import imds
from tests.fleet.harness import Fab, Runs, docker, log
from tests.waiting import wait_until

SLOW = "for file in *; do sleep 0.5; cp $file $1/; done"


@pytest.fixture
def own(tmp_path: Path, shell: str) -> Iterator[Runs]:
    """Runs on a fleet of one worker that the test may change."""
    fab = Fab(tmp_path / "home", f"roster-{tmp_path.parent.name[-8:]}".lower().replace("_", "-").strip("-"))
    try:
        fab("up", "--hosts=1")
        yield Runs(fab, shell, tmp_path)
    finally:
        fab("down")


def begin(runs: Runs, count: int) -> subprocess.Popen[str]:
    """Start a run, and wait until it processes something."""
    runs.write(*(f"{number:03}" for number in range(count)))
    options = ["--src", str(runs.src), "--dst", str(runs.dst), "--image", runs.shell, "--args", f"'cd $0; {SLOW}'"]
    process = runs.fab.start("run", *options, "--jobs=1")
    wait_until(lambda: any(runs.dst.glob(".fanrun/runs/*/run.log")) and "process worker-1" in log(runs.dst), 90)
    return process


@pytest.mark.long
def test_a_worker_that_joins_is_taken_in_and_one_that_is_drained_gets_nothing_more(own: Runs) -> None:
    process = begin(own, 300)
    own.fab("up", "--hosts=2")
    ready = time.monotonic()
    wait_until(lambda: "worker-2 has joined" in log(own.dst), 60)
    assert time.monotonic() - ready < 15
    wait_until(lambda: "process worker-2" in log(own.dst), 60)
    said = own.fab("drain", "--host=worker-1").stderr
    assert "worker-1: waiting for 2" in said
    assert "worker-1 is free; `fab drain --undo --host worker-1" in said
    assert own.fab.on("worker-1", "ls /var/lib/fanrun/runs; docker ps --quiet") == ""
    before = log(own.dst).count("push worker-1")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "300 of 300 inputs done" in out
    assert log(own.dst).count("push worker-1") == before
    assert "not back" not in err
    again = own.fab("run", "--src", str(own.src), "--dst", str(own.dst.with_name("again")), "--dry-run").stdout
    assert "worker-1" not in again
    assert "drained: worker-1; `fab drain --undo --host NAME" in own.fab("status").stderr
    own.fab("drain", "--undo", "--host=worker-1")
    assert own("cp * $1/", "--force").count("worker-1 ") >= 1


@pytest.mark.long
def test_workers_that_are_ended_are_drained_first(own: Runs) -> None:
    own.fab("up", "--hosts=2")
    process = begin(own, 200)
    wait_until(lambda: "process worker-2" in log(own.dst), 60)
    assert (
        own.fab("down", "--hosts=1", "--dry-run").stdout == "drain worker-2, wait until they are free, and end them\n"
    )
    said = own.fab("down", "--hosts=1").stderr
    assert "worker-2   waiting for 2" in said
    assert said.endswith("ended worker-2; left: 1 worker\n")
    assert own.fab.containers().keys() == {"hub", "worker-1"}
    assert "worker-2" not in own.fab("status").stdout
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "200 of 200 inputs done" in out
    assert "lost" not in err
    assert {line["host"] for line in map(json.loads, own.fab("logs", "--json").stdout.splitlines())} == set()
    assert "nothing to end: the fleet has no more than 1 worker" in own.fab("down", "--hosts=1").stderr


@pytest.mark.long
def test_a_spot_notice_drains_its_worker(own: Runs, tmp_path: Path) -> None:
    """Amazon's metadata service is a server on the worker, at the address that it has on EC2.

    The worker has the whole of Python, as machines with cloud-init do.
    """
    own.fab("up", "--hosts=2")
    worker = own.fab.containers()["worker-2"]
    docker("cp", str(Path(imds.__file__)), f"{worker}:/imds.py")
    own.fab.on("worker-2", "apt-get update && apt-get install --yes --no-install-recommends python3")
    own.fab.on("worker-2", "ip address add 169.254.169.254/32 dev lo; touch /run/fanrun.spot")
    docker("exec", "--detach", worker, "python3", "/imds.py", "169.254.169.254", "80", "/notice")
    process = begin(own, 100)
    wait_until(lambda: "process worker-2" in log(own.dst), 60)
    own.fab.on("worker-2", """echo '{"action": "terminate", "time": "2026-01-31T12:02:00Z"}' >/notice""")
    wait_until(lambda: "worker-2 gets the spot notice: terminate at 2026-01-31T12:02:00Z" in log(own.dst), 20)
    wait_until(lambda: own.fab.on("worker-2", "ls /var/lib/fanrun/runs") == "", 60)
    docker("kill", worker)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "100 of 100 inputs done" in out
    assert "lost" not in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["drain"], "fab drain needs --host; `fab status` shows the workers"),
        (["drain", "--host=hub"], "--host hub: it is the hub, which runs no batches"),
        (["drain", "--host=worker-9"], "has no host 'worker-9'; its hosts: hub, worker-1, worker-2"),
        (["down", "--hosts=0"], "--hosts=0: give a whole number from 1 to 1000"),
        (["down", "--hosts=two"], "--hosts=two: give a whole number from 1 to 1000"),
        (["down", "--hosts=1", "--take-over=abc"], "--hosts is about the fleet of this folder, --take-over about"),
        (["drain", "--undo", "--host=worker-1"], "worker-1 was not drained"),
    ],
)
def test_what_can_not_be_drained(fab: Fab, argv: list[str], said: str) -> None:
    assert said in fab(*argv, code=None).stderr
