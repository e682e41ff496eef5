"""A run connects to its hosts while it hashes files; tests wait for events, not for times."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout import resume
from fanrun.fanout.context import RunContext
from fanrun.fanout.leftovers import Leftovers
from fanrun.fanout.plan import Input
from fanrun.fanout.preflight import find_inputs
from fanrun.fanout.request import RunRequest
from fanrun.fanout.results.holding import hold_destination
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.run import Run
from fanrun.fanout.workers.connections import Connections
from fanrun.fanout.workers.executor import Stopped
from fanrun.fleet.errors import FanrunError, HostUnreachable, RunUnfinished, UsageError
from fanrun.fleet.probe import Probe
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from tests.unit.run_world import IMAGE, FakeConnections, record
from tests.unit.samples import FLEET, PROBE, write_tree


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder with an input in `src`."""
    write_tree(tmp_path, (b"src/a",))
    return tmp_path


@pytest.fixture
def begun(top: Path, folder: Folder) -> Iterator[Begun]:
    """A run of which one input of two is done; its files are not hashed yet."""
    write_tree(top / "src", (b"a", b"b"))
    ledger = record(top / "dst", (), b"a")
    context = RunContext(RunRequest(str(top / "src"), str(top / "dst")), FLEET, IMAGE)
    with hold_destination(context):
        yield Begun(context, folder, ledger, find_inputs(context.request)[0])
    ledger.close()


@dataclasses.dataclass(frozen=True)
class Begun:
    """What a run needs to make its resume plan."""

    context: RunContext
    folder: Folder
    ledger: Ledger
    inputs: list[Input]

    def run(self, connections: Connections) -> Run:
        return Run(self.context, connections, Board())


def test_files_are_hashed_while_the_hosts_are_connected(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts answer only once the plan is made, and the last file is hashed only once a host was called."""
    planned = threading.Event()

    def answer(name: str) -> Probe:
        assert planned.wait(60)
        return PROBE

    connections = FakeConnections(begun.folder, answer)
    (Path(begun.context.request.src) / "z").touch()
    inputs, _ = find_inputs(begun.context.request)
    hash_of = Ledger.hash_of

    def hash_slowly(self: Ledger, path: bytes, *, stop: threading.Event | None = None) -> str:
        assert not path.endswith(b"/z") or connections.begun.wait(60)
        return hash_of(self, path, stop=stop)

    monkeypatch.setattr(Ledger, "hash_of", hash_slowly)
    monkeypatch.setattr(resume, "INPUTS_PER_TASK", 1)
    todo = begun.run(connections).plan_resume(begun.ledger, inputs).todo
    assert [item.key for item in todo] == [b"b", b"z"]
    planned.set()
    assert connections.wait() == ({"worker-1": PROBE, "worker-2": PROBE}, {})
    connections.finish()


def test_a_run_with_nothing_to_do_calls_no_host(begun: Begun) -> None:
    def answer(name: str) -> Probe:
        raise HostUnreachable("it is off", host=name)

    done = [item for item in begun.inputs if item.key == b"a"]
    connections = FakeConnections(begun.folder, answer)
    report = begun.run(connections).execute(begun.ledger, done, dict)
    assert (report.kept, report.left, connections.opened) == (1, 0, [])


def test_hosts_that_all_fail_end_the_hashing(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(name: str) -> Probe:
        raise HostUnreachable("it is off", host=name)

    connections = FakeConnections(begun.folder, answer)
    all_failed = connections.all_failed

    def wait_for_all() -> dict[str, FanrunError]:
        with contextlib.suppress(FanrunError):
            connections.wait()
        return all_failed()

    monkeypatch.setattr(connections, "all_failed", wait_for_all)
    (Path(begun.context.request.src) / "z").touch()
    inputs, _ = find_inputs(begun.context.request)
    with pytest.raises(UsageError, match=r"no worker of fleet default can take part \(worker-1: it is off; worker-2"):
        begun.run(connections).execute(begun.ledger, inputs, dict)
    assert sorted(connections.opened) == ["worker-1", "worker-2"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RunUnfinished])
def test_an_end_of_the_hashing_ends_the_connections(
    begun: Begun, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    """Ctrl-C, and an error of the ledger: it is what is told, though hosts are being connected."""

    def answer(name: str) -> Probe:
        assert connections.closed.wait(60)
        raise Stopped

    connections = FakeConnections(begun.folder, answer)

    def fail(self: Ledger, *given: object) -> None:
        assert connections.begun.wait(60)
        raise kind("why")

    monkeypatch.setattr(Ledger, "record_inputs", fail)
    with pytest.raises(kind, match="why"):
        begun.run(connections).execute(begun.ledger, begun.inputs, dict)
    assert connections.closed.is_set()
    assert Leftovers(begun.folder.path / "runs").dead() == {}, "no host was reached"


def test_ctrl_c_while_hosts_are_connected_ends_the_run(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(name: str) -> Probe:
        assert connections.closed.wait(60)
        raise Stopped

    def interrupt() -> None:
        assert connections.begun.wait(60)
        raise KeyboardInterrupt

    connections = FakeConnections(begun.folder, answer)
    monkeypatch.setattr(connections, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        begun.run(connections).execute(begun.ledger, begun.inputs, dict)
    assert connections.closed.is_set()


@pytest.mark.parametrize(("seconds", "calls"), [(0, 1), (31, 2)])
def test_connections_that_were_idle_for_long_are_made_anew(folder: Folder, seconds: float, calls: int) -> None:
    times = iter([0.0, seconds])
    connections = FakeConnections(folder, clock=lambda: next(times))
    connections.begin(["worker-1"])
    connections.begin(["worker-1"])
    assert connections.wait() == ({"worker-1": PROBE}, {})
    assert connections.opened == ["worker-1"] * calls
    connections.finish()


def test_hosts_that_answer_and_are_unfit_take_no_part(begun: Begun) -> None:
    connections = FakeConnections(begun.folder, lambda name: dataclasses.replace(PROBE, docker=""))
    with pytest.raises(UsageError, match=r"can take part \(worker-1: its Docker does not answer"):
        begun.run(connections).execute(begun.ledger, begun.inputs, dict)


@pytest.mark.parametrize(("hosts", "left"), [(1, {"r": {"worker-1"}}), (2, {"r": {"worker-1", "worker-2"}})])
def test_a_run_leaves_nothing_to_clean_on_a_host_that_the_fleet_no_longer_has(
    folder: Folder, hosts: int, left: dict[str, set[str]]
) -> None:
    folder.create()
    folder.save(dataclasses.replace(FLEET, hosts=FLEET.workers[:hosts]))
    connections = FakeConnections(folder)
    connections.begin(["worker-1", "worker-2"])
    connections.wait()
    connections._unclean.update(["worker-1", "worker-2"])
    connections.finish()
    assert Leftovers(folder.path / "runs").dead() == left
