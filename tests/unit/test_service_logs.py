"""`fab logs --service`: lines of the hosts' Docker, as it writes them. Hosts are answers of Docker here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from loguru import logger

from fanrun.fanout.results.log_lines import Choice
from fanrun.fleet.errors import CommandFailed, HostUnreachable, UsageError
from fanrun.fleet.model import Host
from fanrun.fleet.ssh import Result
from fanrun.fleet.store import Folder
from fanrun.tasks import service_logs
from fanrun.tasks.service_logs import NOTHING, PIECE, REST, ServiceReader
from tests.unit.samples import FLEET

DAY = "2026-01-31T12:00:"


def stamped(second: float, text: str) -> str:
    """Return a line as `docker logs --timestamps` writes it."""
    return f"{DAY}{second:012.9f}Z {text}\n"


@dataclass
class World:
    """What Docker has on each host: by container its stdout and its stderr, None for one that was just removed.

    Hosts in `gone` do not answer.
    """

    folder: Folder
    containers: dict[str, dict[str, tuple[str, str] | None]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def show(self, host: str, container: str, out: str = "", err: str = "") -> None:
        """Let a container write."""
        before = self.containers.setdefault(host, {}).get(container) or ("", "")
        self.containers[host][container] = (before[0] + out, before[1] + err)

    def reader(self, choice: Choice | None = None, clock: Callable[[], float] = lambda: 0.0) -> ServiceReader:
        return ServiceReader(choice or Choice(), self.folder, clock)

    def read(self, choice: Choice | None = None) -> list[str]:
        """Return what is shown."""
        return [f"{line.batch} {line.stream} {line.message}" for line in self.reader(choice).lines()]


class Answers:
    """A connection to a host whose answers the world knows."""

    world: World

    def __init__(self, folder: Folder, host: Host) -> None:
        self.host = host

    def run(self, argv: list[str], *, sudo: bool = False, timeout: float = 0) -> Result:
        self.world.asked.append(self.host.name)
        if self.host.name in self.world.gone:
            raise HostUnreachable("no SSH to it", host=self.host.name)
        known = self.world.containers.get(self.host.name, {})
        if argv[:2] == ["docker", "ps"]:
            return Result(0, "".join(f"{name}\n" for name in known), "")
        said = known[argv[-1]]
        if said is None:
            why = f"Error response from daemon: No such container: {argv[-1]}"
            raise CommandFailed(why, host=self.host.name, command="docker logs", exit_code=1, stderr=why)
        return Result(0, *said)

    def close(self) -> None:
        pass


@pytest.fixture
def world(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> World:
    folder.save(FLEET)
    made = World(folder)
    Answers.world = made
    monkeypatch.setattr(service_logs, "Remote", Answers)
    return made


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    found: list[str] = []
    number = logger.add(lambda text: found.append(str(text).rstrip()), level="WARNING", format="{message}")
    yield found
    logger.remove(number)


def test_lines_of_all_hosts_are_sorted_by_time(world: World) -> None:
    world.show("worker-1", "fanrun-processor-1", stamped(1, "a") + stamped(4, "d"), stamped(2, "b"))
    world.show("hub", "fanrun-api", err=stamped(3, "c"))
    one = "worker-1/fanrun-processor-1"
    assert world.read() == [f"{one} stdout a", f"{one} stderr b", "hub/fanrun-api stderr c", f"{one} stdout d"]
    assert world.read(Choice(host="hub")) == ["hub/fanrun-api stderr c"]


@pytest.mark.parametrize(
    "message",
    ["a\u2028b", "a\x85b", "a\x0cb\x0b\x1c", "10%\r20%", "10%\r", "", " ", "2026", f"{DAY}01.000000000Z x", "\x1b[2J"],
)
def test_a_line_ends_where_docker_ends_it(world: World, message: str) -> None:
    world.show("hub", "fanrun-api", stamped(1, message) + stamped(2, "next"))
    assert world.read() == [f"hub/fanrun-api stdout {message}", "hub/fanrun-api stdout next"]


def test_a_long_line_has_no_times_in_it(world: World) -> None:
    """Docker puts one before each piece of 16 KiB."""
    text = "caf\u00e9" * 10000  # some are cut in two
    data = text.encode()
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    written = f"{DAY}01.000000000Z ".encode() + f"{DAY}01.000000001Z ".encode().join(pieces)
    world.show("hub", "fanrun-api", written.decode(errors="replace") + "\n")
    (shown,) = world.read()
    assert "2026" not in shown
    assert shown.count("caf") == 10000


def test_a_container_that_goes_hides_no_other(world: World) -> None:
    """It may end after it was listed."""
    world.show("worker-1", "fanrun-processor-1", stamped(1, "a"))
    world.containers["worker-1"]["fanrun-processor-2"] = None
    reader = world.reader()
    assert [line.message for line in reader.lines()] == ["a"]
    assert reader.problems == {}


def test_a_host_that_is_not_of_the_fleet(world: World) -> None:
    with pytest.raises(UsageError) as caught:
        world.reader(Choice(host="worker-9"))
    assert str(caught.value).startswith("--host 'worker-9' is not in fleet default; give one of hub, worker-1")


def test_whether_something_is_there(world: World) -> None:
    reader = world.reader()
    assert (list(reader.lines()), reader.is_there, reader.why_none) == ([], False, NOTHING)
    world.gone.add("hub")
    assert (list(reader.lines()), reader.is_there) == ([], True), "it is not known"
    assert reader.problems == {"hub": "no SSH to it"}
    world.gone.clear()
    world.show("hub", "fanrun-api")
    quiet = world.reader()
    assert (list(quiet.lines()), quiet.is_there, quiet.why_none) == ([], True, "")


def lose_worker(world: World) -> None:
    world.show("hub", "fanrun-api", stamped(1, "a"))
    world.gone.add("worker-1")


def repair_worker(world: World) -> None:
    world.gone.clear()
    world.show("worker-1", "fanrun-processor-1", stamped(2, "b"))


def test_a_follower_is_told_at_once_why_no_line_comes(world: World, warnings: list[str]) -> None:
    now, messages, looks = [0.0], list[str](), list[tuple[list[str], list[str]]]()
    changes: list[Callable[[World], None] | None] = [None, lose_worker, None, repair_worker, None]

    def wait(_: float) -> None:
        looks.append((messages.copy(), warnings.copy()))
        messages.clear()
        warnings.clear()
        now[0] += REST / 2
        if not changes:
            raise KeyboardInterrupt
        if change := changes.pop(0):
            change(world)

    reader = world.reader(clock=lambda: now[0])
    with contextlib.suppress(KeyboardInterrupt):
        messages.extend(line.message for line in reader.follow(wait))
    nothing: tuple[list[str], list[str]] = ([], [])
    assert looks == [
        ([], [f"the service: {NOTHING}"]),
        nothing,
        (["a"], ["worker-1: no SSH to it"]),
        nothing,
        (["b"], []),
        nothing,
    ]
    assert reader.problems == {}


def test_a_host_that_does_not_answer_is_asked_again_later(world: World) -> None:
    """Else each look would wait for it."""
    now = [0.0]
    world.gone.add("worker-1")
    reader = world.reader(clock=lambda: now[0])
    for _ in range(3):
        list(reader.lines())
        now[0] += REST / 2 - 1
    assert world.asked.count("worker-1") == 1
    assert reader.problems == {"worker-1": "no SSH to it"}
    now[0] = REST
    list(reader.lines())
    assert world.asked.count("worker-1") == 2
