"""Workers that come and go while a run is at work."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, Runs, log
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


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["drain"], "fab drain needs --host; `fab status` shows the workers"),
        (["drain", "--host=hub"], "--host hub: it is the hub, which runs no batches"),
        (["drain", "--host=worker-9"], "has no host 'worker-9'; its hosts: hub, worker-1, worker-2"),
        (["drain", "--undo", "--host=worker-1"], "worker-1 was not drained"),
    ],
)
def test_what_can_not_be_drained(fab: Fab, argv: list[str], said: str) -> None:
    assert said in fab(*argv, code=None).stderr
