"""The ledger: input path + input hash + program -> result hashes, in SQLite, kept with DST."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanrun.fanout.results.file_stat import FileStat, file_stat
from fanrun.fanout.results.ledger_inputs import FILES_OF_GROUPS, write_inputs
from fanrun.fanout.results.ledger_schema import SCHEMA, SCHEMA_VERSION, connect, copied, is_full, migrate
from fanrun.fanout.results.names import renamed
from fanrun.fanout.results.result_files import hash_file
from fanrun.fleet.errors import RunUnfinished, UsageError

RACY_NANOSECONDS = 50_000_000
"""Nanoseconds: a file that was changed so shortly before may change again and look the same."""
MAX_UNWRITTEN = 1000
"""So many files' hashes are written together: one by one they take three times as long."""
Value = bytes | str


@dataclass(frozen=True)
class Fact:
    """An input that is done: its key, its hash, and {path: hash} of its results; of a group also its `others`."""

    key: bytes
    hash: str
    outputs: dict[bytes, str]
    others: tuple[bytes, ...] = ()


def program(image: str, args: Sequence[str], start: Mapping[str, Any] | None = None, *, grouped: bool = False) -> str:
    """The name under which the ledger knows an image, its Image.program_id, with its arguments.

    `start` is what else makes it another program: what is started in place of the image's own, and reference data.

    What it makes of a file by itself may be another thing where it counts on all files that belong together.
    """
    name = [image, *args, *([start] if start else [])]
    return hashlib.sha256(json.dumps({"grouped": name} if grouped else name).encode()).hexdigest()


