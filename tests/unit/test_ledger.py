"""The ledger: what is done stays done, what is not is made anew, and its file survives what befalls it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact, Ledger, program, renamed
from fanrun.fanout.results.ledger_schema import SCHEMA_VERSION
from fanrun.fanout.results.result_files import hash_file
from fanrun.fleet.errors import RunUnfinished, UsageError
from tests.unit.samples import HOSTILE, read_tree, write_tree
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("quick_ledger")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
    assert program("a", ("x",)) == program("a", ["x"])


# ---- the file


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


FACT = Fact(b"d/\xff\n'.jpg", digest(b"in"), {b"d/\xff\n'.jpg": digest(b"out"), b"d/\xff\n'-2\xff.png": digest(b"2")})


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


@pytest.mark.parametrize("writes", [True, False])
def test_a_ledger_of_version_1_is_brought_up_to_date(tmp_path: Path, writes: bool) -> None:
    """What is certain stays; what equal inputs had, or what fits another input better, is to be done again."""
    path = tmp_path / "ledger.db"
    old = sqlite3.connect(path)
    old.executescript(VERSION_1)
    # Of p.tif version 1 may have taken the result for that of p.jpg.
    inputs = {
        b"p.jpg": "5",
        b"a.jpg": "1",
        b"b.jpg": "2",
        b"cat/1.jpg": "same",
        b"dog/1.jpg": "same",
        b"x.csv": "3",
        b"x.log": "4",
    }
    old.executemany("INSERT INTO inputs VALUES (?, ?, 'p')", inputs.items())
    outputs = [
        ("5", b"+.png", "r6"),
        ("1", b"=", "r1"),
        ("2", b"+.png", "r2"),
        ("same", b"=", "r3"),
        ("3", b"+.log.gz", "r4"),
        ("9", b"=", "r5"),
    ]
    old.executemany("INSERT INTO outputs VALUES (?, 'p', ?, ?)", outputs)
    old.executemany("INSERT INTO failures VALUES (?, 'dark')", [(b"bad",), (b"p.tif",)])
    old.execute("INSERT INTO runs VALUES ('r', 'p', '{}')")
    old.commit()
    old.close()
    before = path.read_bytes()
    for _ in range(2):
        ledger = Ledger(path, write=writes)
        found = {key: ledger.outputs(key, content, "p") for key, content in inputs.items()}
        assert {key: each for key, each in found.items() if each} == {
            b"a.jpg": {b"a.jpg": "r1"}, b"b.jpg": {b"b.png": "r2"},
        }  # fmt: skip
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


@pytest.mark.parametrize("content", [b"this is no ledger" * 99, b"SQLite format 3\0" + b"\xff" * 4096])
@pytest.mark.parametrize("writes", [True, False])
def test_a_file_that_is_no_ledger_is_left_as_it_is(tmp_path: Path, content: bytes, writes: bool) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"ledger.db can't be read \(.*; move it away"):
        Ledger(path, write=writes)
    assert read_tree(tmp_path) == {b"ledger.db": content}


def test_a_ledger_that_is_damaged_inside_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger.record_inputs("p", ((b"%d" % n, digest(b"")) for n in range(999)))
    ledger.close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    damaged = Ledger(path)
    with pytest.raises(UsageError, match=r"can't be read .*malformed"):
        list(damaged.inputs("p"))
    damaged._db.close()


@pytest.mark.parametrize("writes", [True, False])
def test_a_newer_ledger_is_not_touched(tmp_path: Path, writes: bool) -> None:
    path = tmp_path / "ledger.db"
    newer = sqlite3.connect(path)
    newer.executescript(f"CREATE TABLE other (x); PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    before = read_tree(tmp_path)
    with pytest.raises(UsageError, match="written by a newer Fanrun"):
        Ledger(path, write=writes)
    assert read_tree(tmp_path) == before


@pytest.mark.parametrize("name", ["ledger.db", "a b?c#d%41.db", "file:x?mode=rwc"])
def test_a_ledger_that_is_only_read_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ledgers, "RACY_NANOSECONDS", 0)
    path, file = Path(name), os.fsencode(tmp_path / "file")
    nothing = Ledger(path, write=False)
    assert (nothing.last_run(), list(nothing.inputs("p")), nothing.knows("p")) == (None, [], False)
    nothing.close()
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").write_bytes(b"x")
    written = Ledger(tmp_path / "ledger.db")
    written.record("p", [FACT])
    written.close()
    (tmp_path / "ledger.db").rename(path)
    before = read_tree(tmp_path)
    ledger = Ledger(path, write=False)
    assert ledger.outputs(FACT.key, FACT.hash, "p") == FACT.outputs
    assert ledger.hash_of(file) == digest(b"x")
    ledger.remember_hash(file, file_stat(file), digest(b"x"))
    assert ledger.places_of(digest(b"x")) == []
    with pytest.raises(RunUnfinished, match="can't be written"):
        ledger.record_inputs("p", [(b"a", "h")])
    ledger.close()
    assert read_tree(tmp_path) == before


def test_a_ledger_that_has_no_room_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.record_inputs("p", [(b"first", "h")])
    ledger._db.execute("PRAGMA max_page_count = 1")  # it is never less than what there is
    with pytest.raises(RunUnfinished, match=r"can't be written .*full.*; make room there"):
        ledger.record_inputs("p", ((b"%d" % n, digest(b"")) for n in range(9999)))
    assert list(ledger.inputs("p")) == [(b"first", "h")]
    ledger.close()


def test_a_reason_may_name_a_path_that_is_no_utf8(tmp_path: Path) -> None:
    with contextlib.closing(Ledger(tmp_path / "ledger.db")) as ledger:
        ledger.fail([(b"a\xff", f"its result {os.fsdecode(bytes([97, 255]))} is missing")])
        assert ledger.failures() == {b"a\xff": "its result a\\udcff is missing"}


@pytest.mark.parametrize("begun", [b"", None])
def test_a_ledger_that_there_was_no_room_to_begin_is_an_empty_one(tmp_path: Path, begun: bytes | None) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(begun or b"")
    if begun is None:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("VACUUM")
    before = path.read_bytes()
    with contextlib.closing(Ledger(path, write=False)) as ledger:
        assert (ledger.last_run(), list(ledger.inputs("p")), ledger.failures()) == (None, [], {})
    assert path.read_bytes() == before
    with contextlib.closing(Ledger(path)) as ledger:
        ledger.record("p", [FACT])
        assert ledger.knows("p")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        Ledger(tmp_path / "nowhere" / "ledger.db")


# ---- the hashes of files


def test_a_file_is_read_once(ledger: Ledger, tmp_path: Path) -> None:
    write_tree(tmp_path, (b"file",))
    path = os.fsencode(tmp_path / "file")
    ledger.remember_hash(path, file_stat(path), "as remembered")
    assert ledger.hash_of(path) == "as remembered"
    assert ledger.hash_of(path, read=True) == hash_file(path)


def test_a_file_that_was_just_changed_is_not_remembered(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one tick of its clock it may change once more and look the same."""
    write_tree(tmp_path, (b"file",))
    path = os.fsencode(tmp_path / "file")
    monkeypatch.setattr(ledgers, "RACY_NANOSECONDS", 3_600_000_000_000)
    found = ledger.hash_of(path)
    assert ledger.places_of(found) == []
    monkeypatch.setattr(ledgers, "RACY_NANOSECONDS", 1_000_000)
    wait_until(lambda: time.time_ns() - file_stat(path).ctime > ledgers.RACY_NANOSECONDS)
    assert ledger.hash_of(path) == found
    assert ledger.places_of(found) == [path]


