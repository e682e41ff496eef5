"""The tables of a ledger, and how one is opened."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

from fanrun.fanout.results.names import Names

SCHEMA_VERSION = 2
OUTPUTS = """
-- What a program made of an input: the paths of its results in DST, and their hashes.
CREATE TABLE outputs (
    key BLOB, input TEXT, program TEXT, path BLOB, hash TEXT, PRIMARY KEY (key, input, program, path)
) WITHOUT ROWID;
CREATE INDEX outputs_by_input ON outputs (input, program);
"""
SCHEMA = f"""
{OUTPUTS}
-- What stood under a key in SRC when a run last took it.
CREATE TABLE inputs (key BLOB PRIMARY KEY, hash TEXT, program TEXT) WITHOUT ROWID;
-- The hash that a file had when it looked like this: so it need not be read again.
CREATE TABLE seen (path BLOB PRIMARY KEY, look TEXT, hash TEXT) WITHOUT ROWID;
CREATE INDEX seen_by_hash ON seen (hash);
CREATE TABLE failures (key BLOB PRIMARY KEY, reason TEXT) WITHOUT ROWID;
CREATE TABLE runs (name TEXT PRIMARY KEY, program TEXT, request TEXT);
PRAGMA user_version = {SCHEMA_VERSION};
"""


def is_full(folder: Path) -> bool:
    """Whether there is no room for another file: SQLite says no more than that it can't open one."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(b"x")
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return False


def connect(uri: str) -> tuple[sqlite3.Connection, int]:
    """A connection, and the version of what is there; a change that a crash left half done is undone first."""
    found = sqlite3.connect(uri, uri=True, check_same_thread=False)
    try:
        return found, found.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.OperationalError:
        found.close()
        if not uri.endswith("?mode=ro"):
            raise
        with contextlib.closing(sqlite3.connect(uri.replace("mode=ro", "mode=rw"), uri=True)) as healed:
            healed.execute("PRAGMA user_version").fetchone()
        found = sqlite3.connect(uri, uri=True, check_same_thread=False)
        return found, found.execute("PRAGMA user_version").fetchone()[0]


def copied(db: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy in memory of a ledger that may only be read."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    with contextlib.closing(db):
        db.backup(copy)
    return copy


def migrate(db: sqlite3.Connection) -> None:
    """Bring a ledger of version 1, which kept results by the content of inputs, to version 2.

    Results are kept where it is certain whose they are: one input had that content, and they fit no other as well.
    """
    known: dict[str, list[tuple[bytes, str]]] = {}
    for key, digest, of_program in db.execute("SELECT key, hash, program FROM inputs"):
        known.setdefault(of_program, []).append((bytes(key), digest))
    # Also inputs that failed: what they made may have been given to another one.
    names = Names(bytes(key) for (key,) in db.execute("SELECT key FROM inputs UNION SELECT key FROM failures"))
    rows = list[tuple[bytes, str, str, bytes, str]]()
    for of_program, inputs in known.items():
        count = Counter(digest for _, digest in inputs)
        for key, digest in inputs:
            sql = "SELECT place, hash FROM outputs WHERE input = ? AND program = ?"
            outputs = {
                _path_in_version_1(key, bytes(place)): each for place, each in db.execute(sql, (digest, of_program))
            }
            if count[digest] == 1 and all(names.only(path) == key for path in outputs):
                rows += [(key, digest, of_program, path, each) for path, each in outputs.items()]
    db.executescript(f"BEGIN; DROP TABLE outputs; {OUTPUTS}")
    with db:
        db.executemany("INSERT INTO outputs VALUES (?, ?, ?, ?, ?)", rows)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _path_in_version_1(key: bytes, place: bytes) -> bytes:
    """Return the path of a result that version 1 noted as "=" or as "+" and what follows its input's stem."""
    return key if place == b"=" else os.path.splitext(key)[0] + place[1:]
