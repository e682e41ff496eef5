"""Lines of one worker, from the hub as far as they were shipped, and from the worker itself."""

from __future__ import annotations

import dataclasses
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.results import log_remote
from fanrun.fanout.results.log_lines import Choice
from fanrun.fanout.results.log_worker import NO_LOG, ONLY_SHIPPED, QUIET, REST
from fanrun.fleet.lock import exclusive
from fanrun.fleet.model import Host
from fanrun.fleet.store import Folder
from fanrun.tasks.log_reader import Place, Reader
from tests.unit.log_hosts import World, at, begin, make_world, shipped
from tests.unit.logs_world import encoded, write_batch
from tests.unit.samples import FLEET

ABC = [begin(), encoded(1, "a"), encoded(2, "b"), encoded(3, "c")]


def test_after_the_run_what_was_not_shipped_is_read_from_the_worker(world: World) -> None:
    world.spool("worker-1", *ABC)
    world.ship("worker-1", *shipped(ABC)[:2])
    world.end(worker_1=["worker-1.0001"])
    assert world.read() == (["a", "b", "c"], {})


def test_after_the_run_the_hub_stands_in_for_a_worker_that_is_gone(world: World) -> None:
    world.spool("worker-1", *ABC)
    world.ship("worker-1", *shipped(ABC)[:2])
    world.gone.add("worker-1")
    world.end(worker_1=["worker-1.0001"])
    assert world.read() == (["a"], {"worker-1": f"no SSH to it; {ONLY_SHIPPED}"})
    world.gone.add("hub")
    assert world.read() == ([], {"worker-1": "no SSH to it"})


def test_after_the_run_the_hub_stands_in_for_a_worker_that_lost_its_log(world: World) -> None:
    world.ship("worker-1", *shipped(ABC))
    world.end(worker_1=["worker-1.0001"])
    assert world.read() == (["a", "b", "c"], {"worker-1": f"{NO_LOG}; {ONLY_SHIPPED}"})


