"""A run whose inputs are partly done, for tests of what is left to do."""

from __future__ import annotations

import os
from pathlib import Path

from fanrun.fanout.plan import Input, walk
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.results.result_files import hash_file
from fanrun.fanout.resume import ResumeSource, plan_resume
from tests.unit.samples import read_tree, write_tree


def keys(inputs: list[Input]) -> list[bytes]:
    return [item.key for item in inputs]


class World:
    """A run whose results are its inputs: under the same path, or beside it, with that name's end at their own."""

    def __init__(self, top: Path) -> None:
        self.src, self.dst, self.staging = top / "src", top / "dst", top / "dst" / ".fanrun" / "staging"
        self.staging.mkdir(parents=True)
        self.ledger = Ledger(self.dst / ".fanrun" / "ledger.db")

    def do(self, names: tuple[bytes, ...], *ends: bytes) -> None:
        """Inputs, and results that are done."""
        for key, content in write_tree(self.src, names).items():
            made = {}
            for end in ends or [b""]:
                path = os.path.splitext(key)[0] + end if end else key
                target = os.path.join(os.fsencode(self.dst), path)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with open(target, "wb") as file:
                    file.write(content + end)
                made[path] = hash_file(target)
                self.ledger.remember_hash(target, file_stat(target), made[path])
            digest = hash_file(os.path.join(os.fsencode(self.src), key))
            self.ledger.record("program", [Fact(key, digest, made)])

    def source(self, *, program: str = "program", change: bool = False, by_content: bool = False) -> ResumeSource:
        staging = str(self.staging) if change else None
        return ResumeSource(self.ledger, str(self.src), str(self.dst), program, by_content, staging)

    def plan_resume(
        self, *, change: bool = True, by_content: bool = True
    ) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """The keys of the inputs to do, kept and copied."""
        inputs, _ = walk(str(self.src))
        found = plan_resume(self.source(change=change, by_content=by_content), inputs)
        assert sorted([*found.todo, *found.kept, *found.copied]) == inputs
        return keys(found.todo), keys(found.kept), keys(found.copied)

    def results(self) -> dict[bytes, bytes]:
        return {key: found for key, found in read_tree(self.dst).items() if not key.startswith(b".fanrun/")}
