"""`fab logs --service`: what the service's containers wrote, from the hosts' own Docker."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fanrun.fanout.results.log_lines import LEVELS, Choice, Line, normal_time
from fanrun.fleet.errors import FanrunError
from fanrun.fleet.model import Host
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder

POLL = 1.0
LIST = ["docker", "ps", "--all", "--filter", "label=fanrun.service", "--format", "{{.Names}}"]
TIMED = re.compile(r"([0-9TZ:.+-]+) ?(.*)", re.DOTALL)
LONGEST = 600.0
"""Seconds that Docker may take to write a container's log."""


@dataclass
class Container:
    """A container of the service on a host; `seen` is the time of the last line that was read, in nanoseconds."""

    remote: Remote
    name: str
    seen: str = ""

    @property
    def host(self) -> str:
        return self.remote.host.name

    def read_more(self, since: str) -> list[Line]:
        """Return the lines that were written since the last time, at first since `since`; raises HostError."""
        start = self.seen or since
        argv = ["docker", "logs", "--timestamps", *(["--since", start] if start else []), self.name]
        done = self.remote.run(argv, sudo=True, timeout=LONGEST)
        lines = [*self._parsed("stdout", done.stdout), *self._parsed("stderr", done.stderr)]
        lines = sorted((pair for pair in lines if pair[0] > self.seen), key=lambda pair: pair[0])
        self.seen = lines[-1][0] if lines else self.seen
        return [line for _, line in lines]

    def _parsed(self, stream: str, text: str) -> Iterator[tuple[str, Line]]:
        return parse(text, host=self.host, container=self.name, stream=stream)


def parse(text: str, *, host: str, container: str, stream: str) -> Iterator[tuple[str, Line]]:
    """Yield each line of `docker logs --timestamps` with its time in nanoseconds."""
    for each in text.split("\n"):  # a message may have other characters that end lines
        found = TIMED.fullmatch(each)
        if found is None:
            continue
        time, message = normal_time(found[1]), found[2]
        level = level_of(message)
        record = {"timestamp": time, "host": host, "service": container, "stream": stream}
        record |= {"level": level} if level else {}
        record["message"] = message
        yield found[1], Line(time, host, f"{host}/{container}", stream, message, level, False, record)


def level_of(message: str) -> str:
    """Return the level of a line of the service, which is a JSON object; "" for any other line."""
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        level = str(json.loads(message).get("level", ""))
        return level if level in LEVELS else ""
    return ""


class ServiceReader:
    """Reads what the service's containers wrote. `problems` has the hosts that could not be asked, and why."""

    def __init__(self, choice: Choice, folder: Folder) -> None:
        self._choice = choice
        hosts = [host for host in folder.load().hosts if choice.host in ("", host.name)]
        self._remotes = {host.name: Remote(folder, host) for host in _machines(hosts)}
        self._containers: dict[tuple[str, str], Container] = {}
        self.problems: dict[str, str] = {}

    def lines(self) -> Iterator[Line]:
        """Yield what is wanted, sorted by time."""
        found, errors = fan_out(self._remotes, self._read)
        self._note(errors)
        lines = [line for each in found.values() for line in each if self._choice.takes(line)]
        yield from sorted(lines, key=lambda line: line.time)

    def follow(self, wait: Callable[[float], None]) -> Iterator[Line]:
        """Yield what is wanted as it is written, without an end; `wait` is called between two looks."""
        while True:
            yield from self.lines()
            wait(POLL)

    def close(self) -> None:
        """End the connections."""
        for remote in self._remotes.values():
            remote.close()

    def _read(self, name: str) -> list[Line]:
        """Return the new lines of all containers on a host."""
        remote, lines = self._remotes[name], list[Line]()
        for container in remote.run(LIST, sudo=True).stdout.split():
            known = self._containers.setdefault((name, container), Container(remote, container))
            lines += known.read_more(self._choice.since)
        return lines

    def _note(self, errors: Mapping[str, FanrunError]) -> None:
        self.problems.update({name: str(error) for name, error in errors.items()})


def _machines(hosts: list[Host]) -> list[Host]:
    """Return one host for each machine: a machine may be the hub and a worker."""
    return list({(host.address, host.port): host for host in reversed(hosts)}.values())
