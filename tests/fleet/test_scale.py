"""32 workers at once: what a run and a look at the fleet cost the one machine that drives them."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fanrun.fleet.model import Host
from tests.fleet.harness import tree
from tests.fleet.light import VERSION, Light, light_fleet
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.alone,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and reaches containers by their own addresses"),
]

WORKERS = 32
INPUTS = 10_000
MOST_MEMORY = 200 * 1024 * 1024
MOST_THREADS = 8 * WORKERS
STATUS_SECONDS = 3.0


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Light]:
    with light_fleet(tmp_path_factory.mktemp("light"), WORKERS) as light:
        yield light


class Watched:
    """The most that a process took while it ran: bytes of memory, threads, SSH connections to each host."""

    def __init__(self, process: subprocess.Popen[str], hosts: tuple[Host, ...]) -> None:
        self._pid = process.pid
        self._names = {proc_address(host): host.name for host in hosts}
        self.memory = self.threads = 0
        self.connections: Counter[str] = Counter()

    def look(self) -> bool:
        """Read once how it is; False when it has ended.

        VmHWM is the peak of this very process: the ru_maxrss that wait4 gives begins with the memory of the one
        that started it, for until its exec a child has its parent's.
        """
        try:
            lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return False
        fields = dict(line.split(":", 1) for line in lines)
        if "VmHWM" not in fields:  # it has ended, and nobody has asked how
            return False
        self.memory = int(fields["VmHWM"].split()[0]) * 1024
        self.threads = max(self.threads, int(fields["Threads"]))
        self.connections |= Counter(self._names[place] for place in established() if place in self._names)
        return True


def proc_address(host: Host) -> str:
    """A host's SSH port as /proc/net/tcp writes it, bytes in the machine's order."""
    address = int.from_bytes(ipaddress.IPv4Address(host.address).packed, sys.byteorder)
    return f"{address:08X}:{host.port:04X}"


def established() -> list[str]:
    """The far ends of this machine's TCP connections that stand, each once: Linux may list one twice."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [far for _, far in {(row[1], row[2]) for row in rows if row[3] == "01"}]


def write_inputs(top: Path) -> None:
    """Many tiny files, no two of them alike, in folders two deep."""
    for number in range(INPUTS):
        folder = top / f"{number % 10}" / f"{number // 10 % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05}.txt").write_text(f"{number}\n")


def test_a_run_of_many_tiny_files_takes_every_worker_and_little_here(light: Light, tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    write_inputs(src)
    run = light.fab.start("run", "--src", str(src), "--dst", str(dst), "--image", light.image)
    watched = Watched(run, light.fleet.hosts)
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(run.communicate, timeout=300)
        wait_until(lambda: not watched.look(), 310)
    out, err = ended.result()
    assert run.returncode == 0, out + err
    assert f"{INPUTS} of {INPUTS} inputs done" in out
    assert tree(dst) == tree(src)
    (joblog,) = dst.glob(".fanrun/runs/*/joblog.tsv")
    lines = [line.split("\t") for line in joblog.read_text().splitlines()[1:]]
    assert sorted(line[0] for line in lines) == sorted(map(bytes.decode, tree(src)))
    assert {line[1] for line in lines} == {host.name for host in light.fleet.workers}
    assert 0 < watched.memory < MOST_MEMORY
    assert watched.threads < MOST_THREADS
    assert watched.connections.keys() == {host.name for host in light.fleet.workers}
    assert max(watched.connections.values()) <= 3, "one for each direction, one for commands"


def test_the_status_of_every_host_is_there_at_once(light: Light) -> None:
    seconds: list[float] = []
    while len(seconds) < 5 and not any(each < STATUS_SECONDS for each in seconds):
        begun = time.monotonic()
        rows = light.fab.status()
        seconds.append(time.monotonic() - begun)
        assert rows.keys() == {host.name for host in light.fleet.hosts}
        assert all(row["reachable"] and row["docker"] == VERSION and row["images"] for row in rows.values())
    assert min(seconds) < STATUS_SECONDS, seconds  # what it takes when nothing else of the machine's is in its way
