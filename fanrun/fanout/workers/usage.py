"""What a worker's containers use, by the lines of usage among its signs of life."""

from __future__ import annotations

from typing import NamedTuple

from fanrun.fanout.schedule.jobs import Sample

PREFIX = b"use "


class Reading(NamedTuple):
    """One line of usage: seconds since the start of the machine, bytes available, pressure in percent.

    `containers` has (CPU time in seconds, memory in bytes) by the start of a container's id.
    """

    uptime: float
    available: int
    waiting: float
    containers: dict[bytes, tuple[float, int]]


class UsageMeter:
    """Makes samples of the lines of usage of one worker."""

    def __init__(self) -> None:
        self._last: Reading | None = None
        self._samples: list[Sample] = []

    def take(self, text: bytes) -> bytes:
        """Read the whole lines of usage in a text, and return the text without them."""
        *lines, rest = text.split(b"\n")
        others = []
        for line in lines:
            if not line.startswith(PREFIX):
                others.append(line)
            elif (reading := parse(line)) is not None:
                self._add(reading)
        return b"\n".join([*others, rest])

    def read(self) -> list[Sample]:
        """Return the samples since the last time."""
        samples, self._samples = self._samples, []
        return samples

    def _add(self, reading: Reading) -> None:
        """Compare a reading with the one before it."""
        before, self._last = self._last, reading
        if before is None or reading.uptime <= before.uptime:
            return
        both = reading.containers.keys() & before.containers.keys()
        if not both:
            return
        spent = sum(reading.containers[name][0] - before.containers[name][0] for name in both)
        cores = max(spent, 0.0) / (reading.uptime - before.uptime) / len(both)
        memory = sum(reading.containers[name][1] for name in both) // len(both)
        self._samples.append(Sample(len(reading.containers), cores, memory, reading.available, reading.waiting))


def parse(line: bytes) -> Reading | None:
    """Read a line of usage, as heartbeat.sh writes it; None for another one."""
    try:
        _, uptime, available, memory, disks, *containers = line.split()
        used = dict(map(_container, containers))
        return Reading(float(uptime), int(available) * 1024, max(float(memory), float(disks)), used)
    except ValueError:
        return None


def _container(word: bytes) -> tuple[bytes, tuple[float, int]]:
    """Read "ID:CPU:BYTES"."""
    name, cpu, size = word.split(b":")
    seconds = int(cpu[:-1]) / 1e9 if cpu.endswith(b"n") else int(cpu) / 1e6
    return name, (seconds, int(size))
