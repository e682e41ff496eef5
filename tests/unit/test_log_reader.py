"""Lines from DST, from workers and from the hub, brought together.

Hosts are folders here; their scripts are the real ones.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fanrun.fanout.results import log_remote
from fanrun.fanout.results.log_lines import Choice, Window
from fanrun.fleet.errors import HostUnreachable
from fanrun.fleet.lock import exclusive
from fanrun.fleet.model import Host
from fanrun.fleet.ssh import Result
from fanrun.fleet.store import Folder
from fanrun.tasks import log_reader
from fanrun.tasks.log_reader import Place, Reader
from tests.unit.logs_world import DAY, encoded, write_batch
from tests.unit.samples import FLEET

BEGIN = '"spool":"begin","message":"the log of a run begins here (1)"'


@dataclass
class World:
    """A run of the sample fleet in DST, and a folder for each host; those in `gone` do not answer."""

    top: Path
    folder: Folder
    gone: set[str]

    @property
    def home(self) -> Path:
        return self.top / "dst" / ".fanrun" / "runs" / "r1"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    def spool(self, host: str, *lines: bytes) -> Path:
        """Append to the run's log on a worker."""
        path = self.top / host / "r1.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(b"".join(lines))
        return path

    def ship(self, host: str, *lines: bytes) -> None:
        """Append to what the hub has of a worker."""
        path = self.top / "hub" / "r1" / f"{host}.jsonl"
        path.parent.mkdir(exist_ok=True, parents=True)
        with path.open("ab") as file:
            file.write(b"".join(lines))

    def end(self, **missing: Sequence[str]) -> None:
        """Let the run be over; lines of some batches stayed on these workers."""
        (self.home / "report.json").touch()
        if missing:
            self.logs.mkdir(exist_ok=True)
            named = {host.replace("_", "-"): batches for host, batches in missing.items()}
            (self.logs / "missing.json").write_text(json.dumps(named))

    def read(self, choice: Choice | None = None) -> tuple[list[str], dict[str, str]]:
        """Return the messages that are shown, and the problems."""
        reader = Reader(Place("r1", self.home), choice or Choice(), self.folder)
        return [line.message for line in reader.lines()], reader.problems


class LocalRemote:
    """Runs a host's scripts here, on that host's folder."""

    world: World

    def __init__(self, folder: Folder, host: Host) -> None:
        self.host = host

    def run(self, argv: list[str], *, sudo: bool = False) -> Result:
        if self.host.name in self.world.gone:
            raise HostUnreachable("no SSH to it", host=self.host.name)
        here = [part.replace("/var/log/fanrun", str(self.world.top / self.host.name)) for part in argv]
        done = subprocess.run(here, capture_output=True, text=True, check=True)
        return Result(0, done.stdout, done.stderr)

    def close(self) -> None:
        pass


