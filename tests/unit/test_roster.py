"""Which workers a run may use: they join and are drained while it is at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanrun.fanout.drain import wait_until_free
from fanrun.fanout.workers.roster import LOOK_SECONDS, Roster
from fanrun.fleet.errors import UsageError
from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.poll import Clock
from fanrun.fleet.store import Folder
from fanrun.tasks import target


def fleet(*names: str) -> Fleet:
    hosts = (Host(name, "worker" if name != "hub" else "hub", "127.0.0.1", "127.0.0.1", "u") for name in names)
    return Fleet("default", "local", tuple(hosts))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path, "default")
    made.create()
    made.key.touch()
    made.save(fleet("hub", "worker-1", "worker-2"))
    return made


def test_it_looks_now_and_then(folder: Folder) -> None:
    now = [0.0]
    roster = Roster(folder, lambda: now[0])
    assert roster.read() == frozenset({"worker-1", "worker-2"})
    folder.save(fleet("hub", "worker-1", "worker-2", "worker-3"))
    assert roster.read() is None
    now[0] = LOOK_SECONDS
    assert roster.read() == frozenset({"worker-1", "worker-2", "worker-3"})
    folder.set_drained(["worker-2"])
    now[0] = 2 * LOOK_SECONDS
    assert roster.read() == frozenset({"worker-1", "worker-3"})


def test_a_fleet_that_can_not_be_read_changes_nothing(folder: Folder) -> None:
    folder.fleet_json.write_text("{")
    assert Roster(folder, lambda: 0.0).read() is None


def test_a_new_host_of_the_name_of_a_drained_one_is_not_drained(folder: Folder) -> None:
    folder.set_drained(["worker-1", "worker-2"])
    folder.save(fleet("hub", "worker-1"))
    assert folder.drained() == {"worker-1"}
    folder.save(fleet("hub", "worker-1", "worker-2"))
    assert folder.drained() == {"worker-1"}


def test_a_run_begins_without_those_that_are_drained(folder: Folder) -> None:
    assert target.undrained(folder, folder.load()) == folder.load()
    folder.set_drained(["worker-1"])
    assert [host.name for host in target.undrained(folder, folder.load()).hosts] == ["hub", "worker-2"]
    folder.set_drained(["worker-1", "worker-2"])
    with pytest.raises(UsageError, match="all workers are drained; `fab drain --undo --host worker-1`"):
        target.undrained(folder, folder.load())


def test_waiting_for_a_worker_is_told_once_for_each_run(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["20260101-000000-aaaa\n", "20260101-000000-aaaa\n", "20260101-000001-bbbb\n", ""])

    class Answer:
        def __init__(self, stdout: str) -> None:
            self.stdout = stdout

    class FakeRemote:
        def __init__(self, folder: Folder, host: Host) -> None:
            pass

        def run(self, argv: list[str], *, check: bool) -> Answer:
            return Answer(next(answers))

        def close(self) -> None:
            pass

    monkeypatch.setattr("fanrun.fanout.drain.Remote", FakeRemote)
    told = list[str]()
    clock = Clock(lambda: 0.0, lambda seconds: None, lambda: 0.5)
    wait_until_free(folder, folder.load().workers[0], told.append, clock)
    assert told == ["waiting for 20260101-000000-aaaa", "waiting for 20260101-000001-bbbb"]
