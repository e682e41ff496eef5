"""Signs of life: what they say, and what their absence does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.workers import heartbeat as heartbeats
from fanrun.fanout.workers.heartbeat import MIN_FREE_BYTES, Heartbeat, verdict
from fanrun.fanout.workers.link import Link
from fanrun.fleet.shell import MARK
from fanrun.fleet.store import Folder
from tests.waiting import wait_until

GOOD = b"0 1000000 4096 0.5 2\n"


class LocalLink(Link):
    """A worker that is a shell script on this machine; its login prints `noise` first."""

    def __init__(self, folder: Folder, host: str, script: str, noise: str = "") -> None:
        super().__init__(folder, host, "test", threading.Semaphore())
        self.script, self.noise = script, noise

    def argv(self, argv: list[str]) -> list[str]:
        return ["sh", "-c", f"printf '{self.noise}'; sleep 0.1; printf '{MARK}'; {self.script}"]


@pytest.fixture
def heartbeat() -> Iterator[Heartbeat]:
    made = Heartbeat()
    yield made
    made.close()


def wait_for(heartbeat: Heartbeat, count: int) -> dict[str, str]:
    """What is wrong, once it is wrong with so many."""
    found: dict[str, str] = {}

    def look() -> bool:
        found.update(heartbeat.check())
        return len(found) >= count

    wait_until(look, 20)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", ""),
        (GOOD, ""),
        (b"0 0 4096 0.5 2\n", "its disk is full (0 MB free)"),
        (b"0 %d 1 0.5 2\n" % MIN_FREE_BYTES, ""),
        (b"0 %d 1 0.5 2\n" % (MIN_FREE_BYTES - 1), "its disk is full (15 MB free)"),
        (b"0 2048 4096 0.5 2\n", "its disk is full (8 MB free)"),
        (b"1 1000000 4096 0.5 2\n", "its Docker does not answer"),
        (b"124 1000000 4096 0.5 2\n", ""),  # it may be busy, once
        (b"124 0 4096 0.5 2\n", "its disk is full (0 MB free)"),
        (b"124 1000000 4096 0.5 2\n" * 2, "its Docker does not answer"),
        (b"124 1000000 4096 0.5 2\n" + GOOD + b"124 1000000 4096 0.5 2\n", ""),
        (b"124 1000000 4096 0.5 2\n" * 2 + GOOD, ""),
        (b"124 1000000 4096 0.5 2\nwarning\n124 1000000 4096 0.5 2\n", "its Docker does not answer"),
        (GOOD + b"1 1000000 4096 0.5 2\n", "its Docker does not answer"),
        (b"1 1000000 4096 0.5 2\n" + GOOD, ""),
        (b"1 1000000 4096 0.5 2", ""),  # it is not whole yet
        (b"1 1000000 4096 0.5 2\n0 10", "its Docker does not answer"),
        (b"1 1000000\n", ""),
        (b"1\n", ""),
        (b"\n", ""),
        (b"0 -1 4096 0.5 2\n", ""),
        (b"0  \n", ""),
        (b"bash: warning: no such locale\n", ""),
        (b"a b c\n", ""),
        (b"\xff \xfe \xfd\n", ""),
        (b"0 0 4096\n", ""),
        (b"0 0 4096 0.5 2 0\n", ""),
        # The load is 8 for each processor: it gets twice the time.
        (b"124 1000000 4096 16.0 2\n" * 3, ""),
        (b"124 1000000 4096 16.0 2\n" * 4, "its Docker does not answer"),
        (b"1 1000000 4096 160.0 2\n", "its Docker does not answer"),
    ],
)
def test_the_last_whole_line_decides(text: bytes, expected: str) -> None:
    assert verdict(text) == expected


@given(st.binary(max_size=200))
def test_garbage_is_no_verdict_and_no_error(text: bytes) -> None:
    verdict(text)
    assert verdict(text + b"\n" + GOOD) == ""


def test_a_worker_that_beats_is_let_be(heartbeat: Heartbeat, folder: Folder, tmp_path: Path) -> None:
    script = f"for n in 1 2 3; do echo 0 1000000 4096 0.5 2; done; touch {tmp_path}/beaten; exec sleep 60"
    heartbeat.add(LocalLink(folder, "worker-1", script), "r1")
    wait_until((tmp_path / "beaten").exists)
    assert heartbeat.check() == {}
    assert heartbeat.check() == {}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", "its SSH connection ended"),
        ("exit 255", "its SSH connection ended"),
        ("echo 0 1000000 4096 0.5 2", "its SSH connection ended"),
        ("echo 0 1000000 4096 0.5 2; echo 1 1000000 4096 0.5 2; exec sleep 60", "its Docker does not answer"),
        ("printf '0 10'; printf '0 4096 0.5 2\\n'; exec sleep 60", "its disk is full (0 MB free)"),
        (
            "yes 0 1000000 4096 0.5 2 | head -n 20000; echo 1 9999999 4096 0.5 2; exec sleep 60",
            "its Docker does not answer",
        ),
    ],
)
def test_a_worker_in_trouble_is_named(
    heartbeat: Heartbeat, folder: Folder, tmp_path: Path, script: str, reason: str
) -> None:
    heartbeat.add(
        LocalLink(folder, "worker-1", f"echo 0 1000000 4096 0.5 2; touch {tmp_path}/beaten; exec sleep 60"), "r1"
    )
    heartbeat.add(LocalLink(folder, "worker-2", script), "r1")
    assert wait_for(heartbeat, 1) == {"worker-2": reason}


@pytest.mark.parametrize("noise", ["1 0 4096 0.5 2\\n1 0 ", "124 0 4096 0.5 2\\n" * 3000])
def test_what_a_login_prints_is_no_sign(heartbeat: Heartbeat, folder: Folder, noise: str) -> None:
    heartbeat.add(LocalLink(folder, "worker-1", "printf '0 100'; sleep 0.1; echo '0000 4096 0.5 2'", noise), "r1")
    heartbeat.add(LocalLink(folder, "worker-2", "echo 1 1000000 4096 0.5 2; exec sleep 60", noise), "r1")
    found = wait_for(heartbeat, 2)
    assert found == {"worker-1": "its SSH connection ended", "worker-2": "its Docker does not answer"}


def test_a_worker_that_falls_silent_is_named(
    heartbeat: Heartbeat, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "MAX_SILENCE", 0.3)
    heartbeat.add(LocalLink(folder, "worker-1", "while :; do echo 0 1000000 4096 0.5 2; sleep 0.02; done"), "r1")
    heartbeat.add(LocalLink(folder, "worker-2", "echo 0 1000000 4096 0.5 2; exec sleep 60"), "r1")
    heartbeat.add(LocalLink(folder, "worker-3", "exec sleep 60"), "r1")
    found = wait_for(heartbeat, 2)
    assert found.keys() == {"worker-2", "worker-3"}
    assert all(reason.startswith("no sign of life for ") for reason in found.values())


def test_a_busy_worker_may_be_silent_for_longer(
    heartbeat: Heartbeat, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "MAX_SILENCE", 0.5)
    for name, load in (("worker-1", 0.5), ("worker-2", 400.0)):
        heartbeat.add(LocalLink(folder, name, f"echo 0 1000000 4096 {load} 2; exec sleep 60"), "r1")
    assert wait_for(heartbeat, 1).keys() == {"worker-1"}
    assert wait_for(heartbeat, 2).keys() == {"worker-1", "worker-2"}


def test_the_time_in_which_nobody_looked_is_not_the_workers(
    heartbeat: Heartbeat, folder: Folder, tmp_path: Path
) -> None:
    script = f"echo 0 1000000 4096 0.5 2; touch {tmp_path}/beaten; exec sleep 60"
    heartbeat.add(LocalLink(folder, "worker-1", script), "r1")
    wait_until((tmp_path / "beaten").exists)
    heartbeat.check()
    heartbeat._looked -= 1000 * heartbeats.MAX_SILENCE  # this machine was held up for so long
    assert heartbeat.check() == {}


@pytest.mark.parametrize(("gap", "load", "expected"), [(0, 0, 12), (5, 1, 12), (9, 1, 18), (1, 8, 24), (99, 99, 60)])
def test_patience_follows_the_last_signs(gap: float, load: float, expected: float) -> None:
    listener = heartbeats._Listener(subprocess.Popen(["true"]), 0, gap=gap, text=b"0 1 1 %f 1\n" % load, started=True)
    assert listener.patience == expected
    listener.process.wait()


def test_a_worker_that_is_dropped_is_heard_no_more(heartbeat: Heartbeat, folder: Folder, tmp_path: Path) -> None:
    """And what listened to it is gone; it may come back."""
    heartbeat.add(LocalLink(folder, "worker-1", f"echo $$ >{tmp_path}/process; exec sleep 60"), "r1")
    wait_until(lambda: (tmp_path / "process").exists() and (tmp_path / "process").read_text())
    heartbeat.drop("worker-1")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "process").read_text()), signal.SIGCONT)
    assert heartbeat.check() == {}
    heartbeat.drop("worker-1")
    heartbeat.drop("nobody")
    heartbeat.add(LocalLink(folder, "worker-1", "exit 1"), "r1")
    assert wait_for(heartbeat, 1) == {"worker-1": "its SSH connection ended"}


def test_closing_ends_all_and_leaves_no_file_open(folder: Folder) -> None:
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    heartbeat = Heartbeat()
    for n in range(5):
        heartbeat.add(LocalLink(folder, f"worker-{n}", "exec sleep 60"), "r1")
    heartbeat.close()
    after = os.listdir("/proc/self/fd") if before else []
    assert len(after) == len(before)
