"""What a host says of itself, asked in one command."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fanrun.fleet.script import read_script, script_argv

WORK = "/var/lib/fanrun"
LEASE = "/var/lib/fanrun.lease"
"""Where a host has one: the seconds that it lives on after this file was last touched."""
SPOT = "/run/fanrun.spot"
"""Exists on a host that its provider may end at any time, after a notice."""
MARK = f"{WORK}/fleet"
"""Says whose a host is, and by which version of Fanrun it was set up."""
EXPIRY = 15
"""Minutes without a sign of life after which a run on a host is dead."""
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
PROBE = read_script("fanrun.fleet", "probe.sh")


def probe_argv(work: str = WORK, prefix: Sequence[str] = ("sudo", "-n")) -> list[str]:
    """Return the command whose output `parse` reads; `prefix` are the words before a command that uses Docker."""
    return script_argv(PROBE, work, LEASE, f"{work}/fleet", str(EXPIRY), *prefix)


@dataclass(frozen=True)
class KeptData:
    """Reference data on a host: their name, the hash of their content, their bytes."""

    name: str
    digest: str
    bytes: int


@dataclass(frozen=True)
class Probe:
    """A host's answer; sizes in bytes, `docker` its version or "" when it doesn't answer, `python` its python3 or "".

    `services` are the servers on it, as "name state".  `lease` are the seconds until the host ends itself, None for one
    that doesn't.  `marked` is whether the host was set up to its end, `kept` is its reference data.  `cached` are the
    bytes of inputs of earlier runs, None where there is no cache.  `runs` are those that are at work there.
    `nvidia` is its runtime for GPUs, or "".
    """

    uid: int
    gid: int
    load: float
    cpus: int
    memory: int
    disk_total: int
    disk_free: int
    docker: str
    images: tuple[str, ...]
    python: str = ""
    services: tuple[str, ...] = ()
    lease: int | None = None
    marked: bool = True
    kept: tuple[KeptData, ...] = ()
    cached: int | None = None
    runs: tuple[str, ...] = ()
    nvidia: str = ""


def parse(text: str) -> Probe:
    """Read what probe_argv's command wrote; a missing line counts as 0 or ""."""
    answer = _Answer(text)
    block = answer.whole_number("disk", 2)
    return Probe(
        uid=answer.whole_number("uid"),
        gid=answer.whole_number("gid"),
        load=answer.number("load"),
        cpus=answer.whole_number("cpus") or 1,
        memory=answer.whole_number("memory") * 1024,
        disk_total=answer.whole_number("disk") * block,
        disk_free=answer.whole_number("disk", 1) * block,
        docker=answer.text("docker"),
        images=tuple(word for line in answer.lines("image") for word in line),
        python=answer.text("python"),
        services=tuple(sorted(" ".join(line) for line in answer.lines("service"))),
        lease=answer.whole_number("lease") if answer.text("lease") else None,
        marked=bool(answer.text("marked")),
        nvidia=answer.text("nvidia"),
        cached=answer.whole_number("cache", 1) if answer.lines("cache") else None,
        runs=tuple(sorted(line[0] for line in answer.lines("run") if line)),
        kept=tuple(found for line in answer.lines("kept") if (found := _kept(line)) is not None),
    )


def _kept(words: list[str]) -> KeptData | None:
    """Read the words of a line on reference data; None for one that is no such line."""
    return KeptData(words[0], words[1], int(words[2])) if len(words) == 3 and words[2].isdecimal() else None


class _Answer:
    """The lines of an answer by their first word; of several lines with the same one, `lines` has all."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, list[list[str]]] = {}
        for line in text.splitlines():
            key, *words = line.split() or [""]
            self._lines.setdefault(key, []).append(words)

    def lines(self, key: str) -> list[list[str]]:
        """Return the words of each line that begins with this word."""
        return self._lines.get(key, [])

    def text(self, key: str) -> str:
        """Return the last such line, "" if there is none."""
        lines = self.lines(key)
        return " ".join(lines[-1]) if lines else ""

    def number(self, key: str, index: int = 0) -> float:
        """Return a number in the last such line, 0 if there is none."""
        words = self.text(key).split()
        return float(words[index]) if len(words) > index and NUMBER.fullmatch(words[index]) else 0.0

    def whole_number(self, key: str, index: int = 0) -> int:
        """Return a number in the last such line without its fraction, 0 if there is none."""
        return int(self.number(key, index))
