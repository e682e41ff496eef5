"""The bounds of the log filter: long lines, many lines, full disks, several filters at once."""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.filtering import (
    MIB,
    make_log,
    notes,
    read_lines,
    run_filter,
    run_python,
    start_filter,
)
from tests.waiting import wait_until

LINE = 64 * 1024
MEMORY = 150 * MIB
"""The most that the filter may need, with Python itself."""


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


def test_what_is_written_can_be_read_although_the_end_is_missing(tmp_path: Path) -> None:
    """As when the filter is killed."""
    log = make_log(tmp_path / "out")
    for _ in range(3000):
        log.write(os.urandom(1000).hex().encode() + b"\n", 1)
    data = zlib.decompressobj(31).decompress((tmp_path / "out" / "log.jsonl.gz").read_bytes())
    assert data.count(b"\n") > 2000
