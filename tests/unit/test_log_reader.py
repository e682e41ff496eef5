"""Lines from DST, from workers and from the hub, brought together."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

import pytest

from fanrun.fanout.results import log_remote, log_worker
from fanrun.fanout.results.log_lines import Choice, Window
from fanrun.fleet.lock import exclusive
from fanrun.tasks.log_reader import RunFolder, RunReader
from tests.unit.log_hosts import World, begin, shipped
from tests.unit.logs_world import DAY, encoded, write_batch

ONE = [encoded(1, "a"), encoded(3, "c")]
TWO = [encoded(2, "b", batch="worker-2.0001"), encoded(4, "d", batch="worker-2.0001")]


@pytest.mark.parametrize("home", [(), ("worker-1",), ("worker-2",), ("worker-1", "worker-2")])
@pytest.mark.parametrize("hub", [(), ("worker-1",), ("worker-1", "worker-2")])
def test_the_same_lines_wherever_they_are(world: World, home: Sequence[str], hub: Sequence[str]) -> None:
    for host, lines in (("worker-1", ONE), ("worker-2", TWO)):
        world.spool(host, begin(host=host), *lines)
        if host in hub:
            sent = shipped([begin(host=host), *lines])
            world.ship(host, sent[0], sent[1], b'{"timestamp":"2026-01-\n', sent[0], sent[1], sent[2], sent[2])
    if "worker-1" in home:
        write_batch(world.logs, "worker-1.0001", [(1, "a"), (3, "c")])
    if "worker-2" in home:
        write_batch(world.logs, "worker-2.0001", [(2, "b"), (4, "d")])
    assert world.read() == (["a", "b", "c", "d"], {})
    assert world.read(Choice(host="worker-2")) == (["b", "d"], {})
    assert world.read(Choice(batch="worker-1.0001")) == (["a", "c"], {})


def test_a_run_that_is_over_asks_no_host(world: World) -> None:
    write_batch(world.logs, "worker-1.0001", [(1, "a")])
    world.spool("worker-1", encoded(2, "of a batch that nobody misses", batch="worker-1.0002"))
    world.gone |= {"worker-1", "worker-2", "hub"}
    world.end()
    assert world.read() == (["a"], {})


def test_lines_that_are_missing_in_dst_are_fetched(world: World) -> None:
    write_batch(world.logs, "worker-1.0001", [(1, "a")])
    world.spool("worker-1", encoded(1, "a"), encoded(2, "b", batch="worker-1.0002"))
    world.gone |= {"worker-2", "hub"}
    world.end(worker_1=["worker-1.0002"])
    assert world.read() == (["a", "b"], {})


def test_a_worker_that_is_gone_is_said_where_its_lines_are_wanted(world: World) -> None:
    write_batch(world.logs, "worker-1.0001", [(1, "a")])
    world.gone.add("worker-2")
    world.end(worker_2=["worker-2.0003"])
    assert world.read() == (["a"], {"worker-2": "no SSH to it"})
    assert world.read(Choice(host="worker-1")) == (["a"], {})
    assert world.read(Choice(batch="worker-1.0001")) == (["a"], {})


def test_a_worker_that_lost_its_log_is_said(world: World) -> None:
    world.end(worker_1=["worker-1.0001"])
    assert world.read() == ([], {"worker-1": "it has no log of this run, or none any more"})


def test_a_worker_that_is_in_the_fleet_no_more_is_said(world: World) -> None:
    write_batch(world.logs, "worker-1.0001", [(1, "a")])
    world.end(worker_7=["worker-7.0001"])
    assert world.read() == (["a"], {"worker-7": "it is not in fleet default any more"})


def test_without_the_fleet_what_is_home_is_shown(world: World) -> None:
    write_batch(world.logs, "worker-1.0001", [(1, "a")])
    world.end(worker_2=["worker-2.0001"])
    world.folder.fleet_json.unlink()
    messages, problems = world.read()
    assert messages == ["a"]
    assert list(problems) == ["worker-2"]


def test_long_logs_are_read_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_remote, "CHUNK", 1000)
    world.spool("worker-1", *(encoded(1, f"caf\u00e9 {number}") for number in range(50)))
    assert world.read() == ([f"caf\u00e9 {number}" for number in range(50)], {})


@pytest.mark.parametrize("garbage", [b"\0" * 5000, b"x" * 1000, b"\xff\n" * 2000, b"\n" * 3000, b"{}\n" * 1000])
def test_garbage_in_a_log_hides_no_line(world: World, monkeypatch: pytest.MonkeyPatch, garbage: bytes) -> None:
    monkeypatch.setattr(log_remote, "CHUNK", 1000)
    world.spool("worker-1", encoded(1, "a"), garbage, b"\n", encoded(2, "b"))
    assert world.read() == (["a", "b"], {})


def test_a_line_that_is_being_written_is_not_shown_yet(world: World) -> None:
    world.spool("worker-1", encoded(1, "a"), encoded(2, "b")[:-10])
    assert world.read() == (["a"], {})


def test_a_clock_that_was_set_back(world: World) -> None:
    world.spool("worker-1", encoded(5, "a"), encoded(1, "b"), encoded(6, "c"))
    assert world.read() == (["a", "b", "c"], {})


PIECES = [
    encoded(1, "ERROR long ", partial=True, level="error"),
    encoded(2, "end"),
    encoded(3, "plain"),
    encoded(4, "ERROR short", level="error"),
    encoded(5, "last ", partial=True),
    encoded(6, "words", partial=True),
]
PART = Window(f"{DAY}02.000Z", f"{DAY}03.000Z")


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (Choice(), ["ERROR long ", "end", "plain", "ERROR short", "last ", "words"]),
        (Choice(level="error"), ["ERROR long ", "end", "ERROR short"]),
        (Choice(pattern=re.compile("long end$")), ["ERROR long ", "end"]),
        (Choice(pattern=re.compile("ERROR")), ["ERROR long ", "end", "ERROR short"]),
        (Choice(pattern=re.compile("t w")), ["last ", "words"]),
        (Choice(since=f"{DAY}02.000Z"), ["plain", "ERROR short", "last ", "words"]),
        (
            Choice(windows={"worker-1.0001": [Window(f"{DAY}02.000Z", f"{DAY}03.000Z")]}),
            ["ERROR long ", "end", "plain"],
        ),
    ],
)
def test_a_line_in_pieces_is_chosen_as_a_whole(world: World, choice: Choice, found: list[str]) -> None:
    world.spool("worker-1", *PIECES)
    assert world.read(choice) == (found, {})
    reader = RunReader(RunFolder("r1", world.home), choice, world.folder)
    assert [line.message for line in reader.follow(lambda _: world.end(worker_1=["worker-1.0001"]))] == found


def test_a_damaged_file_in_dst_is_said(world: World) -> None:
    path = write_batch(world.logs, "worker-1.0001", [(1, "a")])
    path.write_bytes(path.read_bytes()[:-4] + b"spam")
    world.end()
    messages, problems = world.read()
    assert messages == ["a"]
    assert problems == {"worker-1.0001": f"{path} is damaged; what follows is missing"}


def test_a_run_is_followed_to_its_end(world: World) -> None:
    write_batch(world.logs, "worker-1.0001", [(1, "a")])
    world.spool("worker-1", encoded(1, "a"), encoded(2, "b", batch="worker-1.0002"))

    def finish() -> None:
        world.spool("worker-1", encoded(5, "e", batch="worker-1.0002"))
        world.end()

    steps = [lambda: world.spool("worker-2", *TWO), finish]
    assert world.follow(steps) == (["a", "b", "b", "d", "e"], {})


def test_a_long_log_is_followed_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look brings no more than a part, and the next one does not wait while there is more."""
    monkeypatch.setattr(log_remote, "CHUNK", 1000)
    texts = [f"{number}" for number in range(100)]
    world.spool("worker-1", *(encoded(1, text) for text in texts[:90]))

    def finish() -> None:
        world.spool("worker-1", *(encoded(1, text) for text in texts[90:]))
        world.end(worker_1=["worker-1.0001"])

    assert world.follow([finish]) == (texts, {})


