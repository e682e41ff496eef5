"""The ledger: what is done stays done, what is not is made anew, and its file survives what befalls it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact, Ledger, program
from fanrun.fanout.results.names import renamed
from tests.unit.facts import FACT, digest
from tests.unit.samples import HOSTILE

pytestmark = pytest.mark.usefixtures("quick_ledger")


# ---- names and programs


@pytest.mark.parametrize(
    ("path", "key", "new", "expected"),
    [
        (b"old.png", b"old.png", b"d/new.jpg", b"d/new.jpg"),
        (b"old-small.webp", b"old.png", b"d/new.jpg", b"d/new-small.webp"),
        (b"old.png.gz", b"old.png", b"d/new.jpg", b"d/new.jpg.gz"),
        (b"log.1.gz", b"log.1", b"kern.1", b"kern.1.gz"),
        (b"x.bam", b"x.fastq.gz", b"y.fastq.gz", None),
        (b"64/old.png", b"old.png", b"new.png", None),
        (b"old", b"old", b"new.png", b"new.png"),
        (b"old.out", b"old", b"new.png", None),
        (b"old.out", b"old", b"new", b"new.out"),
        (b"old.out", b"old.png", b"new", b"new.out"),
    ],
)
def test_a_result_is_renamed_with_its_input(path: bytes, key: bytes, new: bytes, expected: bytes | None) -> None:
    assert renamed(path, key, new) == expected


def test_a_program_is_its_image_and_every_argument() -> None:
    named = [("a",), ("a", "x y"), ("a", "x", "y"), ("a", "x", "y", ""), ("b",), ("a b",), ('a", "x',)]
    assert len({program(image, args) for image, *args in named}) == len(named)
    assert program("a", ("x",)) == program("a", ["x"]) == program("a", ["x"], {})
    starts: list[dict[str, object]] = [
        {"each": ["x"]},
        {"each": ["x", ""]},
        {"entrypoint": ""},
        {"entrypoint": "x"},
        {},
    ]
    assert len({program("a", (), start) for start in starts} | {program("a", ('{"each": ["x"]}',))}) == len(starts) + 1


# ---- the file


def test_what_is_recorded_is_there_after_a_crash(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.begin("r1", "p", {"args": ["--op"]})
    ledger.fail([(FACT.key, "dark"), (b"b", "late")])
    ledger.record("p", [FACT])
    ledger.remember_hash(b"/seen", file_stat(os.fsencode(tmp_path)), "not kept yet")
    ledger._db.close()
    again = Ledger(tmp_path / "ledger.db")
    assert again.outputs(FACT.key, FACT.hash, "p") == FACT.outputs
    assert again.outputs(FACT.key, FACT.hash, "q") == again.outputs(FACT.key, digest(b""), "p") == {}
    assert again.outputs(b"another", FACT.hash, "p") == {}
    assert (again.knows("p"), again.knows("q")) == (True, False)
    assert list(again.inputs("p")) == [(FACT.key, FACT.hash)]
    assert (again.input_hash(FACT.key), again.input_hash(b"b")) == (FACT.hash, None)
    assert again.failures() == {b"b": "late"}
    assert again.last_run() == ("r1", "p", {"args": ["--op"]})
    assert again.places_of("not kept yet") == []
    again.close()


def test_what_was_seen_is_kept_at_the_end_and_with_the_next_change(tmp_path: Path) -> None:
    for name, keep in (("closed", Ledger.close), ("changed", lambda ledger: ledger.record_inputs("p", []))):
        ledger = Ledger(tmp_path / name)
        ledger.remember_hash(b"/seen", file_stat(os.fsencode(tmp_path)), "kept")
        keep(ledger)
        ledger._db.close()
        again = Ledger(tmp_path / name)
        assert again.places_of("kept") == [b"/seen"]
        again.close()


def test_the_latest_run_is_the_last(ledger: Ledger) -> None:
    assert ledger.last_run() is None
    for name in ("r9", "r10", "r1"):
        ledger.begin(name, "p", {})
    assert ledger.last_run() == ("r1", "p", {})


def test_a_program_may_leave_other_results_than_before(ledger: Ledger) -> None:
    ledger.record("p", [FACT])
    ledger.record("q", [FACT])
    ledger.record("p", [Fact(FACT.key, FACT.hash, {b"t.txt": digest(b"t")})])
    assert ledger.outputs(FACT.key, FACT.hash, "p") == {b"t.txt": digest(b"t")}
    assert ledger.outputs(FACT.key, FACT.hash, "q") == FACT.outputs
    assert list(ledger.inputs("p")) == [(FACT.key, FACT.hash)]


def test_equal_inputs_have_results_of_their_own(ledger: Ledger) -> None:
    """A program may write an input's path into its result."""
    same = digest(b"same")
    ledger.record("p", [Fact(key, same, {key: digest(key)}) for key in (b"cat/1.jpg", b"dog/1.jpg")])
    for key in (b"cat/1.jpg", b"dog/1.jpg"):
        assert ledger.outputs(key, same, "p") == {key: digest(key)}
    assert ledger.outputs_of_equal(b"new/1.jpg", same, "p") == {b"new/1.jpg": digest(b"cat/1.jpg")}
    assert ledger.outputs_of_equal(b"new/1.jpg", digest(b"other"), "p") == {}
    assert sorted(ledger.owners("p")) == [(b"cat/1.jpg", b"cat/1.jpg"), (b"dog/1.jpg", b"dog/1.jpg")]
    assert ledger.owners_by_others("p") == []
    assert sorted(ledger.owners_by_others("q")) == sorted(ledger.owners("p"))
    ledger.record("p", [Fact(b"dog/1.jpg", digest(b"new"), {b"dog/1.txt": digest(b"t")})])
    assert sorted(ledger.owners("p")) == [(b"cat/1.jpg", b"cat/1.jpg"), (b"dog/1.txt", b"dog/1.jpg")]


