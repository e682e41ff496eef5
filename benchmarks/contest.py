"""Rivals that do one job in turn: how long each takes, and whether all come to the same."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from fanrun.fanout.plan import STATE


class BenchError(Exception):
    """A rival failed, or came to something else than the others: there is nothing to compare."""


@dataclass(frozen=True)
class Rival:
    """A way to do the job: `argv` makes the command that fills an empty DST, below `results` in it.

    `before` is done ahead of every run, outside its time.
    """

    name: str
    argv: Callable[[Path], Sequence[str]]
    results: str = "."
    before: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Ratio:
    """How many times as long `over` takes as `under`, by name, and the goal: at `most`, or at `least`."""

    over: str
    under: str
    most: float | None = None
    least: float | None = None

    @property
    def goal(self) -> str:
        """The goal in words."""
        if self.most is not None:
            return f"at most {self.most:g}"
        return f"at least {self.least:g}" if self.least is not None else "none"

    def of_pairs(self, seconds: Mapping[str, Sequence[float]]) -> list[float]:
        """The ratio of every round."""
        return [over / under for over, under in zip(seconds[self.over], seconds[self.under], strict=True)]

    def met(self, seconds: Mapping[str, Sequence[float]]) -> bool:
        """Whether the median of the rounds' ratios keeps the goal."""
        found = statistics.median(self.of_pairs(seconds))
        return (self.most is None or found <= self.most) and (self.least is None or found >= self.least)


@dataclass(frozen=True)
class Job:
    """What the rivals are measured by: the files under `src`, in so many rounds, on a fleet with a `handicap`."""

    name: str
    src: Path
    rounds: int
    rivals: tuple[Rival, ...]
    ratios: tuple[Ratio, ...]
    handicap: Callable[[], AbstractContextManager[None]] = nullcontext
    pause: float = 0
    """Seconds before each run, for the disk: see SETTLED."""


SETTLED = 65
"""Seconds after which ext4 has forgotten which inodes were freed: until then each new file takes it long where
thousands were deleted, and a run would pay for what the one before it cleaned away."""


def run_job(job: Job, scratch: Path, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Let every rival run once a round, each round beginning with another; {rival: seconds of each round}.

    Raises BenchError when one fails, or its results are not those of the first.
    """
    inputs = sum(len(names) for _, _, names in os.walk(job.src))
    seconds: dict[str, list[float]] = {rival.name: [] for rival in job.rivals}
    expected: dict[bytes, str] = {}
    for turn in range(job.rounds):
        first = turn % len(job.rivals)
        for rival in (*job.rivals[first:], *job.rivals[:first]):
            dst = scratch / f"{job.src.parent.name}-{len(os.listdir(scratch))}"
            seconds[rival.name].append(run_rival(rival, dst, job.pause))
            found = tree(dst / rival.results)
            expected = expected or found
            compare(rival.name, inputs, expected, found)
        times = ", ".join(f"{name} {each[-1]:.2f} s" for name, each in seconds.items())
        say(f"{job.name}, round {turn + 1} of {job.rounds}: {times}")
    return seconds


def run_rival(rival: Rival, dst: Path, pause: float = 0) -> float:
    """Run one rival into a fresh DST after a pause; returns its wall time in seconds, BenchError if it fails."""
    rival.before()
    if pause:
        os.sync()
        time.sleep(pause)
    dst.mkdir()
    argv = rival.argv(dst)
    begun = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise BenchError(f"{rival.name} ended with {done.returncode}:\n{said}")
    return seconds


def tree(top: Path) -> dict[bytes, str]:
    """{path relative to top: SHA-256} of every file, without Fanrun's own folder."""
    root, found = os.fsencode(top), {}
    for folder, folders, names in os.walk(root):
        if folder == root and STATE in folders:
            folders.remove(STATE)
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = hashlib.sha256(file.read()).hexdigest()
    return found


def compare(name: str, inputs: int, expected: Mapping[bytes, str], found: Mapping[bytes, str]) -> None:
    """Raise BenchError unless there is a result for every input, and each is the expected one."""
    if len(found) != inputs:
        raise BenchError(f"{name} came to {len(found)} results of {inputs} inputs")
    wrong = sorted(path for path in found if found[path] != expected.get(path))
    if wrong:
        raise BenchError(f"{name}: {len(wrong)} results differ from the others', the first: {os.fsdecode(wrong[0])!r}")


def to_markdown(job: Job, seconds: Mapping[str, Sequence[float]]) -> list[str]:
    """Two tables: what each rival took, and the ratios with their goals."""
    paused = [f"{job.pause:g} s pass before each run, so that none pays for the files that were deleted before it.", ""]
    lines = [f"## {job.name}", "", *(paused if job.pause else []), "| | median s | min to max s |", "|---|---:|---:|"]
    for name, each in seconds.items():
        lines.append(f"| {name} | {statistics.median(each):.2f} | {min(each):.2f} to {max(each):.2f} |")
    lines += ["", f"| ratio, {job.rounds} pairs | median | min to max | goal | |", "|---|---:|---:|---|---|"]
    for ratio in job.ratios:
        pairs = ratio.of_pairs(seconds)
        met = "" if ratio.goal == "none" else "met" if ratio.met(seconds) else "MISSED"
        lines.append(
            f"| {ratio.over} / {ratio.under} | {statistics.median(pairs):.2f} "
            f"| {min(pairs):.2f} to {max(pairs):.2f} | {ratio.goal} | {met} |"
        )
    return [*lines, ""]
