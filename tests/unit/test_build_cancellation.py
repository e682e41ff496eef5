"""Builds that are interrupted, cancelled, or run in the background."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fanrun.fleet.errors import ImageError
from provision.registry import background, build
from provision.registry.background import BackgroundBuild, Cancellation, Cancelled
from tests.unit.fake_build import fake_docker, write_sources
from tests.waiting import wait_until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with SOURCES of its own."""
    return write_sources(tmp_path)


def test_a_log_that_raises_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    fake_docker(tmp_path, monkeypatch, '[ "$1" != build ] || { echo started; exec sleep 60; }')

    def log(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt, match="started"):
        build.build(root, "t", log=log)


def test_a_build_that_is_cancelled_ends_its_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    fake_docker(
        tmp_path,
        monkeypatch,
        f'[ "$1" != build ] || {{ echo $$ >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 60; }}',
    )

    def work(cancellation: Cancellation) -> str:
        return build.build(root, "t", log=lambda _: None, cancellation=cancellation)

    with BackgroundBuild(work) as built:  # left early, as where a host can't be set up
        built.start()
        wait_until((tmp_path / "pid").exists)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    with pytest.raises(ImageError):
        built.result()


def test_a_build_that_is_cancelled_before_it_begins_starts_no_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    fake_docker(tmp_path, monkeypatch, f'[ "$1" != build ] || touch {tmp_path}/built')
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        build.build(root, "t", log=lambda _: None, cancellation=cancellation)
    assert not (tmp_path / "built").exists()


def test_a_docker_that_does_not_listen_is_ended_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "KILL_AFTER", 0.1)
    cancellation = Cancellation()
    with (tmp_path / "empty").open("w+b") as empty:
        client = cancellation.start(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], empty)
    with client:
        assert client.stdout
        assert client.stdout.readline() == "ready\n"
        cancellation.cancel()
    assert client.returncode == -9


def test_a_background_build_goes_on_meanwhile_and_its_result_is_waited_for() -> None:
    go_on = threading.Event()
    with BackgroundBuild(lambda _: "sha256:1" if go_on.wait(20) else "late") as built:
        built.start()
        go_on.set()
        assert built.result() == "sha256:1"


def test_a_background_build_raises_where_its_result_is_asked_for() -> None:
    with BackgroundBuild(lambda _: str(1 / 0)) as built:
        built.start()
        with pytest.raises(ZeroDivisionError):
            built.result()
