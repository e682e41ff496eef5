"""An input that makes workers fail is found, named and left out; all others are done."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import BIG_DISK, SMALL_DISK, Fab, Runs, docker, log, report, tree

pytestmark = pytest.mark.long

WORKERS = ("worker-1", "worker-2")
NAMES = [f"{number:02}.txt" for number in range(20)]
BAD = "13.txt"
EACH = f"for f in *; do if [ $f = {BAD} ]; then {{}}; else cp $f $1; fi; done"


@pytest.fixture(autouse=True)
def inputs(runs: Runs) -> None:
    runs.write(*NAMES)


@pytest.fixture
def small_disks(fab: Fab) -> Iterator[None]:
    """Give both workers a disk of 200 MB."""
    for name in WORKERS:
        fab.on(name, SMALL_DISK)
    yield
    for name in WORKERS:
        fab.on(name, BIG_DISK)


def check(runs: Runs, bad: str = BAD) -> str:
    """Check that all are done but the one; returns its reason."""
    assert sorted(runs.results()) == sorted(set(NAMES) - {bad})
    (failed,) = report(runs.dst)["failed"]
    assert failed["path"] == bad
    assert f"{len(NAMES) - 1} of {len(NAMES)} inputs" in runs.verify(code=1)
    return str(failed["reason"])


def test_a_program_may_exit_with_the_code_of_docker(runs: Runs) -> None:
    runs(EACH.format('echo "I give up"; exit 125'), "--retries=0", code=1)
    assert check(runs) == "the program ended with exit 125: I give up"
    assert " is lost" not in log(runs.dst)


@pytest.mark.usefixtures("small_disks")
def test_a_result_that_no_workers_disk_can_hold(runs: Runs) -> None:
    runs(EACH.format("head -c 400m /dev/zero >$1/$f || exit 1"), code=1)
    assert "worker-1 and worker-2" in check(runs)


CUT_OFF = r"""
while sleep 0.1; do
  if pgrep -xa sleep | grep -q 4242; then pkill -x sshd-session; pkill -x sshd-sess; sleep 1; fi
done
"""


@pytest.fixture
def connections_end(fab: Fab) -> Iterator[str]:
    """Return a command: while a worker runs it, the worker's connections end."""
    for name in WORKERS:
        # A container of the run before may be left until the next run cleans the worker.
        fab.on(name, "docker ps --quiet --filter label=fanrun.run | xargs -r docker rm --force")
        fab.on(name, f"setsid sh -c '{CUT_OFF}' cut-off </dev/null >/dev/null 2>&1 &")
    yield "sleep 4242"
    for name in WORKERS:
        fab.on(name, "pkill -f '[c]ut-off'")


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_input_that_no_worker_survives(runs: Runs, connections_end: str, jobs: int) -> None:
    said = runs(EACH.format(connections_end), f"--jobs={jobs}", code=1)
    reason = check(runs)
    assert reason.startswith("worker-1 and worker-2 did not survive processing it (")
    assert f"{BAD}: {reason}" in said


def test_an_input_that_the_only_worker_does_not_survive(runs: Runs, fab: Fab, connections_end: str) -> None:
    fab("drain", "--host=worker-2")
    try:
        runs(EACH.format(connections_end), "--jobs=1", code=1)
    finally:
        fab("drain", "--host=worker-2", "--undo")
    assert check(runs).startswith("worker-1 did not survive processing it (")


def test_all_batches_fail_for_the_same_reason(runs: Runs) -> None:
    said = runs("exec ls --nosuch", code=1)
    assert "WARNING: every batch ends with exit 1: " in said
    assert "stopped (--keep-going tries every input)" in said
    assert runs.results() == {}
    assert len(report(runs.dst)["failed"]) == len(NAMES)
    assert f"{len(NAMES)} of" not in runs.verify(code=1)
    again = runs("exec ls --nosuch", "--keep-going", "--retries=0", code=1)
    assert "stopped" not in again
    assert all(item["tries"] == 1 for item in report(runs.dst)["failed"])


def test_a_program_that_cannot_be_started_ends_the_run(runs: Runs, fab: Fab, tmp_path: Path) -> None:
    argv = ["run", "--src", str(runs.src), "--dst", str(tmp_path / "other"), "--image", "debian:trixie-slim"]
    said = fab(*argv, "--args", "nosuch", code=1)
    assert "every batch fails: the program can't be started: " in said.stderr
    assert tree(tmp_path / "other") == {}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"Entrypoint": ["/x"]}, "is for linux/riscv64, and worker-1 runs linux/"),
        ({}, "has neither ENTRYPOINT nor CMD; name the program in --args"),
        ({"Cmd": ["/x"]}, "has a CMD, which /in /out would replace, and no ENTRYPOINT"),
    ],
)
def test_an_image_that_can_not_be_run_is_refused_by_name(
    runs: Runs, fab: Fab, tmp_path: Path, config: dict[str, list[str]], expected: str
) -> None:
    name = f"fanrun-test-unfit-{os.getpid()}"
    (tmp_path / "manifest.json").write_text(
        json.dumps([{"Config": "c.json", "RepoTags": [f"{name}:latest"], "Layers": []}])
    )
    image = {"architecture": "riscv64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": []}}
    (tmp_path / "c.json").write_text(json.dumps(image))
    subprocess.run(["tar", "-cf", "image.tar", "manifest.json", "c.json"], cwd=tmp_path, check=True)
    docker("load", "--input", str(tmp_path / "image.tar"))
    try:
        argv = ["run", "--src", str(runs.src), "--dst", str(runs.dst), "--image", name]
        said = fab(*argv, code=2).stderr
    finally:
        docker("rmi", name)
    assert f"error: image '{name}' {expected}" in said
    assert tree(runs.dst) == {}
