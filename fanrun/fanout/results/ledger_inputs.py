"""The ledger's table of inputs: what stood under each key in SRC when it was last done."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from fanrun.fanout.results.groups import is_of_group

FILES_OF_GROUPS = "SELECT key, hash FROM inputs WHERE hash LIKE 'group %' ORDER BY key"


def write_inputs(db: sqlite3.Connection, program: str, inputs: Sequence[tuple[bytes, str]]) -> None:
    """Write that inputs are done: (key, hash), where all files of a group have the group's hash.

    Where a group lost files, these are not done any more: what was made of it was made of all.
    """
    former = set[str]()
    for key, digest in inputs:
        row = db.execute("SELECT hash FROM inputs WHERE key = ?", (key,)).fetchone()
        if row is not None and row[0] != digest and is_of_group(row[0]):
            former.add(row[0])
    db.executemany("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?)", [(*each, program) for each in inputs])
    db.executemany("DELETE FROM failures WHERE key = ?", [(key,) for key, _ in inputs])
    if former:
        rows = db.execute(FILES_OF_GROUPS).fetchall()
        db.executemany("DELETE FROM inputs WHERE key = ?", [(key,) for key, digest in rows if digest in former])
