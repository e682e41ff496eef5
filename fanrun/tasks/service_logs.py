"""`fab logs --service`: what the service's containers wrote, from the hosts' own Docker."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from loguru import logger

from fanrun.fanout.results.log_lines import LEVELS, Choice, Line, normal_time
from fanrun.fleet.errors import CommandFailed, UsageError
from fanrun.fleet.model import Host
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder

POLL = 1.0
LIST = ["docker", "ps", "--all", "--filter", "label=fanrun.service", "--format", "{{.Names}}"]
TIMED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) ?(.*)", re.DOTALL)
AGAIN = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")
PIECE = 16 * 1024
"""Bytes after which Docker cuts a line; it gives each piece a time."""
TIME_SIZE = len("2026-01-31T12:00:00.000000000Z ")
TORN = 8
"""Bytes by which a piece may be longer or shorter here, as it was cut within a character."""
REST = 15.0
"""Seconds for which a host that did not answer is not asked again while the service is followed."""
NOTHING = "nothing of it is there; `fab serve --replicas 2` starts it"
GONE = "No such container"
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
        """The name of its host."""
        return self.remote.host.name

    def read_more(self, since: str) -> list[Line]:
        """Return the lines that were written since the last time, at first since `since`; raises HostError."""
        start = self.seen or since
        argv = ["docker", "logs", "--timestamps", *(["--since", start] if start else []), self.name]
        done = self.remote.run(argv, sudo=self.remote.host.layout.docker_by_sudo, timeout=LONGEST)
        lines = [*self._parse("stdout", done.stdout), *self._parse("stderr", done.stderr)]
        lines = sorted((pair for pair in lines if pair[0] > self.seen), key=lambda pair: pair[0])
        self.seen = lines[-1][0] if lines else self.seen
        return [line for _, line in lines]

    def _parse(self, stream: str, text: str) -> Iterator[tuple[str, Line]]:
        """Yield each line with its time in nanoseconds."""
        for each in text.split("\n"):
            found = TIMED.fullmatch(each)
            if found is None:
                continue
            when, message = normal_time(found[1]), join_pieces(found[2])
            level = level_of(message)
            record = {"timestamp": when, "host": self.host, "service": self.name, "stream": stream}
            record |= {"level": level} if level else {}
            record["message"] = message
            yield found[1], Line(when, self.host, f"{self.host}/{self.name}", stream, message, level, False, record)


def join_pieces(message: str) -> str:
    """Return a message without the times that Docker puts between the pieces of a long one."""
    data, at = message.encode(), PIECE
    if len(data) <= PIECE:
        return message
    while found := AGAIN.search(data, at - TORN, at + TORN + TIME_SIZE):
        data = data[: found.start()] + data[found.end() :]
        at = found.start() + PIECE
    return data.decode("utf-8", "replace")


def level_of(message: str) -> str:
    """Return the level of a line of the service, which is a JSON object; "" for any other line."""
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        level = str(json.loads(message).get("level", ""))
        return level if level in LEVELS else ""
    return ""


class ServiceReader:
    """Reads what the service's containers wrote. `problems` has the hosts that could not be asked, and why."""

    def __init__(self, choice: Choice, folder: Folder, clock: Callable[[], float] = time.monotonic) -> None:
        self._choice, self._clock = choice, clock
        known = folder.load().hosts
        hosts = [host for host in known if choice.host in ("", host.name)]
        if not hosts:
            names = ", ".join(sorted(host.name for host in known))
            raise UsageError(f"--host {choice.host!r} is not in fleet {folder.name}; give one of {names}")
        self._remotes = {host.name: Remote(folder, host) for host in _machines(hosts)}
        self._containers: dict[tuple[str, str], Container] = {}
        self._asleep: dict[str, float] = {}
        self.problems: dict[str, str] = {}

    @property
    def is_there(self) -> bool:
        """Whether a container of the service was found, or may be on a host that could not be asked."""
        return bool(self._containers or self.problems)

    @property
    def why_none(self) -> str:
        """Return why there is no line whatever is asked for; "" if it is not known."""
        return "" if self.is_there else NOTHING

    def lines(self) -> Iterator[Line]:
        """Yield the chosen lines, sorted by time."""
        names = [name for name in self._remotes if self._asleep.get(name, 0) <= self._clock()]
        for name in names:
            self.problems.pop(name, None)
        found, errors = fan_out(names, self._read)
        self._asleep = {name: end for name, end in self._asleep.items() if name not in names}
        self._asleep |= dict.fromkeys(errors, self._clock() + REST)
        self.problems.update({name: str(error) for name, error in errors.items()})
        lines = [line for each in found.values() for line in each if self._choice.takes(line)]
        yield from sorted(lines, key=lambda line: line.time)

    def follow(self, wait: Callable[[float], None]) -> Iterator[Line]:
        """Yield the chosen lines as they are written, without an end; `wait` is called between two looks.

        Where no line can come, a warning says so at once: that no container is there, or which hosts do not answer.
        """
        told: dict[str, str] = {}
        while True:
            yield from self.lines()
            said = self.problems if self.is_there else {"the service": NOTHING}
            for name, why in said.items():
                if name not in told:
                    logger.warning("{}: {}", name, why)
            told = dict(said)
            wait(POLL)

    def close(self) -> None:
        """End the connections."""
        for remote in self._remotes.values():
            remote.close()

    def _read(self, name: str) -> list[Line]:
        """Return the new lines of all containers on a host."""
        remote, lines = self._remotes[name], list[Line]()
        for container in remote.run(LIST, sudo=remote.host.layout.docker_by_sudo).stdout.split():
            known = self._containers.setdefault((name, container), Container(remote, container))
            try:
                lines += known.read_more(self._choice.since)
            except CommandFailed as error:  # the lines of the others have been read, and are to be shown
                if GONE not in error.stderr:
                    self.problems[name] = str(error)
        return lines


def _machines(hosts: list[Host]) -> list[Host]:
    """Return one host for each machine: a machine may be the hub and a worker."""
    return list({(host.address, host.port): host for host in reversed(hosts)}.values())