class Ledger:
    """One DST's ledger, safe to use from many threads.

    Without `write` it is only read, as it is there or empty; what is learnt is kept in memory.  Raises
    UsageError for a file that is no ledger, or a newer one, RunUnfinished where there is no room for one.
    """

    def __init__(self, path: Path, *, write: bool = True) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._write, self._begun = write, False
        self._seen: dict[bytes, tuple[str, str]] = {}
        try:
            if not write and path.exists():
                self._db, version = connect(f"{path.absolute().as_uri()}?mode=ro")
                if version < SCHEMA_VERSION:  # 0: there was no room to begin it
                    self._db = copied(self._db)
            else:
                self._db, version = connect(path.absolute().as_uri() if write else ":memory:")
            if not version:
                self._db.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            if version == 1:
                migrate(self._db)
        except sqlite3.Error as error:
            if "full" in str(error) or (write and is_full(path.parent)):
                raise RunUnfinished(f"{path} can't be written ({error}); make room there") from error
            raise UsageError(f"{path} can't be read ({error}); move it away, and results are made anew") from error
        if version > SCHEMA_VERSION:
            raise UsageError(f"{path} was written by a newer Fanrun; use that one, or move it away")

    def close(self) -> None:
        """Keep what was learnt, and let the file go."""
        with self._change():
            pass
        self._db.close()

    def hash_of(self, path: bytes, *, read: bool = False, stop: threading.Event | None = None) -> str:
        """Return the SHA-256 of a file, in hex; it is read only if it doesn't look as it did (or `read`).

        Raises OSError if it can't be read, HashingStopped once `stop` is set.
        """
        now = file_stat(path)
        if not read:
            row = self._seen.get(path) or self._one("SELECT look, hash FROM seen WHERE path = ?", path)
            if row is not None and row[0] == str(now):
                return str(row[1])
        digest = hash_file(path, stop)
        if time.time_ns() - now.ctime > RACY_NANOSECONDS:
            self.remember_hash(path, now, digest)
        return digest

    def remember_hash(self, path: bytes, then: FileStat, digest: str) -> None:
        """Remember the hash of a file that looked so when it was read; kept with the next change."""
        if self._write:
            with self._writing() as db:
                self._seen[path] = str(then), digest
                if len(self._seen) >= MAX_UNWRITTEN:
                    self._keep_seen(db)

    def outputs(self, key: bytes, digest: str, of_program: str) -> dict[bytes, str]:
        """{path: hash} of what the program made of the input of that key and hash; empty if it isn't known."""
        sql = "SELECT path, hash FROM outputs WHERE key = ? AND input = ? AND program = ?"
        return {bytes(path): str(found) for path, found in self._all(sql, key, digest, of_program)}

    def outputs_of_equal(self, key: bytes, digest: str, of_program: str) -> dict[bytes, str]:
        """What `outputs` would be for that key, by what was made of another input with that hash."""
        sql = "SELECT DISTINCT key FROM outputs WHERE input = ? AND program = ? ORDER BY key LIMIT 9"
        for (other,) in self._all(sql, digest, of_program):
            outputs = self.outputs(bytes(other), digest, of_program)
            paths = {renamed(path, bytes(other), key): each for path, each in outputs.items()}
            if None not in paths:
                return {path: each for path, each in paths.items() if path is not None}
        return {}

    def owners(self, of_program: str) -> list[tuple[bytes, bytes]]:
        """(path, key) of the results of all inputs that were last done by that program, the last key first."""
        sql = (
            "SELECT path, outputs.key FROM outputs JOIN inputs ON inputs.key = outputs.key "
            "AND inputs.hash = outputs.input AND inputs.program = outputs.program WHERE outputs.program = ? "
            "ORDER BY outputs.key DESC"
        )
        return [(bytes(path), bytes(key)) for path, key in self._all(sql, of_program)]

    def knows(self, of_program: str) -> bool:
        """Whether anything is known of that program."""
        return self._one("SELECT 1 FROM outputs WHERE program = ? LIMIT 1", of_program) is not None

    def places_of(self, digest: str) -> list[bytes]:
        """The paths of files that had that hash when last seen."""
        with self._writing() as db:
            self._keep_seen(db)
        return [bytes(path) for (path,) in self._all("SELECT path FROM seen WHERE hash = ?", digest)]

    def record(self, of_program: str, facts: Iterable[Fact]) -> None:
        """Write down that inputs are done, all or none; on disk when it returns."""
        found = list(facts)
        rows = [(fact.key, fact.hash, of_program, *output) for fact in found for output in fact.outputs.items()]
        with self._change() as db:
            # A program may leave fewer results than it did before.
            db.executemany(
                "DELETE FROM outputs WHERE key = ? AND input = ? AND program = ?",
                [(fact.key, fact.hash, of_program) for fact in found],
            )
            db.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?)", rows)
            keys = [(key, fact.hash) for fact in found for key in (fact.key, *fact.others)]
            write_inputs(db, of_program, keys)

    def record_inputs(self, of_program: str, inputs: Iterable[tuple[bytes, str]]) -> None:
        """Write down what stands under each key in SRC: (key, hash), all done."""
        with self._change() as db:
            write_inputs(db, of_program, list(inputs))

    def fail(self, failures: Iterable[tuple[bytes, str]]) -> None:
        """Write down that inputs failed: (key, reason)."""
        with self._change() as db:
            # A reason may name a path that is no UTF-8, which SQLite can't hold as text.
            rows = [(key, reason.encode(errors="backslashreplace").decode()) for key, reason in failures]
            db.executemany("INSERT OR REPLACE INTO failures VALUES (?, ?)", rows)

    def failures(self) -> dict[bytes, str]:
        """{key: reason} of the inputs that failed when they were last tried."""
        return {bytes(key): str(reason) for key, reason in self._all("SELECT key, reason FROM failures")}

    def inputs(self, of_program: str) -> Iterator[tuple[bytes, str]]:
        """(key, hash) of every input that was last done by that program, sorted by key."""
        for key, digest in self._all("SELECT key, hash FROM inputs WHERE program = ? ORDER BY key", of_program):
            yield bytes(key), str(digest)

    def input_hash(self, key: bytes) -> str | None:
        """The hash of what stood under the key when it was last done; None if it never was."""
        row = self._one("SELECT hash FROM inputs WHERE key = ?", key)
        return None if row is None else str(row[0])

    def groups(self) -> dict[bytes, list[bytes]]:
        """{key of the first file: keys of all} of every group as it was last done, by whatever program."""
        found: dict[str, list[bytes]] = {}
        for key, digest in self._all(FILES_OF_GROUPS):
            found.setdefault(str(digest), []).append(bytes(key))
        return {keys[0]: keys for keys in found.values()}

    def begin(self, name: str, of_program: str, request: dict[str, Any]) -> None:
        """Write down what a run was asked for; from now on it is that run's end if the file can't be read."""
        self._begun = True
        with self._change() as db:
            db.execute("INSERT INTO runs VALUES (?, ?, ?)", (name, of_program, json.dumps(request)))

    def last_run(self) -> tuple[str, str, dict[str, Any]] | None:
        """Name, program and request of the latest run; None before the first."""
        row = self._one("SELECT name, program, request FROM runs ORDER BY rowid DESC LIMIT 1")
        return None if row is None else (row[0], row[1], json.loads(row[2]))

    def owners_by_others(self, of_program: str) -> list[tuple[bytes, bytes]]:
        """(path, key) of the results of all inputs that were last done by another program."""
        sql = (
            "SELECT path, outputs.key FROM outputs JOIN inputs ON inputs.key = outputs.key "
            "AND inputs.hash = outputs.input AND inputs.program = outputs.program WHERE outputs.program <> ?"
        )
        return [(bytes(path), bytes(key)) for path, key in self._all(sql, of_program)]

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Change all or nothing, and keep what was seen before; on disk at the end."""
        with self._writing() as db:
            self._keep_seen(db)
            with db:
                yield db

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The database, with nobody else at it; RunUnfinished if it can't be written."""
        try:
            with self._lock:
                yield self._db
        except sqlite3.Error as error:
            raise RunUnfinished(f"{self.path} can't be written ({error}); make room there") from error

    def _keep_seen(self, db: sqlite3.Connection) -> None:
        """Write what was seen, for the next commit."""
        if not self._seen:  # an empty write would hold the file as a full one does
            return
        rows = [(path, *what) for path, what in self._seen.items()]
        db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", rows)
        self._seen.clear()

    def _all(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                kind = RunUnfinished if self._begun else UsageError
                raise kind(f"{self.path} can't be read ({error}); move it away") from error

    def _one(self, sql: str, *values: Value) -> tuple[Any, ...] | None:
        rows = self._all(sql, *values)
        return rows[0] if rows else None
