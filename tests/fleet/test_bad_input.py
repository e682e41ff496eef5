"""What a user may get wrong with a fleet that is there: one line, exit 2, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.harness import Fab, docker, tree


def told(fab: Fab, *argv: str, **more: str) -> str:
    """The one line of a task that must end with 2."""
    done = fab(*argv, code=2, **more)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert done.stdout == ""
    return lines[0]


def test_an_unknown_image(fab: Fab, src: Path, tmp_path: Path) -> None:
    dst = tmp_path / "dst"
    line = told(fab, "run", "--src", str(src), "--dst", str(dst), "--image", "no-such-image:1")
    assert "there is no image 'no-such-image:1'" in line
    assert tree(dst) == {}


@pytest.mark.long
def test_an_image_whose_program_is_missing(fab: Fab, src: Path, tmp_path: Path) -> None:
    docker("build", "--quiet", "--tag=fanrun-test-empty", str(_context(tmp_path)))
    done = fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", "fanrun-test-empty", code=1)
    assert "no such" in done.stdout.lower()
    assert tree(tmp_path / "dst") == {}
    docker("rmi", "--force", "fanrun-test-empty")


def _context(tmp_path: Path) -> Path:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text('FROM debian:trixie-slim\nENTRYPOINT ["/no/such/program"]\n')
    return tmp_path / "context"


def test_docker_not_running_on_the_client(fab: Fab, src: Path, tmp_path: Path) -> None:
    run = ["run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", "some-image"]
    for argv in (["up"], run):
        line = told(fab, *argv, DOCKER_HOST="unix:///nowhere/docker.sock")
        assert "ocker" in line
        assert line.endswith("start Docker there, or unset DOCKER_HOST")
    assert tree(tmp_path / "dst") == {}


def test_a_dst_that_cannot_be_written(fab: Fab, src: Path) -> None:
    assert "can't be written" in told(fab, "run", "--src", str(src), "--dst", "/proc/no/such")


def test_workers_without_space(fab: Fab, program: str, src: Path, tmp_path: Path) -> None:
    mount = "mount -t tmpfs -o size=2m,mode=700,uid=1000 none /var/lib/fanrun"
    argv = ["run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", program, "--args", "copy"]
    try:
        fab.on("worker-1", mount)
        done = fab(*argv)
        assert "worker-1 can't take part: 2 MB free" in done.stderr
        assert tree(tmp_path / "dst") == tree(src)
        fab.on("worker-2", mount)
        assert "2 MB free, 67 MB needed" in told(fab, *argv[:4], str(tmp_path / "dst2"), *argv[5:])
        assert tree(tmp_path / "dst2") == {}
    finally:
        for host in ("worker-1", "worker-2"):
            fab.on(host, "umount /var/lib/fanrun || :")


@pytest.mark.long
def test_a_worker_that_fills_up_in_mid_run_is_lost(fab: Fab, program: str, src: Path, tmp_path: Path) -> None:
    """It has bytes free but no inodes, which nobody asks for beforehand."""
    try:
        fab.on("worker-1", "mount -t tmpfs -o size=500m,nr_inodes=10,mode=700,uid=1000 none /var/lib/fanrun")
        done = fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", program, "--args", "copy")
        assert "worker-1 is lost: could not push a batch" in done.stderr
        assert tree(tmp_path / "dst") == tree(src)
    finally:
        fab.on("worker-1", "umount /var/lib/fanrun || :")
