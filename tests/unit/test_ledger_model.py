"""The ledger beside a model of it: runs, crashes, and people who change SRC and DST, in any order."""

from __future__ import annotations

import os
import shutil
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from fanrun.fanout.plan import Input, walk
from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.results.result_files import move_into_place
from fanrun.fanout.resume import ResumePlan, ResumeSource, plan_resume
from fanrun.fanout.verify import verify
from tests.unit.facts import digest
from tests.unit.ledger_files import KEYS, PROGRAMS, at, content_of, results, write
from tests.unit.ledger_people import PeopleMachine
from tests.unit.samples import read_tree
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("quick_ledger")

programs = st.sampled_from(range(len(PROGRAMS)))


class LedgerMachine(PeopleMachine):
    """Runs beside people who change, rename, damage and delete; the real SQLite and real files."""

    @rule()
    def open_again(self) -> None:
        self.ledger.close()
        self.uncommitted.clear()
        self.ledger = Ledger(self.ledger.path)

    def crash(self) -> None:
        """The process is gone: what SQLite was not told to keep is lost."""
        self.ledger._db.close()
        for key in self.uncommitted:
            self.standing.pop(key, None)
        self.uncommitted.clear()
        self.ledger = Ledger(self.ledger.path)

    @rule()
    def time_passes(self) -> None:
        """So that what is hashed from now on is remembered."""
        now = time.time_ns()
        wait_until(lambda: time.time_ns() > now + ledgers.RACY_NANOSECONDS)

    def knows(self, which: int, key: bytes, content: bytes) -> bool:
        """Whether it is written down what a program makes of some content, under a name that tells the new one's."""
        return any(
            (which, other, content) in self.known
            and (which == 0 or other == key or os.path.splitext(other)[1] or not os.path.splitext(key)[1])
            for other in KEYS
        )

    def source(self, ledger: Ledger, which: int, staging: str | None) -> ResumeSource:
        return ResumeSource(ledger, str(self.src), str(self.dst), PROGRAMS[which], by_content=True, staging=staging)

    def plan_resume(self, which: int) -> ResumePlan:
        """Make the resume plan of a run, and compare it with the model."""
        inputs, _ = walk(str(self.src))
        before = {item.key: content_of(at(self.dst, item.key)) for item in inputs}
        found = plan_resume(self.source(self.ledger, which, str(self.staging)), inputs)
        assert sorted([*found.todo, *found.kept, *found.copied]) == inputs, "each is one of the three"
        self.uncommitted.clear()
        content = {item.key: at(self.src, item.key).read_bytes() for item in inputs}
        stands = set(self.standing.values())
        for item in [*found.kept, *found.copied]:
            for path, made in results(which, item.key, content[item.key]).items():
                assert content_of(at(self.dst, path)) == made, f"{item.key!r} is said to be done"
            assert self.knows(which, item.key, content[item.key])
            self.known.add((which, item.key, content[item.key]))
        for item in found.copied:
            self.standing |= results(which, item.key, content[item.key])
        stands &= set(self.standing.values())  # what was there before, and was not replaced by what was copied
        for item in found.todo:
            wanted = results(which, item.key, content[item.key])
            right = all(content_of(at(self.dst, path)) == made for path, made in wanted.items())
            known = self.knows(which, item.key, content[item.key])
            assert not (known and right), f"{item.key!r} stands, and is to be done again"
            copied = all(content_of(at(self.dst, path)) == made or made in stands for path, made in wanted.items())
            assert not (known and copied), f"{item.key!r} stands elsewhere, and is to be done again"
        assert not any(self.staging.iterdir())
        assert before.keys() == {item.key for item in inputs}
        return found

    def do(self, which: int, item: Input, *, recorded: bool = True, landed: bool = True) -> None:
        """Bring one input's results to DST as `commit_batch` does, or die on the way."""
        content = at(self.src, item.key).read_bytes()
        made = results(which, item.key, content)
        if recorded:
            outputs = {path: digest(result) for path, result in made.items()}
            self.ledger.record(PROGRAMS[which], [Fact(item.key, digest(content), outputs)])
            self.known.add((which, item.key, content))
            self.uncommitted.clear()
        if landed:
            for path, result in made.items():
                write(at(self.staging, path), result)
                os.utime(at(self.staging, path), (1, 1))  # as rsync --times does
                move_into_place(os.fsencode(self.staging), os.fsencode(self.dst), path)
                target = os.path.join(os.fsencode(self.dst), path)
                self.ledger.remember_hash(target, file_stat(target), digest(result))
                self.standing[path] = result
                self.uncommitted.add(path)
        shutil.rmtree(self.staging)
        self.staging.mkdir()

    @rule(which=programs)
    def run(self, which: int) -> None:
        """A whole run; then there is nothing to do, and nothing wrong."""
        self.runs += 1
        request = {"src": str(self.src), "image": "i", "args": [], "include": [], "exclude": []}
        self.ledger.begin(f"run {self.runs}", PROGRAMS[which], request)
        for item in self.plan_resume(which).todo:
            self.do(which, item)
        assert self.plan_resume(which).todo == []
        self.last = which
        verdict = verify(str(self.dst), lambda done, total: None)
        assert verdict.faults == {}
        assert verdict.proven == verdict.inputs == len(walk(str(self.src))[0])

    @rule(which=programs, count=st.integers(0, 3), how=st.sampled_from([(True, False), (True, True), (False, False)]))
    def die(self, which: int, count: int, how: tuple[bool, bool]) -> None:
        """A run that ends in the midst of it."""
        todo = self.plan_resume(which).todo
        for item in todo[:count]:
            self.do(which, item)
        if todo[count:]:
            recorded, landed = how
            self.do(which, todo[count], recorded=recorded, landed=landed)
        self.crash()

    @rule(which=programs)
    def only_look(self, which: int) -> None:
        """What a dry run does: nothing changes, and it finds what a run would."""
        self.ledger.close()
        self.uncommitted.clear()
        before, inputs = read_tree(self.top), walk(str(self.src))[0]
        ledger = Ledger(self.ledger.path, write=False)
        found = plan_resume(self.source(ledger, which, None), inputs)
        ledger.close()
        assert read_tree(self.top) == before
        self.ledger = Ledger(self.ledger.path)
        for item in found.kept:
            for path, made in results(which, item.key, before[b"src/" + item.key]).items():
                assert before[b"dst/" + path] == made
        made_somewhere = {content for key, content in before.items() if key.startswith(b"dst/")}
        for item in found.copied:
            assert made_somewhere.issuperset(results(which, item.key, before[b"src/" + item.key]).values())

    @precondition(lambda self: self.runs)
    @rule()
    def prove(self) -> None:
        """Exactly those are found that have no right result."""
        content = {item.key: at(self.src, item.key).read_bytes() for item in walk(str(self.src))[0]}
        faulty = {
            os.fsdecode(key)
            for key, found in content.items()
            if (self.last, key, found) not in self.known
            or any(content_of(at(self.dst, path)) != made for path, made in results(self.last, key, found).items())
        }
        verdict = verify(str(self.dst), lambda done, total: None)
        assert verdict.faults.keys() == faulty
        assert (verdict.inputs, verdict.proven) == (len(content), len(content) - len(faulty))

    def teardown(self) -> None:
        if self.runs:
            self.prove()
        self.ledger.close()
        shutil.rmtree(self.top)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
