"""The file of a run on a worker whose disk becomes full while it is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fanrun.fanout.results.log_lines import parse
from fanrun.fanout.worker_files.log_spool import Full, Spool
from tests.fleet.mounts import fill, small_disk

MIB = 1024**2


def note(text: str, more: str = "") -> bytes:
    """Return a line of the log's own, as the filter makes it."""
    return (
        f'{{"timestamp":"2026-11-27T19:04:39.123Z","host":"w","stream":"fanrun",{more}"message":"{text}"}}\n'.encode()
    )


def lines(start: int, count: int) -> bytes:
    """Return so many lines of a batch, each of more than 1,000 bytes."""
    record = {"timestamp": "2026-11-27T19:04:39.123Z", "host": "w", "batch": "w.1", "stream": "stdout"}
    made = (json.dumps({**record, "message": f"{number} {'x' * 1000}"}) for number in range(start, start + count))
    return "".join(f"{line}\n" for line in made).encode()


@pytest.mark.parametrize("left", [4, 60])
def test_a_disk_that_another_fills_never_makes_it_shorter(tmp_path: Path, left: int) -> None:
    """Vector has read what is there, and goes on behind it; the torn line ends before anything else follows."""
    with small_disk(tmp_path / "disk", mib=8) as disk:
        path = disk / "r1.jsonl"
        spool = Spool(str(path), 64 * MIB, note)
        spool.write(lines(0, 10))
        followed = os.open(path, os.O_RDONLY)
        fill(disk, left)
        before = os.fstat(followed).st_size
        with pytest.raises(Full):
            spool.write(lines(10, 100))
        torn = os.fstat(followed).st_size
        assert torn > before
        (disk / "fill").unlink()
        Spool(str(path), 64 * MIB, note).write(lines(200, 1))
        data = os.pread(followed, MIB, 0)
        os.close(followed)
    assert len(data) > torn
    found = [line for line in map(parse, data.splitlines()) if line]
    numbers = [int(line.message.split()[0]) for line in found if line.stream == "stdout"]
    assert numbers == [*range(len(numbers) - 1), 200]
