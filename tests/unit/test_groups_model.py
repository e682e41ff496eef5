"""Groups in the ledger beside a model of them: runs with any grouping, crashes, and people who change SRC and DST."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fanrun.fanout.grouping import Grouping, group
from fanrun.fanout.plan import Input, count_files, walk
from fanrun.fanout.request import RunRequest
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.groups import digest as digest_of
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.resume import ResumePlan, ResumeSource, owners_by_input, plan_resume
from fanrun.fanout.verify import ledger_path, verify
from tests.unit.facts import digest
from tests.unit.ledger_files import at, content_of, write

pytestmark = pytest.mark.usefixtures("quick_ledger")

KEYS = (b"a.prj", b"a.tfw", b"a.tif", b"a.tif.aux.xml", b"b.tif", b"d/a.tfw", b"d/a.tif", b"d/b.tif")
HOW = ("", "stem", "folder", r"(.*)\.(tif|tfw)", r"(.*)\.tif(.*)")
CONTENTS = (b"", b"one", b"two")
Files = tuple[tuple[bytes, bytes], ...]

keys = st.sampled_from(KEYS)
groupings = st.sampled_from(HOW)


def result(files: Files) -> tuple[bytes, bytes]:
    """Return path and content of what the program makes of some files: the content tells all that it was made of."""
    return os.path.splitext(files[0][0])[0] + b".out", b"of " + repr(files).encode()


class GroupMachine(RuleBasedStateMachine):
    """Real files and a real ledger; `made` are the sets of files that were processed, by whether there were groups."""

    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm"
        self.top = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self.src, self.dst = self.top / "src", self.top / "dst"
        (self.dst / ".fanrun" / "staging").mkdir(parents=True)
        self.ledger = Ledger(ledger_path(str(self.dst)))
        self.made: set[tuple[bool, Files]] = set()
        self.runs = 0

    @initialize(chosen=st.sets(keys, min_size=1))
    def begin(self, chosen: set[bytes]) -> None:
        self.src.mkdir()
        for key in chosen:
            write(at(self.src, key), b"first")

    @rule(key=keys, content=st.sampled_from(CONTENTS))
    def change(self, key: bytes, content: bytes) -> None:
        write(at(self.src, key), content)

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        at(self.src, key).unlink(missing_ok=True)

    @rule(one=keys, other=keys)
    def rename(self, one: bytes, other: bytes) -> None:
        if at(self.src, one).exists():
            at(self.src, other).parent.mkdir(exist_ok=True)
            at(self.src, one).replace(at(self.src, other))

    @rule(key=keys, content=st.sampled_from([None, b"damaged"]))
    def tamper(self, key: bytes, content: bytes | None) -> None:
        path = at(self.dst, os.path.splitext(key)[0] + b".out")
        if content is None:
            path.unlink(missing_ok=True)
        elif path.exists():
            path.write_bytes(content)

    def files(self, item: Input) -> Files:
        return tuple((file.key, at(self.src, file.key).read_bytes()) for file in item.files)

    def plan(self, how: str) -> ResumePlan:
        """Make the resume plan of a run; what it keeps was made of just these files, and stands."""
        inputs = group(walk(str(self.src))[0], Grouping(how))
        program = RunRequest("/", "/", grouping=Grouping(how)).program_name("image")
        staging = str(self.dst / ".fanrun" / "staging")
        found = plan_resume(ResumeSource(self.ledger, str(self.src), str(self.dst), program, staging=staging), inputs)
        assert sorted([*found.todo, *found.before]) == inputs
        for item in inputs:
            path, content = result(self.files(item))
            stands = (bool(how), self.files(item)) in self.made and content_of(at(self.dst, path)) == content
            if item in found.before:
                assert stands, f"{item.key!r} is said to be done"
            elif stands:
                assert self.is_taken(program, path, item, inputs), f"{item.key!r} stands, and is to be done again"
        return found

    def is_taken(self, program: str, path: bytes, item: Input, inputs: list[Input]) -> bool:
        """Whether the path of its result is another input's, by what was done last."""
        owners = dict(owners_by_input(self.ledger.owners(program), self.ledger, inputs))
        return owners.get(path, item.key) != item.key

    def do(self, how: str, item: Input, *, recorded: bool = True, landed: bool = True) -> None:
        """Bring a group's result to DST as `commit_batch` does, or die on the way."""
        path, content = result(self.files(item))
        hashes = digest_of(item, lambda key: digest(at(self.src, key).read_bytes()))
        fact = Fact(item.key, hashes, {path: digest(content)}, tuple(file.key for file in item.files[1:]))
        if recorded:
            self.ledger.record(RunRequest("/", "/", grouping=Grouping(how)).program_name("image"), [fact])
            self.made.add((bool(how), self.files(item)))
        if landed:
            write(at(self.dst, path), content)
            target = os.path.join(os.fsencode(self.dst), path)
            self.ledger.remember_hash(target, file_stat(target), digest(content))

    def distinct(self, inputs: list[Input]) -> bool:
        """Whether no two of the inputs have one result: such runs fail, which other tests show."""
        paths = [result(self.files(item))[0] for item in inputs]
        return len(set(paths)) == len(paths)

    @rule(how=groupings)
    def run(self, how: str) -> None:
        """A whole run; then there is nothing to do, and nothing wrong, also where SRC is gone."""
        inputs = group(walk(str(self.src))[0], Grouping(how))
        if not self.distinct(inputs):
            return
        self.runs += 1
        request = RunRequest(str(self.src), str(self.dst), grouping=Grouping(how))
        self.ledger.begin(f"run {self.runs}", request.program_name("image"), request.remembered("image"))
        for item in self.plan(how).todo:
            self.do(how, item)
        assert self.plan(how).todo == []
        verdict = verify(str(self.dst), lambda done, total: None)
        assert (verdict.faults, verdict.proven) == ({}, count_files(inputs))
        self.src.rename(self.top / "away")
        verdict = verify(str(self.dst), lambda done, total: None)
        (self.top / "away").rename(self.src)
        files = {os.fsdecode(file.key) for item in inputs for file in item.files}
        assert files.isdisjoint(verdict.faults), "it is known from the ledger alone"

    @rule(how=groupings, count=st.integers(0, 3), end=st.sampled_from([(True, False), (False, False)]))
    def die(self, how: str, count: int, end: tuple[bool, bool]) -> None:
        """A run that ends in the midst of it."""
        inputs = group(walk(str(self.src))[0], Grouping(how))
        if not self.distinct(inputs):
            return
        todo = self.plan(how).todo
        for item in todo[:count]:
            self.do(how, item)
        for item in todo[count : count + 1]:
            recorded, landed = end
            self.do(how, item, recorded=recorded, landed=landed)
        self.ledger.close()
        self.ledger = Ledger(self.ledger.path)

    @precondition(lambda self: self.runs)
    @rule()
    def prove(self) -> None:
        """Nothing is proven that was not made of just the files that are there."""
        request = (self.ledger.last_run() or ("", "", {}))[2]
        inputs = group(walk(str(self.src))[0], Grouping(request["group_by"]))
        verdict = verify(str(self.dst), lambda done, total: None)
        for item in inputs:
            path, content = result(self.files(item))
            is_right = (bool(request["group_by"]), self.files(item)) in self.made
            is_right = is_right and content_of(at(self.dst, path)) == content
            assert [os.fsdecode(file.key) in verdict.faults for file in item.files] == [not is_right] * len(item.files)

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.top)


TestGroups = GroupMachine.TestCase
TestGroups.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
