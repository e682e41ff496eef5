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
from fanrun.fanout.results.log_worker import NO_LOG, ONLY_SHIPPED
from fanrun.fleet.lock import exclusive
from fanrun.fleet.store import Folder
from fanrun.tasks.log_reader import RunFolder, RunReader
from tests.unit.log_hosts import ABC, World, at, begin, make_world, shipped
from tests.unit.logs_world import encoded
from tests.unit.samples import FLEET


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
    reader = RunReader(RunFolder("r1", world.home), Choice(), world.folder)
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
    reader = RunReader(RunFolder("r1", world.home), Choice(), world.folder)
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


def test_a_run_that_was_killed_and_whose_logs_are_gone_is_said(world: World) -> None:
    with exclusive(world.top / "dst" / ".fanrun" / "lock", "run r0 (process 7 on here)"):
        pass
    assert world.read() == ([], {"worker-1": NO_LOG, "worker-2": NO_LOG})


@pytest.mark.long
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
        reader = RunReader(RunFolder("r1", world.home), Choice(), world.folder)
        assert sum(1 for _ in reader.lines()) == count * size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / count < most * 1024**2
