"""What a worker's containers use, by what heartbeat.sh prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout import run_commands
from fanrun.fanout.schedule.jobs import Sample
from fanrun.fanout.workers.usage import UsageMeter, parse
from tests.unit.samples import write_tree


def test_samples_are_the_differences_of_two_lines() -> None:
    meter = UsageMeter()
    first, second = b"use 100.0 1000 0.50 3.00 a:1000000:50 b:2000000:70", b"use 102.0 900 0.00 0.00 a:3000000:60 c:5:5"
    assert meter.take(first + b"\n0 1 2 3 4\n" + second + b"\nuse") == b"0 1 2 3 4\nuse"
    assert meter.read() == [Sample(2, 1.0, 60, 900 * 1024, 0.0)]
    assert meter.read() == []


def test_nanoseconds_of_cgroup_v1_count_as_well() -> None:
    meter = UsageMeter()
    meter.take(b"use 1 1 0 0 a:1000000000n:1\nuse 3 1 12 3 a:2000000000n:1\n")
    assert meter.read() == [Sample(1, 0.5, 1, 1024, 12.0)]


@pytest.mark.parametrize("line", [b"use 1 2", b"use a b c d", b"use 1 2 3 4 a", b"use 1 2 3 4 a:b:c", b"use 1 2 3 4 :"])
def test_what_is_no_line_of_usage_is_passed_over(line: bytes) -> None:
    assert parse(line) is None
    meter = UsageMeter()
    assert meter.take(line + b"\n") == b""
    assert meter.read() == []


@given(st.lists(st.binary(max_size=30)))
def test_any_bytes_are_read(pieces: list[bytes]) -> None:
    meter = UsageMeter()
    rest = b""
    for piece in pieces:
        rest = meter.take(rest + b"use " + piece)
    meter.read()


def cgroups(folder: Path, version: int) -> None:
    """Write what the kernel shows of two containers, with the folders that Docker makes with either driver."""
    for number, parent in enumerate(("docker/%s", "system.slice/docker-%s.scope")):
        name = parent % (str(number) * 64)
        files = {
            1: {
                f"cpuacct/{name}/cpuacct.usage": b"5000000000\n",
                f"memory/{name}/memory.stat": b"cache 1\nrss 4096\nrss_huge 0\n",
            },
            2: {
                f"{name}/cpu.stat": b"usage_usec 5000000\nuser_usec 1\n",
                f"{name}/memory.stat": b"anon 4096\nfile 1\n",
            },
        }[version]
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_worker_tells_what_its_containers_use(tmp_path: Path, shell: str, version: int) -> None:
    cgroups(tmp_path / "cgroup", version)
    write_tree(tmp_path / "run", (b"c.out/log", b"c.in/a"))
    for number in range(3):  # the last one has just ended
        (tmp_path / "run" / f"{number}.container").write_text(str(number) * 64)
    script = run_commands.HEARTBEAT.replace("cgroups=/sys/fs/cgroup", f"cgroups={tmp_path}/cgroup")
    lease = str(tmp_path / "lease")
    done = subprocess.run(
        ["timeout", "2.5", shell, "-c", script, "sh", str(tmp_path), "9", lease, str(tmp_path / "run"), "usage"],
        capture_output=True,
        check=False,
    )
    readings = list(map(parse, done.stdout.splitlines()))
    assert len(readings) == 2
    first, second = readings
    assert first is not None
    assert second is not None
    assert first.uptime < second.uptime
    assert first.available > 0
    assert second.containers == {b"000000000000": (5.0, 4096), b"111111111111": (5.0, 4096)}
