"""Flags of Fabric's own: no task takes them for its own, and none changes anything."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.fab_world import FabWorld, fabfile_tasks


def fates(top: Path) -> dict[str, bytes]:
    """{path: content} of every file below a folder."""
    return {str(path): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


TASKS = tuple(fabfile_tasks())
FLAGS = [
    *((f"{task} {flag}", "usage") for task in TASKS for flag in ("-h", "--help")),
    *((f"{flag} {task}", "usage") for task in TASKS for flag in ("--help",)),
    *((f"{task} -R", "refused") for task in TASKS),
    *((f"-H a,b {task}", "refused") for task in TASKS),
    *((f"{flag} down", "refused") for flag in ("--hosts 1", "-R", "--dry", "-e", "-w", "-p", "-T 5", "-t 5", "-i x")),
    *((f"down {flag}", "refused") for flag in ("-H x", "--dry", "-e", "-w", "-p", "-T 5", "-t 5", "-i x")),
    ("--hosts=8 up", "refused"),
    ("-S x up", "refused"),
    ("up -S x", "refused"),
    ("up --dry", "refused"),
    ("--no-dedupe up", "refused"),
    ("--hide=both down", "refused"),
    ("-R status down", "refused"),
    ("down -y", "unknown"),
    ("down -f", "unknown"),
    ("run -y", "unknown"),
    ("run -f", "unknown"),
    ("up -q", "unknown"),
    ("down x", "unknown"),
    ("x down", "unknown"),
    ("sample x", "unknown"),
    ("serve -r 0", "refused"),
    ("-y down", "unknown"),
]
"""Command lines with flags of Fabric's, or with nobody's, and what becomes of them."""


@pytest.mark.long
def test_no_flag_of_fabrics_destroys_or_writes(fab_world: FabWorld) -> None:
    before = fates(fab_world.top / "homes" / "fleet")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(lambda case: fab_world.fab(*case[0].split(" ")), FLAGS))
    assert fates(fab_world.top / "homes" / "fleet") == before
    codes = {"usage": 0, "refused": 2, "unknown": 2}
    for (argv, kind), ended in zip(FLAGS, done, strict=True):
        name = next(part for part in argv.split(" ") if part in TASKS)
        assert (argv, ended.returncode, "Traceback" in ended.stderr) == (argv, codes[kind], False), ended.stderr
        assert ended.stdout.startswith(f"Usage: fab {name} [options]" if kind == "usage" else ""), argv
        assert (ended.stdout == "") == (kind != "usage")
        assert f"fab {name} does not take --" in ended.stderr or kind != "refused", ended.stderr
