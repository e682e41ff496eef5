"""How many CPUs this process may use: the least of its affinity and its control groups' limits."""

from __future__ import annotations

import os
from pathlib import Path


def count_cpus(root: Path = Path("/")) -> int:
    """Whole CPUs, at least 1; `root` is where /proc and /sys are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([float(cores), *limits(root)])))


def limits(root: Path) -> list[float]:
    """CPUs that control groups of version 2 and 1 allow, own one and those above; [] where none limits."""
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
        for place in (place for place in (group, *group.parents) if place == base or base in place.parents):
            words = f"{read(place / quota)} {read(place / period) if period else ''}".split()
            if len(words) == 2 and all(word.isdigit() for word in words):  # "max" and -1 limit nothing
                found.append(int(words[0]) / int(words[1]))
    return found


def read(path: Path) -> str:
    """A file's text, "" where there is none."""
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
