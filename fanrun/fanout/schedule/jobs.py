"""How many containers a worker runs at the same time.

A number that was asked for is fixed.  Otherwise a worker starts with one container, and gets more while what was
measured allows it.  Symbols, with their units:

    n      containers at a time
    u      CPU that one container uses while n run (cores)
    C      processors of the worker, or fewer if --cpus or --memory allow no more containers
    M, m   memory that is available on the worker; that one container uses (bytes)

More containers are started when all n are at work, u was the same in two samples in a row, neither memory nor the
disks are under pressure (MAX_PRESSURE), and

    n' = min(MAX_INCREASE n, C, C / u + SLACK, n + (M - RESERVE) / (GROWTH_ROOM m))                           (1)

is greater than n.  It is kept if it helps.  The containers have to use more CPU together, n' u' >= MIN_GAIN n u, which
is looked at twice.  Once n' batches were processed, they have to go at least MIN_SPEED times as fast as with fewer.
If not, the worker goes back to n and stays there.  If a container is killed for memory, the worker goes on with half as
many and stays there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MAX_INCREASE = 4
"""So many times as many containers may follow one sample: memory is used later than CPU."""
SLACK = 0.25
"""A single-threaded program uses a little less, or by a sample's error more, than one core."""
SAME = 0.25
"""Two samples are the same if they differ by this part of the greater one, or by less than MIN_CORES."""
MIN_CORES = 0.05
MAX_PRESSURE = 10.0
"""The part of the last 10 seconds (percent) in which some process waited for memory, or all waited for disks."""
RESERVE = 256 * 1024**2
"""Bytes of a worker's memory that stay free."""
GROWTH_ROOM = 1.5
"""A container may need so many times the memory that those at work use."""
MIN_GAIN = 1.1
MIN_SPEED = 0.9


class Sample(NamedTuple):
    """What a worker's containers used between two looks.

    `cores` and `memory` (bytes) are the mean of the `containers` that were there both times; `available` is the memory
    that is left (bytes), `waiting` the greater pressure of memory and disks (percent).
    """

    containers: int
    cores: float
    memory: int
    available: int
    waiting: float = 0.0


@dataclass
class _Level:
    """What was measured with one number of containers: CPU of all together, and the speed."""

    cores: float = 0.0
    load: int = 0
    seconds: float = 0.0
    batches: int = 0


@dataclass
class Jobs:
    """The number of containers of one worker, and why it is that (`reason`); `cores` is what each of them uses.

    `limit` is the greatest number.  With `fixed` it is the number.  There may be as many as `expected` before long.
    """

    limit: int
    fixed: bool = False
    count: int = 1
    cores: float = 0.0
    reason: str = ""
    expected: int = 1
    _levels: dict[int, _Level] = field(default_factory=dict)
    _last: Sample | None = None
    _is_poor: bool = False
    _settled: bool = False

    def __post_init__(self) -> None:
        """Start with the number that was asked for."""
        self.expected = self.limit
        if self.fixed:
            self.count, self.reason = self.limit, "asked for" if self.limit > 1 else ""
            self._settled = True

    def sample(self, sample: Sample) -> None:
        """Learn what the containers use; there may be more or fewer of them after it."""
        before, self._last = self._last, sample
        if sample.containers < self.count or before is None or not _same(before, sample):
            return
        self.cores = sample.cores
        if self._settled:
            return
        level = self._level(self.count)
        level.cores = max(level.cores, self.count * sample.cores)
        lower = max((count for count in self._levels if count < self.count), default=0)
        fewer = self._levels[lower].cores if lower else 0.0
        if fewer < MIN_CORES or level.cores >= MIN_GAIN * fewer:
            self._is_poor = False
            self._grow(sample)
        elif self._is_poor:
            self._settle(lower, f"{self.count} use no more CPU")
        else:
            self._is_poor = True

    def processed(self, count: int, load: int, seconds: float) -> None:
        """Learn that a batch of that weight took so many seconds while `count` containers ran."""
        level = self._level(count)
        level.load, level.seconds, level.batches = level.load + load, level.seconds + seconds, level.batches + 1
        if self._settled or count != self.count or level.batches < count:
            return
        fewer = [each for each, other in self._levels.items() if each < count and other.batches >= each]
        best = max(fewer, key=self._speed, default=count)
        if self._speed(count) < MIN_SPEED * self._speed(best):
            self._settle(best, f"{count} are slower")

    def killed_for_memory(self) -> None:
        """Learn that a container was killed because there was not enough memory."""
        if not self.fixed and self.count > 1:
            self._settle(self.count // 2, f"with {self.count} memory is short")

    def _grow(self, sample: Sample) -> None:
        """Allow as many containers as there is room for, by (1)."""
        room = (sample.available - RESERVE) / (GROWTH_ROOM * max(sample.memory, 1))
        bounds = {
            "all cores are in use": int(self.limit / max(sample.cores, MIN_CORES) + SLACK),
            "memory allows no more": self.count + max(int(room), 0),
            "as many as cores": self.limit,
            "more follow": MAX_INCREASE * self.count,
        }
        if sample.waiting > MAX_PRESSURE:
            bounds["memory or disks are under pressure"] = self.count
        self.reason = min(bounds, key=bounds.__getitem__)
        self.count = max(self.count, bounds[self.reason])
        self.expected = max(self.count, min(bounds["all cores are in use"], self.limit))

    def _settle(self, count: int, reason: str) -> None:
        self.count = self.expected = max(count, 1)
        self.reason, self._settled = reason, True

    def _level(self, count: int) -> _Level:
        return self._levels.setdefault(count, _Level())

    def _speed(self, count: int) -> float:
        """Return the weight per second of that number of containers."""
        level = self._levels[count]
        return count * level.load / max(level.seconds, 1e-6)


def _same(one: Sample, other: Sample) -> bool:
    """Return whether two samples were taken of the same kind of work."""
    difference = abs(one.cores - other.cores)
    return one.containers == other.containers and difference <= max(SAME * max(one.cores, other.cores), MIN_CORES)
