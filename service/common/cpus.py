"""The number of CPUs that this process may use, by its affinity and the limits of its control groups."""

from __future__ import annotations

import os
from pathlib import Path


def count_cpus(root: Path = Path("/")) -> int:
    """Return how many CPUs there are to use, at least 1; `root` is where /proc and /sys are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([float(cores), *limits(root)])))


def limits(root: Path) -> list[float]:
    """Return the limits of the own control group and those above it, of version 2 and 1; [] if there is none."""
    found = []
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, quota, period = root / "sys/fs/cgroup", "cpu.max", ""
        elif "cpu" in controllers.split(","):
            base, quota, period = root / "sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us"
        else:
            continue
        group = base / path.lstrip("/")
        # In a container the path may be the host's: then the group's own files are at the top.
        for folder in (each for each in (group, *group.parents) if each == base or base in each.parents):
            words = f"{read(folder / quota)} {read(folder / period) if period else ''}".split()
            if len(words) == 2 and all(word.isdigit() for word in words):  # "max" and -1 limit nothing
                found.append(int(words[0]) / int(words[1]))
    return found


def read(path: Path) -> str:
    """Return the text of a file, "" if there is none."""
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