VERSION_1 = """
CREATE TABLE outputs (input TEXT, program TEXT, place BLOB, hash TEXT, PRIMARY KEY (input, program, place))
    WITHOUT ROWID;
CREATE TABLE inputs (key BLOB PRIMARY KEY, hash TEXT, program TEXT) WITHOUT ROWID;
CREATE TABLE seen (path BLOB PRIMARY KEY, look TEXT, hash TEXT) WITHOUT ROWID;
CREATE INDEX seen_by_hash ON seen (hash);
CREATE TABLE failures (key BLOB PRIMARY KEY, reason TEXT) WITHOUT ROWID;
CREATE TABLE runs (name TEXT PRIMARY KEY, program TEXT, request TEXT);
PRAGMA user_version = 1;
"""
OLD_INPUTS = {
    b"p.jpg": "5",
    b"a.jpg": "1",
    b"b.jpg": "2",
    b"cat/1.jpg": "same",
    b"dog/1.jpg": "same",
    b"x.csv": "3",
    b"x.log": "4",
}
OLD_OUTPUTS = [
    ("5", b"+.png", "r6"),
    ("1", b"=", "r1"),
    ("2", b"+.png", "r2"),
    ("same", b"=", "r3"),
    ("3", b"+.log.gz", "r4"),
    ("9", b"=", "r5"),
]


def make_version_1(path: Path) -> None:
    """Write a ledger of version 1, which may have taken the result of p.tif for that of p.jpg."""
    old = sqlite3.connect(path)
    old.executescript(VERSION_1)
    old.executemany("INSERT INTO inputs VALUES (?, ?, 'p')", OLD_INPUTS.items())
    old.executemany("INSERT INTO outputs VALUES (?, 'p', ?, ?)", OLD_OUTPUTS)
    old.executemany("INSERT INTO failures VALUES (?, 'dark')", [(b"bad",), (b"p.tif",)])
    old.execute("INSERT INTO runs VALUES ('r', 'p', '{}')")
    old.commit()
    old.close()


@pytest.mark.parametrize("writes", [True, False])
def test_a_ledger_of_version_1_is_brought_up_to_date(tmp_path: Path, writes: bool) -> None:
    """What is certain stays; what equal inputs had, or what fits another input better, is to be done again."""
    path = tmp_path / "ledger.db"
    make_version_1(path)
    before = path.read_bytes()
    for _ in range(2):
        ledger = Ledger(path, write=writes)
        found = {key: ledger.outputs(key, content, "p") for key, content in OLD_INPUTS.items()}
        assert {key: each for key, each in found.items() if each} == {
            b"a.jpg": {b"a.jpg": "r1"},
            b"b.jpg": {b"b.png": "r2"},
        }
        assert (ledger.failures(), ledger.last_run()) == ({b"bad": "dark", b"p.tif": "dark"}, ("r", "p", {}))
        ledger.close()
    assert (path.read_bytes() == before) == (not writes)


def test_a_failure_is_forgotten_when_the_input_is_done(ledger: Ledger) -> None:
    ledger.fail([(b"a", "x"), (b"b", "x"), (b"c", "x"), (b"a", "again")])
    ledger.record("p", [Fact(b"b", digest(b"b"), {})])
    ledger.record_inputs("p", [(b"c", digest(b"c"))])
    assert ledger.failures() == {b"a": "again"}
    assert dict(ledger.inputs("p")) == {b"b": digest(b"b"), b"c": digest(b"c")}


def test_hostile_keys_are_kept_as_they_are(ledger: Ledger) -> None:
    ledger.record_inputs("p", ((key, digest(key)) for key in HOSTILE))
    assert list(ledger.inputs("p")) == sorted((key, digest(key)) for key in HOSTILE)


def test_many_threads_write_at_once(ledger: Ledger) -> None:
    def work(name: int) -> None:
        for n in range(30):
            ledger.remember_hash(b"/%d" % n, file_stat(b"/"), f"{name}")
            key = b"%d.%d" % (name, n)
            ledger.record("p", [Fact(key, digest(key), {key: "h"})])
            assert ledger.outputs(key, digest(key), "p") == {key: "h"}

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(ledger.inputs("p"))) == 180


def test_a_reason_may_name_a_path_that_is_no_utf8(tmp_path: Path) -> None:
    with contextlib.closing(Ledger(tmp_path / "ledger.db")) as ledger:
        ledger.fail([(b"a\xff", f"its result {os.fsdecode(bytes([97, 255]))} is missing")])
        assert ledger.failures() == {b"a\xff": "its result a\\udcff is missing"}


# ---- the hashes of files
