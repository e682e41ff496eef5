"""The limit of a run's bandwidth: its units, its division among workers, and rsync's options."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fanrun.fanout import transfer_commands
from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.workers.bandwidth import Bandwidth
from fanrun.fanout.workers.connections import Allowance, Connections
from fanrun.fanout.workers.executor import CommandResult
from fanrun.fanout.workers.link import Link
from fanrun.fleet import values
from fanrun.fleet.errors import UsageError
from fanrun.fleet.store import Folder

PLACE = BatchFolder("20260101-000000-abcd", "worker-1.0001")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0", 0),
        ("1", 1024),
        ("500", 500 * 1024),
        ("500k", 500 * 1024),
        ("500KiB", 500 * 1024),
        ("500kb", 500_000),
        ("1.5m", 1536 * 1024),
        ("2MB", 2_000_000),
        ("1G", 1024**3),
        ("1tib", 1024**4),
        ("4096b", 4096),
    ],
)
def test_the_units_are_those_of_rsync(text: str, rate: int) -> None:
    assert values.rate("bwlimit", text) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1", "1x", "1.m", "1 m", "100b", "1ki", "9999999999t", "1\n", "٣"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--bwlimit=.*: give bytes per second as rsync does, 1k or more, as 500k or"):
        values.rate("bwlimit", text)


def test_each_worker_gets_an_equal_part() -> None:
    bandwidth = Bandwidth(3 * 1024**2)
    bandwidth.workers = 3
    assert bandwidth.of_worker() == ["--bwlimit=1024"]
    assert bandwidth.of_hub() == ["--bwlimit=3072"]
    bandwidth.workers = 10**6
    assert bandwidth.of_worker() == ["--bwlimit=1"], "0 would be no limit"
    assert Bandwidth().of_worker() == Bandwidth().of_hub() == []


def test_workers_that_join_get_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bandwidth = Bandwidth(1024**2)
    folder = Folder(tmp_path / "home", "default")
    connections = Connections("r", "image", folder, allowance=Allowance(bandwidth=bandwidth))
    monkeypatch.setattr(connections, "open_all", lambda names: ({}, {}))
    connections.begin(["worker-1", "worker-2"])
    assert bandwidth.of_worker() == ["--bwlimit=512"]
    connections.add("worker-3")
    assert bandwidth.of_worker() == ["--bwlimit=341"]
    connections.finish()


def test_rsync_gets_the_limit() -> None:
    limit = ["--bwlimit=7"]
    for argv, usual in (
        (
            transfer_commands.push_argv("ssh", "/src", "worker-1", PLACE, limit),
            transfer_commands.push_argv("ssh", "/src", "worker-1", PLACE),
        ),
        (
            transfer_commands.pull_argv("ssh", "worker-1", PLACE, "/staging", limit),
            transfer_commands.pull_argv("ssh", "worker-1", PLACE, "/staging"),
        ),
    ):
        assert [word for word in argv if word not in limit] == usual
        assert argv.index(limit[0]) < argv.index("--")


class CountingLink(Link):
    """A link that runs nothing, and counts how many transfers run at the same time.

    A transfer ends when so many run at the same time, or after a moment.
    """

    def __init__(self, folder: Folder, bandwidth: Bandwidth, together: int) -> None:
        super().__init__(folder, "worker-1", "r-1", threading.Semaphore(), bandwidth)
        self._together, self._enough = together, threading.Event()
        self.now = self.most = 0

    def count(self, argv: object, **_: object) -> CommandResult:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now == self._together:
            self._enough.set()
        self._enough.wait(0.2)
        self.now -= 1
        return CommandResult(0, b"", "")


@pytest.mark.parametrize(("rate", "most"), [(0, 2), (1024**2, 1)])
def test_a_limited_worker_has_one_transfer_in_each_direction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, most: int
) -> None:
    folder = Folder(tmp_path / "home", "default")
    link = CountingLink(folder, Bandwidth(rate), together=2)
    monkeypatch.setattr(link._executor, "call", link.count)
    pulls = [threading.Thread(target=lambda: link.pull(PLACE, "/staging", apart=False)) for _ in range(2)]
    for pull in pulls:
        pull.start()
    for pull in pulls:
        pull.join()
    assert link.most == most
