"""When a batch starts and when it is stopped, under real shells on this machine."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from fanrun.fleet.probe import EXPIRY
from tests.unit.samples import write_filter, write_tree
from tests.unit.worker_scripts import Limits, batch_argv, code_of, manifest_of, run_batch, stand_in
from tests.waiting import wait_until

Batching = Future[subprocess.CompletedProcess[bytes]]


def two_batches(pool: ThreadPoolExecutor, shell: str, run: Path, tmp_path: Path) -> tuple[Batching, Batching]:
    """One that holds the run's turn until tmp_path/go is there, and one that waits for it to make tmp_path/second."""
    hold = f'echo begun >"{tmp_path}/began"; while [ ! -e "{tmp_path}/go" ]; do sleep 0.02; done; ls "{tmp_path}"'
    first = pool.submit(run_batch, shell, run / "one", "sh", "-c", hold)
    wait_until((tmp_path / "began").exists)
    second = pool.submit(run_batch, shell, run / "two", "touch", f"{tmp_path}/second")
    wait_until((run / "two").exists)
    return first, second


def test_batches_of_a_run_wait_for_their_turn(shell: str, tmp_path: Path) -> None:
    """One holds the turn until it is let go; the other begins only then."""
    with ThreadPoolExecutor() as pool:
        first, second = two_batches(pool, shell, tmp_path, tmp_path)
        (tmp_path / "go").touch()
        assert (first.result().returncode, second.result().returncode) == (0, 0)
    assert "second" not in (tmp_path / "one" / "log").read_text()
    assert (tmp_path / "second").exists()


@pytest.mark.parametrize("how", ["halted", "gone"])
def test_a_batch_whose_run_is_over_has_no_turn(shell: str, tmp_path: Path, how: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with ThreadPoolExecutor() as pool:
        first, second = two_batches(pool, shell, run, tmp_path)
        if how == "halted":
            (run / "halt").touch()
        else:
            run.rename(tmp_path / "discarded")
        (tmp_path / "go").touch()
        assert second.result().returncode != 0  # 2 from dash, if it was just opening a file
        first.result()
    assert not (tmp_path / "second").exists()


@pytest.fixture
def killer(tmp_path: Path) -> str:
    """A PATH whose `sudo -n docker kill` ends the process group that stands in `group`, and tells what it was told."""
    tools = tmp_path / "bin"
    stand_in(tools, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    stand_in(
        tools,
        "docker",
        f'[ "$1" != ps ] || exec echo id; echo "$*" >>"{tools}/log"; kill -9 -$(cat "{tmp_path}/group")',
    )
    return f"{tools}:{os.environ['PATH']}"


def container(tmp_path: Path, script: str) -> list[str]:
    """A program in a process group of its own, as a container's are."""
    return ["setsid", "--wait", "sh", "-c", f'echo $$ >"{tmp_path}/group"; cd "{tmp_path}/out"; {script}']


@pytest.mark.parametrize(
    "script",
    ["exec sleep 100", "trap '' TERM; echo begun >data/a; sleep 100", "while :; do echo busy; sleep 0.1; done"],
)
def test_a_program_that_finishes_nothing_is_ended(tmp_path: Path, killer: str, script: str) -> None:
    """Words are no results; what it did before is kept."""
    begun = time.monotonic()
    done = run_batch("sh", tmp_path / "out", *container(tmp_path, script), limits=Limits(timeout=1), path=killer)
    assert (done.returncode, code_of(tmp_path / "out")) == (0, 124), done.stderr
    assert 1 <= time.monotonic() - begun < 50
    assert (tmp_path / "bin" / "log").read_text() == "kill a name\n"
    kept = {b"a": b"begun\n"} if "data/a" in script else {}
    assert sorted((tmp_path / "out" / "manifest").read_bytes().split(b"\0")[:-1]) == manifest_of(kept)


def test_a_container_ends_when_its_run_gives_no_sign_of_life(shell: str, tmp_path: Path, killer: str) -> None:
    """Nobody would fetch what it does; what waits for its turn does not begin."""
    stale = f'touch -d "{EXPIRY + 1} minutes ago" "{tmp_path}"'
    script = f"cd ..; [ -e began ] || {{ touch began; sleep 3; {stale}; }}; exec sleep 100"
    done = run_batch(shell, tmp_path / "out", *container(tmp_path, script), limits=Limits(timeout=200), path=killer)
    assert (done.returncode, code_of(tmp_path / "out")) == (0, 137), done.stderr
    assert (tmp_path / "bin" / "log").read_text() == "kill a name\n"
    assert (tmp_path / "halt").exists()
    assert run_batch(shell, tmp_path / "two", "touch", f"{tmp_path}/second").returncode == 1
    assert not (tmp_path / "second").exists()


def test_a_batch_of_a_run_that_was_ended_does_not_begin(shell: str, tmp_path: Path) -> None:
    """A command may be late: the folder is not made anew."""
    argv = batch_argv(shell, tmp_path / "r" / "out", "true")
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 1
    assert not (tmp_path / "r").exists()


def test_a_program_that_goes_on_finishing_is_not_ended(tmp_path: Path) -> None:
    """It takes twice as long as the timeout, but never so long for one; results and report lines count alike."""
    stand_in(tmp_path / "bin", "sudo", f'[ "$3" != ps ] || exec echo id; echo "$*" >>"{tmp_path}/bin/log"')
    path = f"{tmp_path}/bin:{os.environ['PATH']}"

    def go_on(name: str, step: str) -> int:
        script = f'cd "$1"; mkdir data/d; for n in 1 2 3 4 5 6 7 8; do {step}; sleep 0.5; done; exit 3'
        run_batch(
            "sh", tmp_path / name, "sh", "-c", script, "sh", str(tmp_path / name), limits=Limits(timeout=2), path=path
        )
        return code_of(tmp_path / name)

    with ThreadPoolExecutor() as pool:
        steps = {"results": "echo . >data/d/$n", "report": "echo {} >>report.jsonl"}
        assert list(pool.map(go_on, steps.keys(), steps.values())) == [3, 3]
    assert not (tmp_path / "bin" / "log").exists()


def test_nobody_watches_a_program_that_has_ended(tmp_path: Path, killer: str) -> None:
    """Its name may be another container's by then; and without a timeout nobody watches at all."""
    for timeout in (0, 1):
        run_batch("sh", tmp_path / "out", *container(tmp_path, "exit 0"), limits=Limits(timeout=timeout), path=killer)
        assert code_of(tmp_path / "out") == 0
    argv = ["ps", "-eo", "args"]
    out = os.fsencode(tmp_path / "out")
    wait_until(lambda: out not in subprocess.run(argv, capture_output=True, check=True).stdout)


def test_nothing_of_it_keeps_its_streams_open(shell: str, tmp_path: Path) -> None:
    """If the login shell is csh, every process has extra copies of the streams, and sshd waits until all are closed."""
    write_tree(tmp_path / "run", (b"identity/env",))
    write_filter(tmp_path / "run")
    argv = ["bash", "-c", 'exec 16>&1 17>&2; exec "$@"', "bash", *batch_argv(shell, tmp_path / "run" / "out", "true")]
    assert subprocess.run(argv, capture_output=True, timeout=20, check=True).stdout == b""
    assert code_of(tmp_path / "run" / "out") == 0
