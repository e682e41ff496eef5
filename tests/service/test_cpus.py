"""How many CPUs a process may use, by what the kernel's files say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.common.cpus import count_cpus, limits

CASES = [
    ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, [1.5]),
    ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, []),
    (
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/cpu.max": "50000 100000",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000",
        },
        [0.5],
    ),
    ({"proc/self/cgroup": "0::/of/the/host", "sys/fs/cgroup/cpu.max": "400000 100000"}, [4.0]),
    (
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n1:name=systemd:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        [3.0],
    ),
    (
        {
            "proc/self/cgroup": "4:cpu:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        [],
    ),
    ({}, []),
]


@pytest.mark.parametrize(("files", "expected"), CASES)
def test_limits_of_control_groups(tmp_path: Path, files: dict[str, str], expected: list[float]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert limits(tmp_path) == expected
    cores = len(os.sched_getaffinity(0))
    assert count_cpus(tmp_path) == max(1, int(min([cores, *expected])))
