"""The bounds of the log filter: long lines, many lines, full disks, several filters at once."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fanrun.fanout.worker_files.log_files import BatchLog
from tests.fleet.mounts import fill, root
from tests.unit.filtering import (
    MIB,
    Filtered,
    read_lines,
    run_filter,
    run_python,
    start_filter,
)
from tests.waiting import wait_until

LINE = 64 * 1024
LEFT_OUT = re.compile(r"(\d+) lines \((\d+) bytes\) are left out: (.*)")
MEMORY = 150 * MIB
"""The most that the filter may need, with Python itself."""


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


def notes(done: Filtered) -> list[re.Match[str]]:
    """Return what the batch's log says is left out."""
    found = [LEFT_OUT.fullmatch(message) for message in done.messages("fanrun")]
    assert all(found)
    return [match for match in found if match]


def free_part(disk: Path) -> float:
    """Return which part of a disk is free."""
    found = os.statvfs(disk)
    return found.f_bavail / found.f_blocks


def test_a_line_of_100_mb(tmp_path: Path) -> None:
    piece, count = b"0123456789abcdef" * 4096, 1600
    script = f"for n in range({count}): out.write(b'0123456789abcdef' * 4096)"
    done = run_python(tmp_path / "out", script, limits=(512 * MIB, 512 * MIB))
    records = done.records()
    assert len(records) == count
    assert all(record["message"].encode() == piece for record in records)
    assert [record.get("partial", False) for record in records] == [*[True] * (count - 1), False]
    assert len(done.spooled()) == count + 1


@pytest.mark.parametrize(
    "script",
    [
        "for n in range(1600): out.write(b'x' * 65536)",
        "for n in range(12): out.write(b'\\n' * 65536)",
        "for n in range(320): out.write(b'\\0' * 65536)",
        "for n in range(320): out.write(os.urandom(65536))",
    ],
    ids=["one line", "empty lines", "nul", "garbage"],
)
def test_memory_is_bounded(tmp_path: Path, script: str) -> None:
    """The program waits for its last line until the filter's memory was measured."""
    head = f"import os, sys, time\nout = sys.stdout.buffer\n{script}\nout.flush()"
    head += f"\nopen({str(tmp_path / 'written')!r}, 'w')"
    tail = f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)"
    with start_filter(tmp_path / "out", "python3", "-c", f"{head}\n{tail}", limits=(MIB, 64 * MIB)) as process:
        wait_until((tmp_path / "written").exists)
        status = Path(f"/proc/{process.pid}/status").read_text()
        (tmp_path / "go").touch()
        assert process.wait(60) == 0
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024
    assert peak < MEMORY


def test_of_many_lines_the_first_and_the_last_are_kept(tmp_path: Path) -> None:
    count, limit = 2_000_000, 2 * MIB
    script = f"for n in range(0, {count}, 1000): out.write(b''.join(b'%d\\n' % m for m in range(n, n + 1000)))"
    done = run_python(tmp_path / "out", script, limits=(limit, 4 * MIB))
    kept = list(map(int, done.messages()))
    gap = next(place for place, number in enumerate(kept) if place != number)
    assert kept == [*range(gap), *range(count - len(kept) + gap, count)]
    (note,) = notes(done)
    assert note[3] == "a batch keeps its first and its last lines"
    assert int(note[1]) + len(kept) == count
    text = gzip.decompress((done.target / "log.jsonl.gz").read_bytes())
    own = sum(len(line) + 1 for line in text.splitlines() if b'"stream":"fanrun"' in line)
    each = len(read_first(text)) - len("0")
    assert int(note[2]) + len(text) - own == count * each + sum(len(str(number)) for number in range(count))
    position = [record["stream"] for record in done.records()].index("fanrun")
    assert position == gap, "the note stands where the lines are missing"
    first = sum(len(line) + 1 for line in text.splitlines()[:gap])
    assert first >= limit
    assert len(text) - own - first >= limit
    assert {path.name for path in done.target.iterdir()} == {"log", "log.jsonl.gz", "report.jsonl", "times"}


def read_first(text: bytes) -> bytes:
    """Return the first line, with its newline."""
    return text[: text.index(b"\n") + 1]


