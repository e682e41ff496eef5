"""Workers that are killed, paused, cut off and restored at random for a minute, under several runs at once."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fleet.harness import Fab, docker, report, tree

WORKERS = ("worker-1", "worker-2", "worker-3")
MINUTE = 60.0
TOGETHER = 5
"""So many seeds share the fleet, each with a run of its own: their faults meet each other's."""
COUNT = 150


class Fault(NamedTuple):
    """What befalls a worker: when, and for how long, in seconds."""

    at: float
    worker: str
    kind: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a seed's run came to: the exit codes until it was done, and how often each input was done."""

    codes: list[int]
    said: str
    times: Counter[str]
    same: bool
    lost: int


KINDS: dict[str, tuple[list[str], list[str]]] = {
    "kill": (["kill"], ["start"]),
    "pause": (["pause"], ["unpause"]),
    "restart": (["restart", "--time=0"], []),
}
# A worker that has just been restarted may have no dockerd yet.
SCRIPTS = {
    "cut off": ("ip link set eth0 down", "ip link set eth0 up"),
    "dockerd": ("pkill -9 -x dockerd || :", "rm -f /run/docker.pid; service docker start >/dev/null 2>&1 || :"),
}


def faults(seed: int) -> Iterator[Fault]:
    """The faults of a seed within the minute."""
    source = random.Random(seed)
    at = source.uniform(0, 10)
    while at < MINUTE:
        yield Fault(at, source.choice(WORKERS), source.choice([*KINDS, *SCRIPTS]), source.uniform(1, 12))
        at += source.uniform(6, 20)


def befall(fab: Fab, fault: Fault, end: float) -> None:
    """Let it happen, and undo it: until then nothing else happens to the worker."""
    container = fab.containers()[fault.worker]
    over = min(end, time.monotonic() + fault.seconds)
    cause, mend = KINDS.get(fault.kind, ([], []))
    if fault.kind in SCRIPTS:
        cause, mend = ([["exec", container, "sh", "-c", script] for script in SCRIPTS[fault.kind]])  # fmt: skip
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
    threading.Event().wait(max(over - time.monotonic(), 0))
    if mend:
        docker(*mend)


def torment(fab: Fab, seed: int, locks: dict[str, threading.Lock]) -> None:
    """Let the seed's faults befall the fleet, each when its time comes and its worker is free."""
    begun = time.monotonic()
    for fault in faults(seed):
        threading.Event().wait(max(begun + fault.at - time.monotonic(), 0))
        with locks[fault.worker]:
            if time.monotonic() < begun + MINUTE:
                befall(fab, fault, begun + MINUTE)


def survive(fab: Fab, program: str, src: Path, dst: Path) -> Outcome:
    """Run until all is done: a run that lost every worker goes on by the same command."""
    codes: list[int] = []
    said = ""
    times: Counter[str] = Counter()
    end = time.monotonic() + 240
    while (not codes or codes[-1] in (2, 3)) and time.monotonic() < end:
        done = fab("run", f"--src={src}", f"--dst={dst}", f"--image={program}", "--args=each 0.3", code=None)
        codes.append(done.returncode)
        said += done.stdout + done.stderr
    for joblog in (dst / ".fanrun" / "runs").glob("*/joblog.tsv"):
        times.update(line.split("\t")[0] for line in joblog.read_text().splitlines()[1:])
    lost = sum(len(worker["lost"]) for worker in report(dst)["workers"])
    return Outcome(codes, said, times, tree(src) == tree(dst), lost)


@pytest.fixture(scope="module")
def chaos(fab: Fab, program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Outcome]]:
    """The outcome of a seed; its neighbours' runs go on beside it."""
    src = tmp_path_factory.mktemp("chaos") / "src"
    src.mkdir()
    for number in range(COUNT):
        (src / f"{number:03}.bin").write_bytes(os.urandom(100_000))
    known: dict[int, Outcome] = {}

    def outcome(seed: int) -> Outcome:
        if seed not in known:
            seeds = range(seed - seed % TOGETHER, seed - seed % TOGETHER + TOGETHER)
            locks = {worker: threading.Lock() for worker in WORKERS}
            with ThreadPoolExecutor(2 * TOGETHER) as pool:
                runs = {each: pool.submit(survive, fab, program, src, src.parent / str(each)) for each in seeds}
                torments = [pool.submit(torment, fab, each, locks) for each in seeds]
                for each in torments:
                    each.result()
                fab("up", "--hosts=3")
                known.update({each: run.result() for each, run in runs.items()})
        return known[seed]

    fab("up", "--hosts=3")
    try:
        yield outcome
    finally:
        for worker in WORKERS:  # what a failed test may have left so
            container = fab.containers()[worker]
            if "true" in docker("inspect", "--format={{.State.Paused}}", container):
                docker("unpause", container)
        fab("up", "--hosts=2")


def test_every_input_is_done_once_whatever_befalls_the_workers(chaos: Callable[[int], Outcome], seed: int) -> None:
    outcome = chaos(seed)
    assert outcome.codes[-1] == 0, outcome.said
    assert set(outcome.codes[:-1]) <= {2, 3}, outcome.said
    assert "Traceback" not in outcome.said
    assert outcome.same
    assert len(outcome.times) == COUNT
    assert set(outcome.times.values()) == {1}
