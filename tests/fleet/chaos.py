"""Faults at random, each from a seed: of the workers, of DST, and of the inputs."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.fleet.harness import CONNECT, CUT_OFF, Fab, docker, tree
from tests.fleet.mounts import fill

WORKERS = ("worker-1", "worker-2", "worker-3")
LASTING = 40.0  # seconds in which faults happen
POISON = ("exits", "daemon", "hangs", "eats", "nothing")
"""What the test program does with an input that has such a word in its name."""
KINDS: dict[str, tuple[list[str], list[str]]] = {
    "kill": (["kill"], ["start"]),
    "pause": (["pause"], ["unpause"]),
    "restart": (["restart", "--time=0"], []),
}
# Replace each cached file by one with another content, the same name, size and time. Batches keep their own links.
DAMAGE = """cd /var/lib/fanrun/cache && for file in $(ls | grep -x '.\\{64\\}'); do
  tr a b <$file >.new && chown --reference=$file .new && touch -r $file .new && mv .new $file
done || :"""
# A worker that has just been restarted may have no dockerd yet.
SCRIPTS = {
    "damage": (DAMAGE, ":"),
    "cut off": (CUT_OFF, CONNECT),
    "dockerd": ("pkill -9 -x dockerd || :", "rm -f /run/docker.pid; service docker start >/dev/null 2>&1 || :"),
}


class Options(NamedTuple):
    """The options of one seed's runs: `jobs` is that of --jobs, and with `tells` the program writes a report.

    With `groups` inputs that share the first two digits of their names belong together.  With `joins` a worker joins
    and is drained again, with `caches` workers keep inputs for later runs.
    """

    jobs: str
    tells: bool
    groups: bool
    joins: bool
    caches: bool

    @classmethod
    def of(cls, seed: int) -> Options:
        """Return the options of a seed: those of 0 and 1 differ in each."""
        source = random.Random(f"options {seed // 2}")
        flags = [source.random() < 0.5 for _ in range(4)]
        jobs = source.sample(("auto", "1", "3"), 2)[seed % 2]
        return cls(jobs, *(flag != bool(seed % 2) for flag in flags))

    def related(self, some: Iterable[bytes], names: Iterable[bytes]) -> set[bytes]:
        """Return the names of the inputs that are done and fail as one with some of them."""
        if not self.groups:
            return set(some)
        heads = {name[:2] for name in some}
        return {name for name in names if name[:2] in heads}


class Fault(NamedTuple):
    """What befalls a worker or a DST: when, and for how long, in seconds."""

    at: float
    victim: str
    kind: str
    seconds: float


def of_workers(seed: int) -> Iterator[Fault]:
    """The faults of a seed."""
    source = random.Random(seed)
    at = source.uniform(0, 10)
    while at < LASTING:
        yield Fault(at, source.choice(WORKERS), source.choice([*KINDS, *SCRIPTS]), source.uniform(1, 12))
        at += source.uniform(6, 20)


def of_dst(seed: int) -> Iterator[Fault]:
    """What befalls the seed's DST.  It is deleted at most once, for then all is done again."""
    source = random.Random(f"dst {seed}")
    deleted = source.uniform(0, 2 * LASTING)
    at = source.uniform(5, 20)
    while at < LASTING:
        kind = source.choice(["delete some", "rename some", "rename all", "fill"])
        if at >= deleted:
            kind, deleted = "delete all", 2 * LASTING
        yield Fault(at, "dst", kind, source.uniform(0.5, 4))
        at += source.uniform(8, 20)


def write_inputs(src: Path, seed: int, count: int) -> None:
    """Write so many inputs of 100 kB, three of them poison."""
    source = random.Random(f"inputs {seed}")
    # A group whose other files have results is done.
    kinds = [kind for kind in POISON if kind != "nothing" or not Options.of(seed).groups]
    poison = dict(zip(source.sample(range(count), 3), source.sample(kinds, 3), strict=True))
    src.mkdir()
    for number in range(count):
        (src / f"{number:03}.{poison.get(number, 'bin')}").write_bytes(source.randbytes(100_000))


def is_poison(name: bytes) -> bool:
    """Whether the test program can't make a result of that input."""
    return name.rpartition(b".")[2].decode() in POISON


def wait_until_time(end: float) -> None:
    """Wait until time.monotonic() says so."""
    threading.Event().wait(max(end - time.monotonic(), 0))


