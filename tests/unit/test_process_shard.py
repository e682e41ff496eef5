"""Shards of process.py: together they do every input once, and each knows its own without the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import pytest
from PIL import Image

PROGRAM = Path(__file__).resolve().parents[2] / "process.py"


def run(*arguments: str | Path, report: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    variables = {"FANRUN_REPORT": str(report)} if report else {}
    argv = [sys.executable, PROGRAM, *arguments]
    return subprocess.run(
        argv, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60, check=False
    )


def names(folder: Path) -> set[bytes]:
    """Relative paths of all files, as bytes."""
    return {os.fsencode(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Thirty images in three folders, names that are no UTF-8 among them, and one that is no image."""
    folder = tmp_path / "in"
    for number in range(30):
        name = os.fsdecode(b"plate \xff%d.png" % number) if number % 3 else f"it's [{number}].png"
        path = folder / f"é {number % 3}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2), number).save(path)
    (folder / "bad.png").write_bytes(b"no image")
    return folder


def test_shards_do_every_input_once(source: Path, tmp_path: Path) -> None:
    whole = run(source, tmp_path / "whole")
    assert whole.returncode == 1
    found: list[set[bytes]] = []
    told: list[str] = []
    for number in range(4):
        output, report = tmp_path / f"out {number}", tmp_path / f"report {number}"
        done = run("--shard", f"{number}/4", source, output, report=report)
        told += [json.loads(line)["path"] for line in report.read_text().splitlines()]
        found.append(names(output))
        assert all(crc32(name) % 4 == number for name in found[-1])
        assert done.returncode == (crc32(b"bad.png") % 4 == number)
    assert set.union(*found) == names(tmp_path / "whole") == names(source) - {b"bad.png"}
    assert sum(map(len, found)) == 30
    assert len(told) == len(set(told)) == 31
    assert min(map(len, found)) > 0
    for number, keys in enumerate(found):
        for key in map(os.fsdecode, keys):
            assert (tmp_path / f"out {number}" / key).read_bytes() == (tmp_path / "whole" / key).read_bytes()


def test_one_shard_is_everything(source: Path, tmp_path: Path) -> None:
    run("--shard=0/1", "--workers=1", source, tmp_path / "out")
    assert names(tmp_path / "out") == names(source) - {b"bad.png"}


def test_a_shard_without_files_is_done(source: Path, tmp_path: Path) -> None:
    taken = {crc32(name) % 1000 for name in names(source)}
    empty = next(number for number in range(1000) if number not in taken)
    done = run("--shard", f"{empty}/1000", source, tmp_path / "out")
    assert done.returncode == 0
    assert done.stderr == f"process.py: nothing to do: no file under {source} in shard {empty}/1000\n"


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "0/0", "a/4", "1/b", "1/2/3", "0.5/4"])
def test_what_is_no_shard_is_told(source: Path, tmp_path: Path, text: str) -> None:
    done = run(f"--shard={text}", source, tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("give K/N, with K from 0 to N-1, as in 0/4")
    assert not (tmp_path / "out").exists()