@pytest.mark.parametrize("how", ["in place", "its time is kept", "anew", "renamed over"])
def test_a_change_of_the_same_size_is_seen(ledger: Ledger, tmp_path: Path, how: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    path = os.fsencode(file)
    wait_until(lambda: time.time_ns() - file_stat(path).ctime > ledgers.RACY_NANOSECONDS)
    assert ledger.hash_of(path) == digest(b"old")
    assert ledger.places_of(digest(b"old")) == [path], "it is remembered"
    before = file.stat()
    if how == "anew":
        file.unlink()
    if how == "renamed over":
        (tmp_path / "other").write_bytes(b"new")
        (tmp_path / "other").replace(file)
    else:
        file.write_bytes(b"new")
    if how != "in place":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ledger.hash_of(path) == digest(b"new")


def test_a_file_that_is_not_there_has_no_hash(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ledger.hash_of(os.fsencode(tmp_path / "nowhere"))


def test_a_change_that_a_crash_left_half_done_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger.record("p", [Fact(b"%d" % n, digest(b"%d" % n), {b"r": digest(b"r")}) for n in range(2000)])
    ledger.close()
    crash = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA cache_size = 5');"
        "db.execute('UPDATE outputs SET hash = 0'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", crash, str(path)], check=False).returncode == 9
    assert path.with_name("ledger.db-journal").exists()
    again = Ledger(path, write=False)
    assert again.outputs(b"5", digest(b"5"), "p") == {b"r": digest(b"r")}
    again.close()
