"""Run the scripts of a run as a worker does, with stand-ins for its programs."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fanrun.fanout import commands, run_commands
from fanrun.fanout.commands import BatchFolder, LogSource
from fanrun.fanout.program import Program
from fanrun.fanout.results.container_end import parse_ending
from fanrun.fleet.layout import USUAL
from fanrun.fleet.probe import EXPIRY
from tests.unit.samples import PROBE, write_filter, write_tree

PLACE, SOURCE = BatchFolder("20260101-000000-abcd", "worker-1.0001"), LogSource("default", "worker-1")
NO_LOG = ["/nowhere/spool", '"run":"r"', "0", "0"]


def run_script(
    shell: str, argv: list[str], *arguments: str | Path, path: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the script of one of our argvs under `shell`, with other arguments."""
    environment = os.environ | ({"PATH": path} if path else {})
    real = [shell, *argv[1:4], *map(str, arguments)]
    return subprocess.run(real, stdin=subprocess.PIPE, capture_output=True, env=environment, check=False)


class Limits(NamedTuple):
    """The limits of a batch: seconds without a result, and bytes to keep free by deleting the `spent` folders."""

    timeout: int = 0
    room: int = 0
    spent: Sequence[Path] = ()


NO_LIMITS = Limits()


def run_batch(
    shell: str, target: Path, *program: str, limits: Limits = NO_LIMITS, path: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run BATCH over a program that stands in for docker."""
    write_tree(target.parent, (b"identity/env",))
    write_filter(target.parent)
    argv = commands.batch_argv(PLACE, Program("image"), PROBE, SOURCE)
    bounds = [str(limits.timeout), str(limits.room)]
    log = [str(target.parent / "spool.jsonl"), commands.log_fields(PLACE, SOURCE), "33554432", "1073741824"]
    tail = [str(EXPIRY), "0", str(len(limits.spent)), *map(str, limits.spent)]
    return run_script(shell, argv, target, "a name", "65532:65532", *bounds, *log, *tail, *program, path=path)


def batch_argv(shell: str, target: Path, *program: str) -> list[str]:
    """Return the command that runs BATCH over a program, without a timeout and without a log."""
    script = [shell, "-c", commands.BATCH, "sh", str(target), "a name", "65532:65532", "0", "0", *NO_LOG]
    return [*script, str(EXPIRY), "0", "0", *program]


def run_open(
    shell: str, runs: Path, run: str, *dead: str, image: str = "image", path: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run OPEN with the folder `runs` in the place of a worker's, and a folder for logs beside it."""
    places = {commands.RUNS: str(runs), USUAL.logs: str(runs.parent / "logs")}
    argv = [places.get(word, word) for word in run_commands.open_argv(run, image, dead)]
    return run_script(shell, argv, *argv[4:], path=path)


def code_of(target: Path) -> int:
    """The exit code that a batch kept, and with it a look at the rest of its end."""
    return parse_ending((target / "exit").read_bytes(), b"").code


def manifest_of(contents: dict[bytes, bytes]) -> list[bytes]:
    return sorted(hashlib.sha256(data).hexdigest().encode() + b"  ./" + key for key, data in contents.items())


def stand_in(folder: Path, name: str, script: str) -> None:
    """Write a program that takes the place of a real one where `folder` is first in PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def docker(tmp_path: Path, containers: str) -> str:
    """A PATH with a docker that has these containers, and tells what it was told."""
    tools = tmp_path / "bin"
    stand_in(tools, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    stand_in(tools, "docker", f'echo "$*" >>"{tools}/log"; [ $1 = ps ] && printf "{containers}"; :')
    return f"{tools}:{os.environ['PATH']}"
