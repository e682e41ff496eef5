"""The joblog: one line an input, whatever its name is."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.results.joblog import HEADER, Entry, Joblog
from tests.unit.samples import HOSTILE

DIGESTS = ("0" * 64, "f" * 64)
UNESCAPED = {b"\\\\": b"\\", b"\\t": b"\t", b"\\n": b"\n", b"\\r": b"\r"}


def entry(key: bytes, *, code: int = 0, hashes: tuple[str, ...] = DIGESTS) -> Entry:
    return Entry(key, "worker-1", "worker-1.0001", 1767225600.12345, 0.5, 1000, 20, 2, code, hashes)


def key_of(line: bytes) -> bytes:
    """The key that a line's first field stands for."""
    return re.sub(rb"\\.", lambda found: UNESCAPED[found[0]], line.split(b"\t")[0])


def test_a_line_has_a_field_for_every_column() -> None:
    assert entry(b"d/a.jpg").line() == (
        b"d/a.jpg\tworker-1\tworker-1.0001\t1767225600.123\t0.500\t1000\t20\t2\t0\t%s,%s\n"
        % tuple(digest.encode() for digest in DIGESTS)
    )
    assert entry(b"a", code=137, hashes=()).line().endswith(b"\t137\t-\n")
    assert entry(b"a").line().count(b"\t") == HEADER.count(b"\t")


@pytest.mark.parametrize(
    ("key", "field"),
    [
        (b"tab\t", b"tab\\t"),
        (b"new\nline", b"new\\nline"),
        (b"\r", b"\\r"),
        (b"back\\n", b"back\\\\n"),
        (b"\xff\xc3\xa9", b"\xff\xc3\xa9"),
        (b" lead and trail ", b" lead and trail "),
    ],
)
def test_what_could_end_a_field_is_escaped(key: bytes, field: bytes) -> None:
    assert entry(key).line().split(b"\t")[0] == field


@given(st.binary(max_size=20) | st.sampled_from(HOSTILE))
def test_every_key_is_one_field_of_one_line_and_can_be_read_back(key: bytes) -> None:
    line = entry(key).line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert line.count(b"\t") == HEADER.count(b"\t")
    assert key_of(line) == key


def test_lines_are_there_as_soon_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "joblog.tsv"
    joblog = Joblog(path)
    joblog.add([])
    joblog.add(map(entry, HOSTILE))
    written = path.read_bytes()
    joblog.add([entry(b"last")])
    joblog.close()
    head, *lines, end = written.split(b"\n")
    assert (head + b"\n", end) == (HEADER, b"")
    assert [key_of(line) for line in lines] == list(HOSTILE)
    assert path.read_bytes() == written + entry(b"last").line()


def test_lines_of_many_threads_are_whole(tmp_path: Path) -> None:
    joblog = Joblog(tmp_path / "joblog.tsv")

    def work(name: int) -> None:
        for n in range(20):
            joblog.add(entry(b"%d.%d.%d" % (name, n, part)) for part in range(5))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    joblog.close()
    lines = (tmp_path / "joblog.tsv").read_bytes().splitlines(keepends=True)[1:]
    expected = {
        entry(b"%d.%d.%d" % (name, n, part)).line() for name in range(8) for n in range(20) for part in range(5)
    }
    assert len(lines) == 800
    assert set(lines) == expected
    batches = [key_of(line).rsplit(b".", 1)[0] for line in lines]
    assert all(len(set(batches[start : start + 5])) == 1 for start in range(0, 800, 5)), "what is added stays together"
