"""The same command again: only what is missing is done, and what stands in DST can be proven."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, joblog, log, report, run_folder, tree
from tests.variants import some
from tests.waiting import wait_until


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Files of which a first batch has some ten, all different."""
    (tmp_path / "src").mkdir()
    for number in range(60):
        (tmp_path / "src" / f"{number:03}.bin").write_bytes(os.urandom(150_000))
    return tmp_path / "src"


def done(dst: Path) -> set[str]:
    """The inputs that the latest run did."""
    return {line["Input"] for line in joblog(dst)}


def test_only_what_is_missing_is_done(fab: Fab, program: str, inputs: Path, tmp_path: Path) -> None:
    dst = tmp_path / "dst"
    argv = ["run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "copy"]
    fab(*argv)
    assert len(done(dst)) == 60
    assert fab(*argv).stdout == "nothing to do: all 60 results are there\n"
    (inputs / "new.bin").write_bytes(b"new")
    (inputs / "001.bin").write_bytes(b"changed")
    (inputs / "002.bin").rename(inputs / "renamed.bin")
    (inputs / "003.bin").unlink()
    (dst / "004.bin").unlink()
    same = (dst / "005.bin").stat()
    (dst / "005.bin").write_bytes(b"x" * same.st_size)
    os.utime(dst / "005.bin", ns=(same.st_atime_ns, same.st_mtime_ns))
    fab("verify", "--dst", str(dst), code=1)
    assert '"inputs": 60' in fab(*argv, "--dry-run", "--json").stdout
    fab(*argv, "--by-content")
    assert done(dst) == {"new.bin", "001.bin", "004.bin", "005.bin"}
    left = tree(dst)
    assert {key: left[key] for key in tree(inputs)} == tree(inputs)
    assert set(left) - set(tree(inputs)) == {b"002.bin", b"003.bin"}, "results of inputs that are gone are kept"
    assert "60 of 60 inputs" in fab("verify", "--dst", str(dst)).stdout
    fab(*argv, "--force", "--include=00*")
    assert len(done(dst)) == 8
    fab(*argv[:-1], "slow 0", "--include=00*")
    assert len(done(dst)) == 8, "other arguments are another program"


def test_after_a_crash_the_same_command_goes_on(fab: Fab, program: str, inputs: Path, tmp_path: Path) -> None:
    dst = tmp_path / "dst"
    argv = ["run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "each 0.5"]
    run = fab.start(*argv)
    wait_until(lambda: dst.exists() and tree(dst))
    assert f"is in use by run {run_folder(dst).name} (process {run.pid} on " in fab(*argv, code=2).stderr
    run.send_signal(signal.SIGKILL)
    run.communicate()
    before = tree(dst)
    assert all(tree(inputs)[key] == content for key, content in before.items())
    assert 0 < len(before) < 60
    crashed = run_folder(dst).name
    assert crashed in fab.on("worker-1", "ls /var/lib/fanrun/runs")
    fab(*argv)
    assert tree(dst) == tree(inputs)
    for host in ("worker-1", "worker-2"):
        assert crashed not in fab.on(host, "ls /var/lib/fanrun/runs; docker ps --all")
    assert report(dst)["kept"] >= len(before)
    assert len(done(dst)) == 60 - report(dst)["kept"]


@pytest.mark.parametrize("sign", some([signal.SIGINT, signal.SIGTERM], signal.SIGINT))
def test_an_interrupted_run_brings_home_what_is_done(
    fab: Fab, program: str, inputs: Path, tmp_path: Path, sign: signal.Signals
) -> None:
    dst = tmp_path / "dst"
    argv = ["run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "each 0.3"]
    run = fab.start(*argv)
    wait_for_results(fab, dst)
    assert tree(dst) == {}, "the first batches are still in their containers"
    run.send_signal(sign)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 3, out + err
    assert "interrupted: what is done is brought home; Ctrl-C again stops at once" in err
    brought = tree(dst)
    assert len(brought) >= 4
    assert f"interrupted; {60 - len(brought)} of 60 inputs are left, and the same command again goes on" in err
    assert all(tree(inputs)[key] == content for key, content in brought.items())
    nothing_is_left(fab, dst)
    fab(*argv[:-1], "each 0.01")  # other arguments, so all of it
    assert tree(dst) == tree(inputs)


@pytest.mark.long
def test_a_forced_run_that_is_interrupted_names_the_command_that_goes_on(
    fab: Fab, program: str, inputs: Path, tmp_path: Path
) -> None:
    dst = tmp_path / "dst"
    argv = ["run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "each 0.3"]
    run = fab.start(*argv, "--force")
    wait_for_results(fab, dst)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert (run.returncode, "the same command again" in err) == (3, False), err
    assert "inputs are left, and the same command without --force does those that have no result yet" in err
    brought = len(tree(dst))
    assert json.loads(fab(*argv, "--json").stdout)["kept"] == brought > 0
    assert tree(dst) == tree(inputs)


def test_ctrl_c_twice_stops_at_once(fab: Fab, program: str, inputs: Path, tmp_path: Path) -> None:
    dst = tmp_path / "dst"
    argv = ["run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "slow 60"]
    run = fab.start(*argv)
    wait_until(lambda: all("fanrun-" in fab.on(host, "docker ps") for host in ("worker-1", "worker-2")))
    run.send_signal(signal.SIGINT)
    wait_until(lambda: "Ctrl-C again" in log(dst))
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=15)
    assert run.returncode == 3, out + err
    assert "stopped at once" in err
    assert "interrupted; 60 of 60 inputs are left" in err
    assert tree(dst) == {}
    nothing_is_left(fab, dst)


def wait_for_results(fab: Fab, dst: Path) -> None:
    """Wait until the first batch on each worker has some of its results, and is not at its end."""
    wait_until(lambda: "process" in log(dst))
    find = f"find /var/lib/fanrun/runs/{run_folder(dst).name} -path '*.out/data/*.bin' | wc -l"
    wait_until(lambda: all(int(fab.on(host, find)) >= 2 for host in ("worker-1", "worker-2")))


def nothing_is_left(fab: Fab, dst: Path) -> None:
    """Neither a container nor a folder of the run is on the workers, nor a staged file here."""
    for host in ("worker-1", "worker-2"):
        assert "fanrun-" not in fab.on(host, "docker ps --all")
        assert report(dst)["run"] not in fab.on(host, "ls /var/lib/fanrun/runs")
    assert {path.name for path in (dst / ".fanrun").iterdir()} == {"ledger.db", "lock", "runs"}