@pytest.fixture
def world(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> World:
    folder.save(FLEET)
    made = World(tmp_path, folder, set())
    made.home.mkdir(parents=True)
    LocalRemote.world = made
    monkeypatch.setattr(log_reader, "Remote", LocalRemote)
    return made


def shipped(offset: int, line: bytes) -> bytes:
    return line.replace(b"{", b'{"file":"/var/log/fanrun/r1.jsonl","offset":%d,' % offset, 1)


ONE = [encoded(1, "a"), encoded(3, "c")]
TWO = [encoded(2, "b", batch="worker-2.0001"), encoded(4, "d", batch="worker-2.0001")]


@pytest.mark.parametrize("home", [(), ("worker-1",), ("worker-2",), ("worker-1", "worker-2")])
@pytest.mark.parametrize("hub", [(), ("worker-1",), ("worker-1", "worker-2")])
def test_the_same_lines_wherever_they_are(world: World, home: Sequence[str], hub: Sequence[str]) -> None:
    for host, lines in (("worker-1", ONE), ("worker-2", TWO)):
        begin = lines[0].replace(b'"message":"', BEGIN.encode()[:-1] + b'","x":"')
        world.spool(host, begin, *lines)
        if host in hub:
            sent = [shipped(offset, line) for offset, line in enumerate([begin, *lines])]
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
    world.ship("worker-2", shipped(0, encoded(2, "b", batch="worker-2.0003")))
    assert world.read() == (["a", "b"], {}), "the hub has them"


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
    reader = Reader(Place("r1", world.home), choice, world.folder)
    assert [line.message for line in reader.follow(lambda _: world.end(worker_1=["worker-1.0001"]))] == found


def test_a_damaged_file_in_dst_is_said(world: World) -> None:
    path = write_batch(world.logs, "worker-1.0001", [(1, "a")])
    path.write_bytes(path.read_bytes()[:-4] + b"spam")
    world.end()
    messages, problems = world.read()
    assert messages == ["a"]
    assert problems == {"worker-1.0001": f"{path} is damaged; what follows is missing"}


def follow(world: World, steps: Sequence[object]) -> tuple[list[str], dict[str, str]]:
    """Follow a run; before each look but the first the next step is called."""
    left = list(steps)

    def wait(seconds: float) -> None:
        step = left.pop(0)
        assert callable(step)
        step()

    reader = Reader(Place("r1", world.home), Choice(), world.folder)
    found = [line.message for line in reader.follow(wait)]
    assert left == []
    return found, reader.problems


def test_a_run_is_followed_to_its_end(world: World) -> None:
    write_batch(world.logs, "worker-1.0001", [(1, "a")])
    world.spool("worker-1", encoded(1, "a"), encoded(2, "b", batch="worker-1.0002"))

    def finish() -> None:
        world.spool("worker-1", encoded(5, "e", batch="worker-1.0002"))
        world.end()

    steps = [lambda: world.spool("worker-2", *TWO), finish]
    assert follow(world, steps) == (["a", "b", "b", "d", "e"], {})


def test_a_long_log_is_followed_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look brings no more than a part, and the next one does not wait while there is more."""
    monkeypatch.setattr(log_remote, "CHUNK", 1000)
    texts = [f"{number}" for number in range(100)]
    world.spool("worker-1", *(encoded(1, text) for text in texts[:90]))

    def finish() -> None:
        world.spool("worker-1", *(encoded(1, text) for text in texts[90:]))
        world.end(worker_1=["worker-1.0001"])

    assert follow(world, [finish]) == (texts, {})


def test_what_comes_home_is_shown_though_its_worker_is_gone(world: World) -> None:
    world.spool("worker-1", encoded(1, "a"))

    def lose() -> None:
        world.gone.add("worker-1")
        write_batch(world.logs, "worker-1.0001", [(1, "a"), (2, "b")])
        write_batch(world.logs, "worker-1.0002", [(3, "c")])
        world.end()

    assert follow(world, [lose]) == (["a", "b", "c"], {})


def test_a_worker_that_is_gone_at_the_end_of_what_is_followed(world: World) -> None:
    world.spool("worker-1", encoded(1, "a"))

    def lose() -> None:
        world.gone.add("worker-1")
        world.end(worker_1=["worker-1.0001"])

    assert follow(world, [lose]) == (["a"], {"worker-1": "no SSH to it"})


def test_a_worker_that_does_not_answer_is_asked_again_later(world: World) -> None:
    """Else each look would wait for it."""
    world.spool("worker-1", encoded(1, "a"))
    world.spool("worker-2", *TWO)
    world.gone.add("worker-1")
    now, seen, counts = [100.0], list[str](), list[int]()

    def wait(seconds: float) -> None:
        counts.append(len(seen))
        world.gone.clear()
        now[0] += log_reader.REST / 2 + 1
        if len(counts) == 3:
            world.end(worker_1=["worker-1.0001"])

    reader = Reader(Place("r1", world.home), Choice(), world.folder, lambda: now[0])
    for line in reader.follow(wait):
        seen += [line.message]
    assert (seen, counts, reader.problems) == (["b", "d", "a"], [2, 2, 3], {})


def test_what_is_followed_ends_with_a_run_that_was_killed(world: World) -> None:
    world.spool("worker-1", encoded(1, "a"))
    lock = world.top / "dst" / ".fanrun" / "lock"
    held = exclusive(lock, "run r1 (process 7 on here)")
    held.__enter__()
    steps = [lambda: world.spool("worker-1", encoded(2, "b")), lambda: held.__exit__(None, None, None)]
    assert follow(world, steps) == (["a", "b"], {})


def test_what_is_followed_ends_where_dst_is_removed(world: World) -> None:
    world.spool("worker-1", encoded(1, "a"))

    def remove() -> None:
        world.spool("worker-1", encoded(2, "b"))
        shutil.rmtree(world.top / "dst")

    messages, problems = follow(world, [remove])
    assert messages == ["a", "b"]
    assert problems == {str(world.home): "it was removed or renamed; if DST was moved, name it with --dst"}