def test_what_comes_home_is_shown_though_its_worker_is_gone(world: World) -> None:
    world.spool("worker-1", encoded(1, "a"))

    def lose() -> None:
        world.gone.add("worker-1")
        write_batch(world.logs, "worker-1.0001", [(1, "a"), (2, "b")])
        write_batch(world.logs, "worker-1.0002", [(3, "c")])
        world.end()

    assert world.follow([lose]) == (["a", "b", "c"], {})


def test_a_worker_that_is_gone_at_the_end_of_what_is_followed(world: World) -> None:
    world.spool("worker-1", encoded(1, "a"))

    def lose() -> None:
        world.gone.add("worker-1")
        world.end(worker_1=["worker-1.0001"])

    assert world.follow([lose]) == (["a"], {"worker-1": "no SSH to it"})


def test_a_worker_that_does_not_answer_is_asked_again_later(world: World) -> None:
    """Else each look would wait for it."""
    world.spool("worker-1", encoded(1, "a"))
    world.spool("worker-2", *TWO)
    world.gone.add("worker-1")
    now, seen, counts = [100.0], list[str](), list[int]()

    def wait(seconds: float) -> None:
        counts.append(len(seen))
        world.gone.clear()
        now[0] += log_worker.REST / 2 + 1
        if len(counts) == 3:
            world.end(worker_1=["worker-1.0001"])

    reader = RunReader(RunFolder("r1", world.home), Choice(), world.folder, lambda: now[0])
    for line in reader.follow(wait):
        seen += [line.message]
    assert (seen, counts, reader.problems) == (["b", "d", "a"], [2, 2, 3], {})


def test_what_is_followed_ends_with_a_run_that_was_killed(world: World) -> None:
    world.spool("worker-1", encoded(1, "a"))
    world.spool("worker-2", begin(host="worker-2"))
    lock = world.top / "dst" / ".fanrun" / "lock"
    held = exclusive(lock, "run r1 (process 7 on here)")
    held.__enter__()
    steps = [lambda: world.spool("worker-1", encoded(2, "b")), lambda: held.__exit__(None, None, None)]
    assert world.follow(steps) == (["a", "b"], {})


def test_what_is_followed_ends_where_dst_is_removed(world: World) -> None:
    world.spool("worker-1", encoded(1, "a"))

    def remove() -> None:
        world.spool("worker-1", encoded(2, "b"))
        shutil.rmtree(world.top / "dst")

    messages, problems = world.follow([remove])
    assert messages == ["a", "b"]
    assert problems == {str(world.home): "it was removed or renamed; if DST was moved, name it with --dst"}
