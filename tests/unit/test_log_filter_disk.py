"""The log filter on a disk that is full, or nearly so."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.mounts import fill, root
from tests.unit.filtering import (
    LEFT_OUT,
    MIB,
    Filtered,
    make_log,
    notes,
    read_lines,
    run_filter,
    run_python,
    start_filter,
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    root("mount", "-t", "tmpfs", "-o", f"size=8m,uid={os.getuid()},gid={os.getgid()}", "none", str(folder))
    try:
        yield folder
    finally:
        root("umount", "--lazy", str(folder))


def free_part(disk: Path) -> float:
    """Return which part of a disk is free."""
    found = os.statvfs(disk)
    return found.f_bavail / found.f_blocks


NOISE = "for n in range(3000): out.write(os.urandom(1500).hex().encode() + b'\\n')"


def test_a_batch_log_leaves_a_part_of_the_disk_free(tmp_path: Path, disk: Path) -> None:
    done = run_python(disk / "out", f"{NOISE}\nsys.exit(3)")
    assert done.code == 3
    assert free_part(disk) > 0.04  # the plain log of 64 KiB is part of the results
    check_disk_note(done, 3000)
    assert {path.name for path in done.target.iterdir()} == {"log", "log.jsonl.gz", "report.jsonl", "times"}


def check_disk_note(done: Filtered, count: int) -> None:
    """The log says that the disk is full, at its end, and how many lines are missing."""
    note = notes(done)[-1]
    assert note[3] == "the disk is nearly full"
    assert done.records()[-1]["stream"] == "fanrun"
    assert len(done.messages()) + sum(int(each[1]) for each in notes(done)) == count


def test_segments_on_a_full_disk(tmp_path: Path, disk: Path) -> None:
    fill(disk, left=3000)
    done = run_python(disk / "out", NOISE, limits=(MIB, 1024 * MIB))
    assert done.code == 0
    assert free_part(disk) > 0.035
    check_total(done, 3000)


def check_total(done: Filtered, count: int) -> None:
    """All lines are there or left out."""
    assert len(done.messages()) + sum(int(each[1]) for each in notes(done)) == count


def test_a_spool_leaves_a_part_of_the_disk_free(tmp_path: Path, disk: Path) -> None:
    spool = disk / "spool.jsonl"
    with start_filter(
        tmp_path / "out", "python3", "-c", f"import os, sys\nout = sys.stdout.buffer\n{NOISE}", spool=spool
    ) as run:
        assert run.wait(60) == 0
    assert free_part(disk) > 0.045
    last = read_lines(spool.read_bytes())[-1]
    assert (last["spool"], last["message"].partition(";")[0]) == ("full", "the disk is nearly full")
    assert len(Filtered(tmp_path / "out", spool, 0, "").messages()) == 3000


def test_small_batches_do_not_fill_a_disk_either(tmp_path: Path, disk: Path) -> None:
    fill(disk, left=300)
    done = run_filter(disk / "out", "sh", "-c", "echo one; exit 6", spool=disk / "spool.jsonl")
    assert done.code == 6
    assert free_part(disk) > 0.03
    assert not done.messages()
    check_total(done, 1)


@pytest.mark.parametrize("left", [0, 4, 40])
def test_a_disk_that_is_full_already_harms_no_program(tmp_path: Path, disk: Path, left: int) -> None:
    """Where there is room for nothing the program runs all the same, and its exit code counts."""
    (disk / "out").mkdir()
    (disk / "out" / "report.jsonl").touch()
    fill(disk, left)
    script = f"{NOISE}\nopen({str(tmp_path / 'result')!r}, 'w').write('done')\nsys.exit(3)"
    done = run_python(disk / "out", script)
    assert (done.code, done.error) == (3, "")
    assert (tmp_path / "result").read_text() == "done"


def test_another_who_fills_the_disk_spoils_no_line(tmp_path: Path, disk: Path) -> None:
    """The disk has room when it is looked at, and none a moment later."""
    log = make_log(disk / "out")
    lines = [json.dumps({"message": os.urandom(1500).hex()}).encode() + b"\n" for _ in range(2000)]
    for number, line in enumerate(lines):
        if number == 1500:
            fill(disk)
        log.write(line, 1)
    shutil.move(disk / "fill", tmp_path / "fill")
    log.end(lambda text: json.dumps({"message": text}).encode() + b"\n")
    found = read_lines(gzip.decompress((disk / "out" / "log.jsonl.gz").read_bytes()))
    match = LEFT_OUT.fullmatch(found[-1]["message"])
    assert match
    assert [json.loads(line) for line in lines[: len(found) - 1]] == found[:-1]
    assert int(match[1]) == 2000 - (len(found) - 1) > 400
    assert int(match[2]) == sum(map(len, lines[len(found) - 1 :]))
    assert len(found) > 300
