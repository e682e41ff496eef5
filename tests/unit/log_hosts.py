"""A run in DST, on workers and at the hub, for the tests of `fab logs`. Hosts are folders here; scripts are real."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fanrun.fanout.results.log_lines import Choice
from fanrun.fleet.errors import HostUnreachable
from fanrun.fleet.model import Host
from fanrun.fleet.store import Folder
from fanrun.tasks import log_reader
from fanrun.tasks.log_reader import RunFolder, RunReader
from tests.unit.logs_world import encoded
from tests.unit.samples import FLEET


@dataclass
class World:
    """A run of the sample fleet in DST, and a folder for each host; those in `gone` do not answer.

    `asked` has the names of those that were asked.
    """

    top: Path
    folder: Folder
    gone: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

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
        reader = RunReader(RunFolder("r1", self.home), choice or Choice(), self.folder)
        return [line.message for line in reader.lines()], reader.problems

    def follow(
        self, steps: Sequence[Callable[[], object]], clock: Callable[[], float] = lambda: 0.0
    ) -> tuple[list[str], dict[str, str]]:
        """Follow a run; before each look but the first the next step is called."""
        left = list(steps)

        def wait(seconds: float) -> None:
            left.pop(0)()

        reader = RunReader(RunFolder("r1", self.home), Choice(), self.folder, clock)
        found = [line.message for line in reader.follow(wait)]
        assert left == []
        return found, reader.problems


class LocalRemote:
    """Runs a host's scripts here, on that host's folder."""

    world: World

    def __init__(self, folder: Folder, host: Host) -> None:
        self.host = host

    def read(self, argv: list[str], most: int, *, sudo: bool = False) -> str:
        self.world.asked.append(self.host.name)
        if self.host.name in self.world.gone:
            raise HostUnreachable("no SSH to it", host=self.host.name)
        here = [part.replace("/var/log/fanrun", str(self.world.top / self.host.name)) for part in argv]
        done = subprocess.run(here, capture_output=True, text=True, check=True)
        assert len(done.stdout) <= most
        return done.stdout

    def close(self) -> None:
        pass


def make_world(top: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world with an empty run; the reader's way to hosts leads there."""
    folder.save(FLEET)
    world = World(top, folder)
    world.home.mkdir(parents=True)
    LocalRemote.world = world
    monkeypatch.setattr(log_reader, "Remote", LocalRemote)
    return world


def begin(number: int = 1, *, host: str = "worker-1") -> bytes:
    """Return the first line of a worker's log; another log has another number."""
    text = f"the log of a run begins here ({number})"
    return encoded(0, text, batch=f"{host}.0001", stream="fanrun", spool="begin")


def shipped(lines: Sequence[bytes]) -> list[bytes]:
    """Return the lines of a worker's log as the hub has them: each with its place in that log."""
    found, offset = list[bytes](), 0
    for line in lines:
        found.append(at(offset, line))
        offset += len(line)
    return found


def at(offset: int, line: bytes) -> bytes:
    """Return a line as the hub has it."""
    return line.replace(b"{", b'{"file":"r1.jsonl","offset":%d,' % offset, 1)


ABC = [begin(), encoded(1, "a"), encoded(2, "b"), encoded(3, "c")]
"""A worker's log with three messages."""