class Workers:
    """The workers of a fleet, of which each has one fault at a time."""

    def __init__(self, fab: Fab) -> None:
        self._fab = fab
        self._locks = {worker: threading.Lock() for worker in WORKERS}

    def join(self, seed: int) -> None:
        """Add a worker while nothing happens to the others; then take it away, once it has finished what it has."""
        wait_until_time(time.monotonic() + random.Random(f"joins {seed}").uniform(5, LASTING / 2))
        with contextlib.ExitStack() as stack:
            for worker in WORKERS:
                stack.enter_context(self._locks[worker])
            self._fab("up", f"--hosts={len(WORKERS) + 1}")
        wait_until_time(time.monotonic() + random.Random(f"leaves {seed}").uniform(5, 15))
        self._fab("down", f"--hosts={len(WORKERS)}")

    def torment(self, seed: int) -> None:
        """Let the seed's faults happen, each when its time comes and its worker is free."""
        begun = time.monotonic()
        for fault in of_workers(seed):
            wait_until_time(begun + fault.at)
            with self._locks[fault.victim]:
                if time.monotonic() < begun + LASTING:
                    self._befall(fault, begun + LASTING)

    def _befall(self, fault: Fault, end: float) -> None:
        """Let it happen, and undo it: until then nothing else happens to the worker."""
        container = self._fab.containers()[fault.victim]
        over = min(end, time.monotonic() + fault.seconds)
        cause, mend = KINDS.get(fault.kind, ([], []))
        if fault.kind in SCRIPTS:
            cause, mend = [["exec", container, "sh", "-c", script] for script in SCRIPTS[fault.kind]]
        else:
            cause, mend = [*cause, container], [*mend, container] if mend else []
        try:
            docker(*cause)
        except AssertionError:
            # A freezer that can't keep up with a busy host leaves it running, or half frozen.
            if fault.kind != "pause":
                raise
            subprocess.run(["docker", "unpause", container], capture_output=True, check=False)
            return
        wait_until_time(over)
        if mend:
            docker(*mend)


@dataclass
class Dst:
    """A DST on a disk of its own, for the inputs of one seed with these `names`.

    `lock` is held while something happens to it.  `removed` is when each result that the seed took away was last
    taken, in seconds since 1970.
    """

    disk: Path
    seed: int
    names: frozenset[bytes]
    lock: threading.Lock = field(default_factory=threading.Lock)
    removed: dict[bytes, float] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)

    @property
    def options(self) -> Options:
        """The options of the seed's runs."""
        return Options.of(self.seed)

    @property
    def doomed(self) -> set[bytes]:
        """The inputs that can have no result."""
        return self.options.related(filter(is_poison, self.names), self.names)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.disk / "dst"

    def torment(self) -> None:
        """Let the seed's faults happen, each when its time comes, if a run has made the folder by then."""
        begun, dice = time.monotonic(), random.Random(f"which {self.seed}")
        faults: dict[str, Callable[[random.Random, Fault], None]] = {
            "delete some": self._delete_some,
            "rename some": self._rename_some,
            "rename all": self._rename_all,
            "delete all": self._delete_all,
            "fill": self._fill,
        }
        for fault in of_dst(self.seed):
            wait_until_time(begun + fault.at)
            with self.lock:
                if self.path.exists():
                    self.kinds.append(fault.kind)
                    faults[fault.kind](dice, fault)

    def _some(self, dice: random.Random) -> list[Path]:
        """Choose up to three results."""
        names = sorted(name for name in tree(self.path) if not name.endswith(b".moved"))
        chosen = dice.sample(names, min(3, len(names)))
        self.removed |= dict.fromkeys(self.options.related(chosen, self.names), time.time())
        return [self.path / name.decode() for name in chosen]

    def _delete_some(self, dice: random.Random, fault: Fault) -> None:
        for path in self._some(dice):
            path.unlink()

    def _rename_some(self, dice: random.Random, fault: Fault) -> None:
        for path in self._some(dice):
            path.rename(f"{path}.moved")

    def _rename_all(self, dice: random.Random, fault: Fault) -> None:
        away = self.disk / "away"
        self.path.rename(away)
        wait_until_time(time.monotonic() + fault.seconds)
        # A run that was about to begin has made the folder anew.
        shutil.rmtree(self.path, ignore_errors=True)
        away.rename(self.path)

    def _delete_all(self, dice: random.Random, fault: Fault) -> None:
        away = self.disk / "away"
        self.path.rename(away)
        shutil.rmtree(away, ignore_errors=True)
        shutil.rmtree(away, ignore_errors=True)  # a run may just have written there
        self.removed |= dict.fromkeys(self.names, time.time())

    def _fill(self, dice: random.Random, fault: Fault) -> None:
        fill(self.disk)
        wait_until_time(time.monotonic() + fault.seconds)
        with contextlib.suppress(FileNotFoundError):
            (self.disk / "fill").unlink()
