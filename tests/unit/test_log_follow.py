"""Lines of a run that goes on, as they are written on the worker and shipped to the hub."""

from __future__ import annotations

import pytest

from fanrun.fanout.results import log_remote
from fanrun.fanout.results.log_lines import Choice
from fanrun.fanout.results.log_worker import QUIET, REST
from fanrun.fleet.lock import exclusive
from fanrun.fleet.model import Host
from fanrun.tasks.log_reader import RunFolder, RunReader
from tests.unit.log_hosts import ABC, World, begin, shipped
from tests.unit.logs_world import encoded, write_batch


def test_a_line_that_was_torn_while_the_worker_was_away_is_shown_once_it_is_back(world: World) -> None:
    clock, sent = Clock(), shipped(ABC)
    world.spool("worker-1", *ABC)
    world.ship("worker-1", *sent[:2])
    world.gone.add("worker-1")

    def tear() -> None:
        world.ship("worker-1", sent[2][:-20] + b"\n", sent[3])

    def repair() -> None:
        world.gone.clear()
        clock.now += REST + QUIET

    steps = [tear, repair, lambda: world.end(worker_1=["worker-1.0001"])]
    assert world.follow(steps, clock) == (["a", "c", "b"], {})


class Clock:
    """A clock that is set by hand, and the number of looks."""

    def __init__(self) -> None:
        self.now, self.looks = 100.0, 0

    def __call__(self) -> float:
        return self.now


def test_shipping_that_ends_in_the_middle_of_a_run_is_noticed(world: World) -> None:
    """And each line is shown once when it goes on."""
    clock, lines = Clock(), [begin(), *(encoded(number, f"{number}") for number in range(1, 7))]
    sent, shown_at = shipped(lines), dict[str, float]()
    world.spool("worker-1", *lines[:2])
    world.ship("worker-1", *sent[:2])

    def change(look: int) -> None:
        if look == 0:
            world.spool("worker-1", *lines[2:4])
        elif look == 2:
            world.spool("worker-1", lines[4])
        elif look == 3:
            world.ship("worker-1", *sent[2:6])
            world.spool("worker-1", lines[5])
        elif look == 4:
            world.spool("worker-1", lines[6])
            world.end(worker_1=["worker-1.0001"])

    def wait(seconds: float) -> None:
        change(clock.looks)
        clock.now += QUIET if clock.looks == 1 else 1
        clock.looks += 1

    reader = RunReader(RunFolder("r1", world.home), Choice(), world.folder, clock)
    for line in reader.follow(wait):
        shown_at[line.message] = clock.now - 100
        assert len(shown_at) == int(line.message)
    assert shown_at == {"1": 0, "2": QUIET + 1, "3": QUIET + 1, "4": QUIET + 2, "5": QUIET + 3, "6": QUIET + 4}
    assert reader.problems == {}


def test_the_worker_is_read_where_the_hub_ends_in_the_middle_of_a_run(world: World) -> None:
    world.spool("worker-1", *ABC[:2])
    world.ship("worker-1", *shipped(ABC)[:2])

    def lose() -> None:
        world.gone.add("hub")
        world.spool("worker-1", ABC[2])

    def repair() -> None:
        world.gone.clear()
        world.ship("worker-1", *shipped(ABC)[2:3])
        world.spool("worker-1", ABC[3])

    steps = [lose, repair, lambda: world.end(worker_1=["worker-1.0001"])]
    assert world.follow(steps, Clock()) == (["a", "b", "c"], {})


def test_a_worker_that_was_made_anew_is_followed_from_its_start(world: World) -> None:
    """Also if its new log is longer than the old one was; what came home is shown in either case."""
    old = [begin(1), *(encoded(1, f"old {number}") for number in range(5))]
    texts = [f"new {number}" for number in range(8)]
    path = world.spool("worker-1", *old)

    def renew() -> None:
        path.unlink()
        world.spool("worker-1", begin(2), *(encoded(2, text, batch="worker-1.0002") for text in texts))

    def finish() -> None:
        write_batch(world.logs, "worker-1.0002", [(2, text) for text in [*texts, "last"]])
        world.end()

    assert world.follow([renew, finish]) == ([*(f"old {number}" for number in range(5)), *texts, "last"], {})


def test_a_log_that_has_shrunk_is_followed_from_its_start(world: World) -> None:
    path = world.spool("worker-1", begin(), encoded(1, "a" * 500))
    steps = [
        lambda: path.write_bytes(begin() + encoded(2, "b")),
        lambda: world.end(worker_1=["worker-1.0001"]),
    ]
    assert world.follow(steps) == (["a" * 500, "b"], {})


def test_a_run_that_ends_while_it_is_read_says_of_no_idle_worker_that_its_log_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = RunReader._hosts

    def end_then(reader: RunReader) -> list[Host]:
        found = hosts(reader)
        world.end()
        return found

    monkeypatch.setattr(RunReader, "_hosts", end_then)
    world.spool("worker-1", begin(), encoded(1, "a"))
    assert world.read() == (["a"], {})


def test_a_run_that_goes_on_need_not_have_logs_yet(world: World) -> None:
    with exclusive(world.top / "dst" / ".fanrun" / "lock", "run r1 (process 7 on here)"):
        assert world.read() == ([], {})


def test_a_busy_run_is_read_up_to_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may write faster than its lines are read."""
    monkeypatch.setattr(log_remote, "CHUNK", 1000)
    world.spool("worker-1", *(encoded(1, "x") for _ in range(50)))
    reader = RunReader(RunFolder("r1", world.home), Choice(), world.folder)
    count = 0
    for _ in reader.lines():
        world.spool("worker-1", encoded(1, "x"))
        count += 1
        assert count < 100
    assert count >= 50
