"""Measures what it costs to keep logs: script/bench --only logs. As a program it is fab without the log filter."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.contest import BenchError
from fanrun.fanout import commands

Seconds = Mapping[str, Sequence[float]]
"""What each pair took, by the name of the way."""
MOST = 1.02
FILTER = re.compile(r"^python3 .*\$filter.*$", re.MULTILINE)
TAIL = '"$@" </dev/null 2>&1 | tail -c 65536 >"$target/log"; code=0'
"""In place of the filter: the last bytes are kept, and the program must not fail."""


def measure(src: Path, fleet: str, scratch: Path, pairs: int, say: Callable[[str], None]) -> tuple[Seconds, Seconds]:
    """Run each way by turns; the CPU seconds and the seconds that passed, of each way."""
    root = Path(__file__).resolve().parents[1]
    ways = {
        "with logs": [str(Path(sys.executable).with_name("fab")), "--search-root", str(root)],
        "without": [sys.executable, "-m", "benchmarks.logs"],
    }
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1, pairs):  # the first round fills caches
        for name in ways if turn % 2 else reversed(ways):
            dst = scratch / "logs-out"
            argv = [*ways[name], "run", "--src", str(src), "--dst", str(dst), "--fleet", fleet]
            begun, before = time.monotonic(), busy_seconds()
            done = subprocess.run(argv, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if done.returncode != 0:
                raise BenchError(f"fab run ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
            if turn >= 0:
                cpu[name].append(busy_seconds() - before)
                wall[name].append(time.monotonic() - begun)
            shutil.rmtree(dst)
        say(f"logs, round {turn + 1} of {pairs}")
    return cpu, wall


def report(cpu: Seconds, wall: Seconds, where: Sequence[str]) -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether the goal was missed; `where` says on which machine it was measured."""
    ratios = [one / other for one, other in zip(cpu["with logs"], cpu["without"], strict=True)]
    today = datetime.datetime.now(datetime.timezone.utc).date()
    lines = ["## Logs", "", f"Measured by `script/bench --only logs` on {today}:", "", *where, ""]
    lines += [f"| {len(ratios)} pairs | CPU seconds (median) | seconds (median) |", "|---|---:|---:|"]
    lines += [f"| {name} | {statistics.median(cpu[name]):.2f} | {statistics.median(wall[name]):.2f} |" for name in cpu]
    found = statistics.median(ratios)
    lines += ["", f"CPU seconds with logs to those without: median {found:.3f} (goal: at most {MOST:g}).", ""]
    return lines, found > MOST


def busy_seconds() -> float:
    """Return the seconds that this machine's processors were at work, for whatever program: proc_stat(5)."""
    fields = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:]
    ticks = [int(field) for field in fields]
    return (sum(ticks[:3]) + sum(ticks[5:7])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run fab as it is, but for the log filter."""
    from fabric.main import program

    commands.BATCH, count = FILTER.subn(lambda _: TAIL, commands.BATCH)
    if count != 1:
        raise BenchError("the line that runs the log filter was not found")
    program.run(["fab", *sys.argv[1:]])


if __name__ == "__main__":
    main()