def test_a_worker_that_goes_while_it_is_read_is_stood_in_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is shown once, though the hub has all of them."""
    monkeypatch.setattr(log_remote, "CHUNK", 1000)
    texts = [str(number) for number in range(40)]
    lines = [begin(), *(encoded(1, text) for text in texts)]
    world.spool("worker-1", *lines)
    world.ship("worker-1", *shipped(lines))
    world.end(worker_1=["worker-1.0001"])
    reader = Reader(Place("r1", world.home), Choice(), world.folder)
    found = reader.lines()
    messages = [next(found).message for _ in range(10)]
    world.gone.add("worker-1")
    assert messages + [line.message for line in found] == texts
    assert reader.problems == {"worker-1": f"no SSH to it; {ONLY_SHIPPED}"}


@pytest.mark.parametrize("count", range(5))
def test_while_the_run_goes_on_the_worker_has_what_the_hub_has_not(world: World, count: int) -> None:
    """Shipping may have ended, or be off, or never have begun."""
    world.spool("worker-1", *ABC)
    world.ship("worker-1", *shipped(ABC)[:count])
    assert world.read() == (["a", "b", "c"], {})


def test_while_the_run_goes_on_it_is_said_where_only_the_hub_answers(world: World) -> None:
    world.spool("worker-1", *ABC)
    world.ship("worker-1", *shipped(ABC)[:3])
    world.gone.add("worker-1")
    assert world.read() == (["a", "b"], {"worker-1": f"no SSH to it; {ONLY_SHIPPED}"})


def test_workers_are_connected_to_side_by_side(world: World) -> None:
    """And one that is gone is not waited for twice."""
    for host in ("worker-1", "worker-2"):
        world.ship(host, *shipped([begin(host=host), encoded(1, host, batch=f"{host}.0001")]))
    world.gone.add("worker-1")
    reader = Reader(Place("r1", world.home), Choice(), world.folder)
    lines = reader.lines()
    assert {"worker-1", "worker-2"} <= set(world.asked), "before the first line is shown"
    assert [line.message for line in lines] == ["worker-1", "worker-2"]
    assert world.asked.count("worker-1") == 1
    assert reader.problems.keys() == {"worker-1", "worker-2"}


def test_what_the_hub_has_is_not_read_from_the_worker(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [begin(), *(encoded(1, f"{number}") for number in range(1000))]
    world.spool("worker-1", *lines)
    world.ship("worker-1", *shipped(lines)[:-1])
    monkeypatch.setattr(log_remote, "CHUNK", 100_000)
    messages, problems = world.read()
    assert (messages, problems) == ([f"{number}" for number in range(1000)], {})
    assert world.asked.count("hub") > 2
    assert world.asked.count("worker-1") == 2, "to connect, and for the rest"


@pytest.mark.parametrize("glued", [False, True])
def test_a_line_that_the_hub_has_torn_comes_from_the_worker(world: World, glued: bool) -> None:
    """In its place; where it came to the hub again, too."""
    world.spool("worker-1", *ABC)
    sent = shipped(ABC)
    world.ship("worker-1", *sent[:2], sent[2][:-20] + (b"" if glued else b"\n"), sent[3])
    assert world.read() == (["a", "b", "c"], {})
    world.ship("worker-1", *sent[1:])
    assert world.read() == (["a", "b", "c"], {})


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


@given(st.data())
def test_whatever_was_shipped_each_line_is_shown_once_and_in_order(data: st.DataObject) -> None:
    """The hub gets lines again from anywhere on, after a line that it may have torn."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as top:
        patch.setattr(log_remote, "CHUNK", data.draw(st.sampled_from([1000, 10**6])))
        folder = Folder(Path(top) / "home", "default")
        folder.create()
        world = make_world(Path(top), folder, patch)
        texts = [f"{number}" for number in range(data.draw(st.integers(0, 12)))]
        lines = [begin(), *(encoded(1, text) for text in texts)]
        world.spool("worker-1", *lines)
        sent, known = shipped(lines), 0
        for _ in range(data.draw(st.integers(0, 4))):
            start = data.draw(st.integers(0, known))
            end = data.draw(st.integers(start, len(sent)))
            world.ship("worker-1", *sent[start:end])
            known = max(known, end)
            if data.draw(st.booleans()):
                world.ship("worker-1", sent[min(end, len(sent) - 1)][: data.draw(st.integers(1, 60))] + b"\n")
                known = max(known, min(end + 1, len(sent)))  # what follows it may come before it does
        assert world.read() == (texts, {})


def test_lines_that_the_hub_got_late_are_in_the_order_of_their_place(world: World) -> None:
    lines = [begin(), *(encoded(1, str(number)) for number in range(6))]
    sent = shipped(lines)
    world.ship("worker-1", *sent[:2], b'{"torn', b"\n", *sent[4:], *sent[2:])
    world.gone.add("worker-1")
    assert world.read()[0] == ["0", "1", "2", "3", "4", "5"]


def test_a_line_behind_a_torn_one_is_shown_though_the_worker_is_gone(world: World) -> None:
    sent = shipped(ABC)
    world.ship("worker-1", *sent[:2], sent[2][:-20], *sent[2:])
    world.gone.add("worker-1")
    assert world.read()[0] == ["a", "b", "c"]


def test_a_worker_that_was_made_anew_hides_nothing_that_was_shipped_before(world: World) -> None:
    old, new = [begin(1), encoded(1, "a"), encoded(2, "b")], [begin(2), encoded(3, "c"), encoded(4, "d")]
    world.ship("worker-1", *shipped(old), *shipped(new)[:2])
    world.spool("worker-1", *new)
    assert world.read() == (["a", "b", "c", "d"], {})


def test_a_log_that_began_anew_is_found_where_nothing_of_it_was_shipped(world: World) -> None:
    old, new = [begin(1), encoded(1, "a"), encoded(2, "b")], [begin(2), encoded(3, "c"), encoded(4, "d")]
    world.ship("worker-1", *shipped(old))
    world.spool("worker-1", *new)
    assert world.read() == (["a", "b", "c", "d"], {})


