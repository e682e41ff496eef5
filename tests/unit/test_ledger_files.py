"""The ledger's files: damaged, newer, only read or without room; and the hashes that it remembers."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.results.ledger_schema import SCHEMA_VERSION
from fanrun.fanout.results.result_files import hash_file
from fanrun.fleet.errors import RunUnfinished, UsageError
from tests.unit.facts import FACT, digest
from tests.unit.samples import read_tree, write_tree
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("quick_ledger")


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
