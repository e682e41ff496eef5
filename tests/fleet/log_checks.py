"""A program that numbers its lines, and what must be true of them in `fab logs`."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fleet.harness import Fab, Runs, docker

WORKERS = ("worker-1", "worker-2")
# Each container numbers its lines, and says at its end how many there are.
NUMBERED = """
n=0; say() { n=$((n + 1)); echo $HOSTNAME $n "$@"; echo $HOSTNAME $n "$@" >&2; };
for f in *; do
  say begin $f; sleep SECONDS;
  case $f in *bad*) say fails; exit 3;; esac;
  cp $f $1/$f; say done $f;
done; say end
"""
TOLD = 'printf "{\\"path\\": \\"%s\\", \\"ok\\": true, \\"seconds\\": SECONDS}\\n" $f >>$FANRUN_REPORT;'


def numbered(seconds: float, *, tells: bool = False) -> str:
    """Return the script whose containers take so long for each input."""
    script = NUMBERED.replace("say done $f;", f"say done $f; {TOLD}" if tells else "say done $f;")
    return " ".join(script.replace("SECONDS", str(seconds)).split())


@dataclass(frozen=True)
class Shown:
    """What `fab logs --json` printed, and how it ended."""

    lines: list[dict[str, Any]]
    code: int
    error: str


def show(fab: Fab, *argv: str, code: int | None = 0) -> Shown:
    done = fab("logs", "--json", *argv, code=code)
    return Shown([json.loads(line) for line in done.stdout.splitlines()], done.returncode, done.stderr)


def by_container(lines: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Return the lines that containers numbered, by container and stream, in their order."""
    found = defaultdict(list)
    for line in lines:
        if line["stream"] != "fanrun":
            found[line["message"].split()[0], line["stream"]].append(line)
    return found


def check_numbers(lines: Sequence[Mapping[str, Any]], run: str) -> None:
    """Each container's lines are all there, once and in order, and tell the run, the host and one batch."""
    assert all(line["run"] == run and line["batch"].startswith(f"{line['host']}.") for line in lines)
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    for (container, stream), mine in by_container(lines).items():
        numbers = [int(line["message"].split()[1]) for line in mine]
        assert numbers == list(range(1, len(numbers) + 1)), (container, stream)
        assert len({line["batch"] for line in mine}) == 1


def cut_off(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the last line of each container that did not come to its end."""
    lasts = [mine[-1] for mine in by_container(lines).values()]
    return [line for line in lasts if line["message"].split()[2] not in ("end", "fails")]


def start(runs: Runs, script: str, *argv: str) -> subprocess.Popen[str]:
    head = ["run", "--src", str(runs.src), "--dst", str(runs.dst), "--image", runs.shell]
    return runs.fab.start(*head, "--args", f"'cd $0; {script}'", *argv)


def is_at_work(fab: Fab, worker: str) -> bool:
    return "fanrun-" in fab.on(worker, "docker ps")


def kill_at_work(fab: Fab, worker: str, seconds: float) -> None:
    """Kill a worker while a container of `numbered(seconds)` has written lines and not its last one."""
    # A container whose sleep is stopped writes nothing more.
    fab.on(worker, f"for n in $(seq 300); do pkill -STOP -xf 'sleep {seconds}' && exit; sleep 0.1; done; exit 1")
    docker("kill", fab.containers()[worker])


def write_inputs(runs: Runs, count: int, *, bad: Sequence[int] = (), size: int = 100_000) -> None:
    for number in range(count):
        runs.write(f"{number:03}{'bad' if number in bad else ''}.bin", content=f"{number:03}" * (size // 3))


def same_lines(some: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> None:
    """Both have the same lines, each container's in the same order."""
    assert by_container(some) == by_container(others)