@pytest.mark.parametrize(
    "forged",
    [
        [at(len(ABC[0]), encoded(1, "forged"))],
        [at(10**17, encoded(1, "forged"))],
        [at(len(b"".join(ABC[:3])), encoded(1, "forged"))],
        [at(len(b"".join(ABC[:2])) + 7, encoded(1, "forged"))],
        [at(-1, encoded(1, "forged"))],
        [at(10**400, encoded(1, "forged"))],
    ],
    ids=range(6),
)
def test_what_another_host_sends_in_the_name_of_a_worker_hides_no_line(world: World, forged: list[bytes]) -> None:
    world.spool("worker-1", *ABC)
    world.ship("worker-1", *forged, *shipped(ABC)[:2], *forged)
    messages, problems = world.read()
    assert [text for text in messages if text != "forged"] == ["a", "b", "c"]
    assert problems == {}
    assert messages.count("forged") <= 2


@pytest.mark.parametrize("field", [{"run": "r0"}, {"host": "worker-2"}, {"batch": "worker-2.0001"}], ids=str)
def test_a_line_of_another_run_or_worker_is_none_of_this_log(world: World, field: dict[str, str]) -> None:
    fields = {"batch": "worker-1.0001", "host": "worker-1", **field}
    foreign = encoded(1, "x", **fields)
    world.ship("worker-1", begin(), at(len(begin()), foreign))
    world.spool("worker-1", begin(), foreign, encoded(2, "b"))
    assert world.read() == (["b"], {})


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

    reader = Reader(Place("r1", world.home), Choice(), world.folder, clock)
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


def test_a_run_that_was_killed_and_whose_logs_are_gone_is_said(world: World) -> None:
    with exclusive(world.top / "dst" / ".fanrun" / "lock", "run r0 (process 7 on here)"):
        pass
    assert world.read() == ([], {"worker-1": NO_LOG, "worker-2": NO_LOG})


def test_a_run_that_ends_while_it_is_read_says_of_no_idle_worker_that_its_log_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = Reader._hosts

    def end_then(reader: Reader) -> list[Host]:
        found = hosts(reader)
        world.end()
        return found

    monkeypatch.setattr(Reader, "_hosts", end_then)
    world.spool("worker-1", begin(), encoded(1, "a"))
    assert world.read() == (["a"], {})


def test_a_run_that_goes_on_need_not_have_logs_yet(world: World) -> None:
    with exclusive(world.top / "dst" / ".fanrun" / "lock", "run r1 (process 7 on here)"):
        assert world.read() == ([], {})


def test_a_busy_run_is_read_up_to_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may write faster than its lines are read."""
    monkeypatch.setattr(log_remote, "CHUNK", 1000)
    world.spool("worker-1", *(encoded(1, "x") for _ in range(50)))
    reader = Reader(Place("r1", world.home), Choice(), world.folder)
    count = 0
    for _ in reader.lines():
        world.spool("worker-1", encoded(1, "x"))
        count += 1
        assert count < 100
    assert count >= 50


@pytest.mark.parametrize(("is_shipped", "most"), [(False, 2.2), (True, 3.2)])
def test_long_logs_of_many_workers_take_little_memory(world: World, is_shipped: bool, most: float) -> None:
    """All are read side by side, as their lines are of the same time."""
    count, size = 6, 14_000
    workers = [dataclasses.replace(FLEET.hosts[0], name=f"worker-{number}") for number in range(count)]
    world.folder.save(dataclasses.replace(FLEET, hosts=(FLEET.hub, *workers)))
    for host in workers:
        lines = [begin(host=host.name), *(encoded(n // 1000, "x", batch=f"{host.name}.0001") for n in range(size))]
        world.spool(host.name, *lines)
        if is_shipped:
            world.ship(host.name, *shipped(lines))
    tracemalloc.start()
    try:
        reader = Reader(Place("r1", world.home), Choice(), world.folder)
        assert sum(1 for _ in reader.lines()) == count * size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / count < most * 1024**2
