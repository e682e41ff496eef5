"""What runs may have left on hosts: known to the next one, and only when they are over."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from loguru import logger

from fanrun.fanout.leftovers import Leftovers
from fanrun.fanout.program import Program
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.faults import Reasons
from fanrun.fanout.results.joblog import Joblog
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.results.ownership import Ownership, RunInputs
from fanrun.fanout.schedule.scheduler import Scheduler
from fanrun.fanout.workers.connections import Connections
from fanrun.fanout.workers.executor import CommandResult, Stopped
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.log_rest import bring_rest
from fanrun.fanout.workers.membership import Membership
from fanrun.fanout.workers.roster import Roster
from fanrun.fanout.workers.supervisor import Supervisor
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from tests.waiting import wait_until

HOLD = """
import pathlib, sys
from fanrun.fanout.results.faults import Reasons
from fanrun.fanout.leftovers import Leftovers
with Leftovers(pathlib.Path(sys.argv[1])).hold("a", ["worker-1", "worker-2"]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_is_dead_when_its_process_is_however_that_ended(tmp_path: Path) -> None:
    leftovers = Leftovers(tmp_path / "runs")
    assert leftovers.dead() == {}
    argv = [sys.executable, "-c", HOLD, str(tmp_path / "runs")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert leftovers.dead() == {}, "it is alive"
        process.kill()
    assert leftovers.dead() == {"a": {"worker-1", "worker-2"}}


def test_what_was_cleaned_host_by_host_is_forgotten(tmp_path: Path) -> None:
    leftovers = Leftovers(tmp_path / "runs")
    with leftovers.hold("a", ["worker-1", "worker-2", "worker-3"]):
        leftovers.cleaned("a", ["worker-2"])
    with leftovers.hold("b", ["worker-1"]):
        assert leftovers.dead() == {"a": {"worker-1", "worker-3"}}
        leftovers.cleaned("a", {"worker-1", "hub"})
    assert leftovers.dead() == {"a": {"worker-3"}, "b": {"worker-1"}}
    leftovers.cleaned("a", ["worker-3"])
    leftovers.cleaned("a", ["worker-3"])
    leftovers.cleaned("b", ["worker-1"])
    assert list((tmp_path / "runs").iterdir()) == []


def test_hosts_that_the_fleet_no_longer_has_are_forgotten_once_the_run_is_over(tmp_path: Path) -> None:
    leftovers = Leftovers(tmp_path / "runs")
    with leftovers.hold("a", ["worker-1", "worker-4"]), leftovers.hold("b", ["worker-4"]):
        leftovers.forget_all_but(["hub", "worker-1"])
    assert leftovers.dead() == {"a": {"worker-1", "worker-4"}, "b": {"worker-4"}}, "they were at work"
    leftovers.forget_all_but(["hub", "worker-1"])
    assert leftovers.dead() == {"a": {"worker-1"}}


def test_a_folder_that_can_not_be_written_prevents_no_run(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with Leftovers(tmp_path / "runs").hold("a", ["worker-1"]):
        Leftovers(tmp_path / "runs").cleaned("a", ["worker-1"])
    assert Leftovers(tmp_path / "runs").dead() == {}


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """One whose ssh tells of each connection that it begins, and never ends the first one."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(
        f'#!/bin/sh\ncase $* in *" -O "*) exit 1 ;; esac\n'
        f'cd "{tmp_path}"; [ ! -e log ] || exit 255; echo begun >log; exec sleep 1000\n'
    )
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    scheduler = Scheduler()
    ownership = Ownership(RunInputs([]), scheduler.is_settled, lambda key: False)
    books = Ledger(tmp_path / "ledger.db"), Joblog(tmp_path / "joblog.tsv")
    destination = Destination(
        str(tmp_path),
        str(tmp_path),
        str(tmp_path),
        "p",
        *books,
        ownership,
        Reasons(print),
        RunLogs(tmp_path / "logs"),
    )
    job = Job("r", str(tmp_path), Program("image"), scheduler, destination, Board())
    connections = Connections("r", "image", Folder(tmp_path / "home", "default"))
    return Supervisor(job, connections, lambda probe: "", dict, Membership(Roster(connections.folder)))


def test_nobody_is_connected_to_once_the_run_is_being_closed(supervisor: Supervisor, tmp_path: Path) -> None:
    """Whoever is being looked for then is looked for no more; the next run is told of it."""
    ended = list[str]()

    def look() -> None:
        with pytest.raises(Stopped):
            supervisor.open()
        ended.append("worker-1")

    connections = supervisor._connections
    connections.begin(["worker-1"])
    thread = threading.Thread(target=look)
    thread.start()
    wait_until((tmp_path / "log").exists)
    supervisor.close()
    thread.join(30)
    assert ended == ["worker-1"]
    assert connections.unclean == {"worker-1"}
    begun = (tmp_path / "log").read_text()
    with pytest.raises(Stopped):
        connections.open_all(["worker-1", "worker-2"])
    assert (tmp_path / "log").read_text() == begun


@pytest.mark.parametrize("is_there", [False, True])
def test_it_is_said_once_a_host_where_lines_stay_there(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    said = list[str]()
    handler = logger.add(lambda message: said.append(message.record["message"]), level="WARNING")
    monkeypatch.setattr(Link, "last", lambda *_, **more: CommandResult(1, b"", "grep: no memory"))
    link = Link(supervisor._connections.folder, "worker-1", "r", threading.Semaphore())
    try:
        bring_rest(link, supervisor._job, is_there=is_there)
        for number in range(2):
            supervisor._job.destination.logs.begin("worker-1", f"worker-1.000{number}")
        bring_rest(link, supervisor._job, is_there=is_there)
    finally:
        logger.remove(handler)
    why = "grep: no memory" if is_there else "it does not answer"
    text = f"what the containers of 2 batches printed stays there ({why}); `fab logs` can read it for a day"
    assert said == [f"worker-1: {text}"]
