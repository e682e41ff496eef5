"""People who change SRC and DST, for the model of the ledger."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.verify import ledger_path
from tests.unit.ledger_files import CONTENTS, ELSEWHERE, KEYS, at, write
from tests.unit.samples import read_tree

MEMORY = "/dev/shm"
"""SQLite waits for the disk, and here there is none."""

keys = st.sampled_from(KEYS)
contents = st.sampled_from(CONTENTS)
# The ledger remembers a file's hash only some time after the file was written, so the files in DST depend on the clock.
# What hypothesis draws must not depend on it, so an item of a list is drawn as a number.
choices = st.integers(0, 99)


class PeopleMachine(RuleBasedStateMachine):
    """People change, rename, damage and delete real files, in any order; the ledger beside them is a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        self.src, self.dst, self.staging = self.top / "src", self.top / "dst", self.top / "dst" / ".fanrun" / "staging"
        self.src.mkdir()
        self.staging.mkdir(parents=True)
        self.ledger = Ledger(ledger_path(str(self.dst)))
        self.known: set[tuple[int, bytes, bytes]] = set()
        self.standing: dict[bytes, bytes] = {}
        self.uncommitted: set[bytes] = set()
        self.runs = 0

    @initialize(contents=st.lists(contents, min_size=1, max_size=len(KEYS)))
    def begin(self, contents: list[bytes]) -> None:
        for key, content in zip(KEYS, contents, strict=False):
            write(at(self.src, key), content)

    # ---- what people do to SRC

    @rule(key=keys, content=contents, how=st.sampled_from(["in place", "anew", "in place, and its time is kept"]))
    def change(self, key: bytes, content: bytes, how: str) -> None:
        path = at(self.src, key)
        before = path.stat() if path.exists() else None
        if how == "anew":
            path.unlink(missing_ok=True)
        write(path, content)
        if before and "kept" in how:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(one=keys, other=keys)
    def rename(self, one: bytes, other: bytes) -> None:
        """Or swap, where there are two."""
        here, there = at(self.src, one), at(self.src, other)
        if one == other or not here.exists():
            return
        there.parent.mkdir(parents=True, exist_ok=True)
        if there.exists():
            there.rename(self.top / "swapped")
        here.rename(there)
        if (self.top / "swapped").exists():
            (self.top / "swapped").rename(here)

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        at(self.src, key).unlink(missing_ok=True)

    # ---- and to DST

    def in_dst(self) -> list[bytes]:
        return sorted(key for key in read_tree(self.dst) if not key.startswith(b".fanrun/"))

    @rule(which=choices, how=st.sampled_from(["flip", "cut", "delete", "anew", "flip, and its time is kept"]))
    def tamper(self, which: int, how: str) -> None:
        if not (found := self.in_dst()):
            return
        key = found[which % len(found)]
        path = at(self.dst, key)
        before, content = path.stat(), path.read_bytes()
        if how in ("delete", "anew"):
            path.unlink()
        if how == "cut":
            path.write_bytes(content[:-1])
        if how == "anew" or how.startswith("flip"):
            path.write_bytes(bytes(byte ^ 1 for byte in content))
        if "kept" in how:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.standing.pop(key, None)

    @rule(which=choices, where=choices)
    def move(self, which: int, where: int) -> None:
        """A result goes where nobody knows of it, or where another one should be."""
        if not (found := self.in_dst()):
            return
        targets = [*found, *ELSEWHERE, *KEYS]
        key, target = found[which % len(found)], targets[where % len(targets)]
        at(self.dst, target).parent.mkdir(parents=True, exist_ok=True)
        at(self.dst, key).replace(at(self.dst, target))
        self.standing.pop(key, None)
        self.standing.pop(target, None)