def test_a_spool_ends_at_its_bound(tmp_path: Path) -> None:
    spool, limit = tmp_path / "spool.jsonl", MIB
    script = "for n in range(100000): os.write(1, b'%d\\n' % n)"
    done = run_python(tmp_path / "out", script, limits=(32 * MIB, limit))
    lines = done.spooled()
    assert limit - 1000 < spool.stat().st_size < limit + 1000
    assert lines[-1]["spool"] == "full"
    assert lines[-1]["message"] == (
        "the log of this run on this worker has reached its bound; what follows is in the batches' own logs"
    )
    kept = [line["message"] for line in lines if line["stream"] == "stdout"]
    assert kept == list(map(str, range(len(kept))))
    assert done.messages() == list(map(str, range(100000))), "the batch's own log has all"
    before = spool.read_bytes()
    second = run_filter(tmp_path / "second", "echo", "more", limits=(32 * MIB, limit))
    assert spool.read_bytes() == before
    assert second.messages() == ["more"]


def test_a_message_like_the_last_line_stops_no_spool(tmp_path: Path) -> None:
    done = run_filter(tmp_path / "out", "echo", ',"spool":"full","message":"x"')
    run_filter(tmp_path / "out", "echo", "more")
    assert [line["message"] for line in done.spooled()][1:] == [',"spool":"full","message":"x"', "more"]


def test_filters_at_once_share_a_spool(tmp_path: Path) -> None:
    spool = tmp_path / "spool.jsonl"
    script = "import os\nfor n in range(300): os.write(1, b'%d ' % n + b'x' * (n * 37 % 5000) + b'\\n')"

    def run(number: int) -> int:
        fields = f'"run":"r","batch":"b{number}"'
        with start_filter(tmp_path / str(number), "python3", "-c", script, spool=spool, fields=fields) as process:
            return process.wait(60)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [0] * 4
    lines = read_lines(spool.read_bytes())
    assert [line.get("spool") for line in lines] == ["begin", *[None] * 1200]
    for number in range(4):
        mine = [line["message"] for line in lines[1:] if line["batch"] == f"b{number}"]
        assert mine == [f"{n} " + "x" * (n * 37 % 5000) for n in range(300)]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("spool")] == ["spool.jsonl"]


def test_filters_at_once_end_a_spool_once(tmp_path: Path) -> None:
    spool, script = tmp_path / "spool.jsonl", "import os\nfor n in range(3000): os.write(1, b'%d\\n' % n)"

    def run(number: int) -> int:
        target = tmp_path / str(number)
        with start_filter(target, "python3", "-c", script, spool=spool, limits=(MIB, 200_000)) as process:
            return process.wait(60)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [0] * 4
    places = [place for place, line in enumerate(read_lines(spool.read_bytes())) if line.get("spool") == "full"]
    assert places == [len(read_lines(spool.read_bytes())) - 1]


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    """As a machine leaves it that lost its power."""
    spool = tmp_path / "spool.jsonl"
    run_filter(tmp_path / "out", "echo", "one")
    spool.write_bytes(spool.read_bytes() + b'{"timestamp":"2026-01-')
    run_filter(tmp_path / "out", "echo", "two")
    *_, torn, last = spool.read_bytes().splitlines()
    assert (torn, json.loads(last)["message"]) == (b'{"timestamp":"2026-01-', "two")


@pytest.mark.parametrize("spool", ["nowhere/spool.jsonl", "file/spool.jsonl"])
def test_without_a_folder_for_it_there_is_no_spool(tmp_path: Path, spool: str) -> None:
    (tmp_path / "file").touch()
    done = run_filter(tmp_path / "out", "sh", "-c", "echo one; exit 4", spool=tmp_path / spool)
    assert (done.code, done.error, done.messages()) == (4, "", ["one"])


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


def make_log(target: Path) -> BatchLog:
    """Return a batch's log as the filter has it."""
    target.mkdir()
    return BatchLog(str(target), 32 * MIB)


def test_what_is_written_can_be_read_although_the_end_is_missing(tmp_path: Path) -> None:
    """As when the filter is killed."""
    log = make_log(tmp_path / "out")
    for _ in range(3000):
        log.write(os.urandom(1000).hex().encode() + b"\n", 1)
    data = zlib.decompressobj(31).decompress((tmp_path / "out" / "log.jsonl.gz").read_bytes())
    assert data.count(b"\n") > 2000
