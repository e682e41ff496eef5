"""Run the log filter as BATCH runs it on a worker, and read what it wrote."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanrun.fanout import commands
from fanrun.fanout.worker_files.log_files import BatchLog

FIELDS = '"fleet":"f","run":"r1","host":"worker-1","batch":"worker-1.0001"'
MIB = 1024**2
FILTER = re.findall(r"(?m)^filter='(.*)'$", commands.BATCH)
"""The line of Python with which BATCH starts the filter."""
SOURCES = Path(__file__).resolve().parents[2] / "fanrun" / "fanout" / "worker_files"


LEFT_OUT = re.compile(r"(\d+) lines \((\d+) bytes\) are left out: (.*)")
"""What a log says where lines are missing."""


@dataclass
class Filtered:
    """What one run of the filter left in the folder `target`, and in the spool."""

    target: Path
    spool: Path
    code: int
    error: str

    def records(self) -> list[dict[str, Any]]:
        """Return the lines of log.jsonl.gz."""
        return read_lines(gzip.decompress((self.target / "log.jsonl.gz").read_bytes()))

    def spooled(self) -> list[dict[str, Any]]:
        """Return the lines of the spool."""
        return read_lines(self.spool.read_bytes())

    def messages(self, stream: str = "stdout") -> list[str]:
        """Return the messages of a stream."""
        return [record["message"] for record in self.records() if record["stream"] == stream]


def read_lines(data: bytes) -> list[dict[str, Any]]:
    """Read JSON lines; fails for a torn one."""
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.splitlines()]


def joined(records: Sequence[dict[str, Any]], stream: str) -> str:
    """Return what a stream's lines say a program wrote, each ended by a newline."""
    chosen = (record for record in records if record["stream"] == stream)
    return "".join(record["message"] + ("" if "partial" in record else "\n") for record in chosen)


def start_filter(
    target: Path,
    *program: str,
    spool: Path | None = None,
    limits: tuple[int, int] = (32 * MIB, 1024 * MIB),
    fields: str = FIELDS,
) -> subprocess.Popen[str]:
    """Start the filter over a program; `limits` are those of a batch and of a spool."""
    target.mkdir(exist_ok=True)
    (target / "report.jsonl").touch()
    spool = spool or target.parent / "spool.jsonl"
    argv = ["python3", "-I", "-S", "-c", FILTER[0], SOURCES, target, spool, fields, *map(str, limits), *program]
    return subprocess.Popen(
        list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_filter(
    target: Path, *program: str, spool: Path | None = None, limits: tuple[int, int] = (32 * MIB, 1024 * MIB)
) -> Filtered:
    """Run the filter over a program to its end."""
    with start_filter(target, *program, spool=spool, limits=limits) as process:
        out, error = process.communicate(timeout=120)
    assert out == "", "the filter prints nothing of its own"
    return Filtered(target, spool or target.parent / "spool.jsonl", process.returncode, error)


def run_python(
    target: Path,
    script: str,
    *arguments: str,
    spool: Path | None = None,
    limits: tuple[int, int] = (32 * MIB, 1024 * MIB),
) -> Filtered:
    """Run the filter over a Python script, which has `out` and `err` to write bytes to."""
    head = "import os, sys, time\nout, err = sys.stdout.buffer, sys.stderr.buffer\n"
    return run_filter(target, sys.executable, "-c", head + script, *arguments, spool=spool, limits=limits)


def notes(done: Filtered) -> list[re.Match[str]]:
    """Return what the batch's log says is left out."""
    found = [LEFT_OUT.fullmatch(message) for message in done.messages("fanrun")]
    assert all(found)
    return [match for match in found if match]


def make_log(target: Path) -> BatchLog:
    """Return a batch's log as the filter has it."""
    target.mkdir()
    return BatchLog(str(target), 32 * MIB)
