"""What makes a fleet of the provider `local` worse than it is: slow links, and little of a processor."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.contest import BenchError
from fanrun.fleet.script import read_script, script_argv
from fanrun.fleet.shell import read
from fanrun.fleet.ssh_commands import ssh_argv
from fanrun.fleet.store import Folder

GROUP = "fanrun-bench"
# As the manual of tbf has it: a packet that would wait longer than this is dropped.
SHAPE = "tc qdisc replace dev {link} root tbf rate {mbit}mbit burst 64kb latency 50ms"
LIMIT = read_script("benchmarks", "limit-cpu.sh")
FREE = read_script("benchmarks", "free-cpu.sh")


def on(folder: Folder, host: str, script: str, *words: str) -> str:
    """Run a shell script as root on a host; returns what it printed, BenchError if it fails."""
    argv = ["sudo", "-n", *script_argv(script, *words)]
    return read(_checked(ssh_argv(folder, host, argv))).text


def here(command: str) -> str:
    """Run a command as root on this machine."""
    return _checked([*(["sudo", "-n"] if os.getuid() else []), *command.split()])


@contextlib.contextmanager
def slow_links(folder: Folder, mbit: int) -> Iterator[None]:
    """Give every worker a link of so many Mbit/s each way, by a token bucket filter at either end."""
    undo = []
    shape = SHAPE.format(link="{link}", mbit=mbit)
    try:
        for host in folder.load().workers:
            index = on(folder, host.name, "cat /sys/class/net/eth0/iflink").strip()
            links = Path("/sys/class/net").iterdir()
            mine = [path.name for path in links if (path / "ifindex").read_text().strip() == index]
            if len(mine) != 1:
                raise BenchError(f"{host.name}'s link has no end on this machine; slow links need the provider local")
            here(shape.format(link=mine[0]))
            undo.append((host.name, mine[0]))
            on(folder, host.name, shape.format(link="eth0"))
        yield
    finally:
        for name, link in undo:
            here(f"tc qdisc del dev {link} root")
            on(folder, name, "tc qdisc del dev eth0 root")


@contextlib.contextmanager
def little_cpu(folder: Folder, shares: Mapping[str, float]) -> Iterator[None]:
    """Give the programs on each worker named so much of one processor's time."""
    try:
        for name, share in shares.items():
            on(folder, name, LIMIT, f"{GROUP}-{name}", str(int(share * 100_000)))
        yield
    finally:
        for name in shares:
            on(folder, name, FREE)


def _checked(argv: list[str]) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(argv[:2])} … ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
