"""Where the time of one `fab run` goes."""

from __future__ import annotations

import datetime
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contest import BenchError

PUSH = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) .*: push ", re.MULTILINE)
STAGES = ("push", "process", "pull")


def measure(fab: Sequence[str], src: Path, scratch: Path, rounds: int) -> list[str]:
    """Run `fab run` so often and tell the median of each part, in seconds; lines of Markdown."""
    found = [_once(fab, src, scratch / f"profile-{turn}") for turn in range(rounds)]
    lines = ["## Where the time goes", "", f"| part of `fab run`, {rounds} runs | median s |", "|---|---:|"]
    rows = [f"| {part} | {statistics.median(each[part] for each in found):.3f} |" for part in found[0]]
    return [*lines, *rows, ""]


def _once(fab: Sequence[str], src: Path, dst: Path) -> dict[str, float]:
    """One run, from the first instruction of Python to the last; the stages are those of the slowest worker."""
    python = _seconds([sys.executable, "-c", "pass"])
    fabric = _seconds([*fab, "--version"])
    planned = _seconds([*fab, "run", "--src", str(src), "--dst", str(dst), "--dry-run", "--fleet", "bench"])
    begun = time.time()
    _seconds([*fab, "run", "--src", str(src), "--dst", str(dst), "--fleet", "bench"])
    ended = time.time()
    home = next((dst / ".fanrun" / "runs").iterdir())
    report = json.loads((home / "report.json").read_text())
    stages = max((worker["seconds"] for worker in report["workers"]), key=lambda each: sum(map(float, each.values())))
    pushed = PUSH.search((home / "run.log").read_text())
    if pushed is None:
        raise BenchError(f"{home}/run.log does not tell when the first push began")
    first_push = datetime.datetime.fromisoformat(pushed[1]).timestamp()
    written = (home / "report.json").stat().st_mtime
    return {
        "Python starts": python,
        "Fabric is imported": fabric - python,
        "Fanrun is imported, the fleet read, SRC walked": planned - fabric,
        "the image is looked at, the workers are asked (connect)": first_push - begun - planned,
        **{f"{stage} (the slowest worker)": float(stages[stage]) for stage in STAGES},
        "the workers are cleaned, the report is written": written - first_push - sum(stages[each] for each in STAGES),
        "the summary is printed, Python ends": ended - written,
        "in all": ended - begun,
    }


def _seconds(argv: Sequence[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{argv[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return time.perf_counter() - begun
