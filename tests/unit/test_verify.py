"""The proof: from the ledger and the files alone."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanrun.fanout.request import RunRequest
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.results.result_files import hash_file
from fanrun.fanout.verify import NOTHING, Verdict, ledger_path, lines, open_ledger, to_json, verify
from fanrun.fleet.errors import UsageError
from tests.unit.samples import HOSTILE, read_tree, write_tree

CHANGED = "it changed since it was processed"


class World:
    """SRC, and a DST to which a run brought copies of it."""

    def __init__(self, top: Path) -> None:
        self.src, self.dst = top / "src", top / "dst"
        self.dst.mkdir()
        write_tree(self.src)
        (self.dst / ".fanrun").mkdir()
        self.ledger = Ledger(ledger_path(str(self.dst)))
        self.begin(RunRequest(str(self.src), str(self.dst), junk=True))

    def begin(self, request: RunRequest, program: str = "program") -> None:
        (count,) = self.ledger._db.execute("SELECT count(*) FROM runs").fetchone()
        self.ledger.begin(f"run {count}", program, request.remembered("i"))

    def do(self, *keys: bytes, end: bytes | None = None) -> None:
        """Bring results of these inputs to DST, under their keys or with another ending."""
        for key in keys or sorted(read_tree(self.src)):
            source = os.path.join(os.fsencode(self.src), key)
            path = key if end is None else os.path.splitext(key)[0] + end
            target = os.path.join(os.fsencode(self.dst), path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)
            digest = hash_file(source)
            self.ledger.record("program", [Fact(key, digest, {path: digest})])

    def verify(self) -> Verdict:
        return verify(str(self.dst), lambda done, total: None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.close()


def test_all_is_proven_whatever_it_is_called(world: World) -> None:
    world.do()
    steps: list[tuple[int, int]] = []
    before = read_tree(world.dst)
    verdict = verify(str(world.dst), lambda done, total: steps.append((done, total)))
    assert verdict == Verdict(str(world.dst), str(world.src), "run 0", len(HOSTILE), len(HOSTILE), len(HOSTILE), {})
    assert steps[0] == (0, len(HOSTILE))
    assert [done for done, _ in steps[: len(HOSTILE)]] == list(range(len(HOSTILE)))
    assert read_tree(world.dst) == before, "it is only read"


def in_dst(world: World) -> Path:
    return world.dst / "plain.jpg"


def flip(world: World) -> None:
    """The same size, the same time: only reading it tells."""
    before = in_dst(world).stat()
    in_dst(world).write_bytes(bytes(byte ^ 1 for byte in in_dst(world).read_bytes()))
    os.utime(in_dst(world), ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (flip, "its result plain.jpg is not what was made"),
        (lambda world: in_dst(world).write_bytes(b""), "its result plain.jpg is not what was made"),
        (lambda world: in_dst(world).unlink(), "its result plain.jpg can't be read (No such file or directory)"),
        (lambda world: (world.src / "plain.jpg").write_bytes(b"new"), CHANGED),
        (lambda world: in_dst(world).rename(world.dst / "away"), "its result plain.jpg can't be read (No such file"),
    ],
)
def test_whoever_was_harmed_is_named_and_nobody_else(world: World, harm: Callable[[World], object], fault: str) -> None:
    world.do()
    harm(world)
    verdict = world.verify()
    assert verdict.faults.keys() == {"plain.jpg"}
    assert verdict.faults["plain.jpg"].startswith(fault)
    assert (verdict.inputs, verdict.proven) == (len(HOSTILE), len(HOSTILE) - 1)


def test_an_input_whose_bytes_are_remembered_is_read_all_the_same(world: World) -> None:
    """What a file looks like is no proof."""
    world.do()
    path = os.fsencode(world.dst / "plain.jpg")
    found = hash_file(os.fsencode(in_dst(world)))
    in_dst(world).write_bytes(b"tampered")
    world.ledger.remember_hash(path, file_stat(path), found)
    world.ledger.record_inputs("program", [])
    assert world.verify().faults == {"plain.jpg": "its result plain.jpg is not what was made"}


def test_inputs_without_result_are_told_from_those_that_failed(world: World) -> None:
    keys = sorted(HOSTILE)
    world.do(*keys[3:])
    world.ledger.fail([(keys[0], "dark"), (b"gone", "it was not there")])
    assert world.verify().faults == {
        os.fsdecode(keys[0]): "it failed: dark",
        os.fsdecode(keys[1]): NOTHING,
        os.fsdecode(keys[2]): NOTHING,
    }


def test_a_link_that_leads_nowhere_is_a_fault(world: World) -> None:
    world.do()
    (world.src / "new").symlink_to("nowhere")
    assert world.verify().faults.keys() == {"new"}


def test_only_what_the_run_chose_is_asked_for(world: World) -> None:
    world.do(b"plain.jpg", b"it's.jpg")
    world.begin(RunRequest(str(world.src), str(world.dst), (), ("*n.jpg", "it*"), ("*\n.jpg", "back*")))
    verdict = world.verify()
    assert (verdict.run, verdict.faults, verdict.inputs) == ("run 1", {}, 2)


def test_another_program_is_another_result(world: World) -> None:
    world.do()
    world.begin(RunRequest(str(world.src), str(world.dst)), "another program")
    assert world.verify().proven == 0
    world.begin(RunRequest(str(world.src), str(world.dst)), "program")
    assert world.verify().faults == {}


def test_without_src_the_ledger_names_the_inputs(world: World) -> None:
    world.do(end=b".out")
    world.ledger.fail([(b"bad.jpg", "dark")])
    shutil.rmtree(world.src)
    in_dst(world).with_suffix(".out").unlink()
    verdict = world.verify()
    assert verdict.src == ""
    assert verdict.faults == {
        "plain.jpg": "its result plain.out can't be read (No such file or directory)",
        "bad.jpg": "it failed: dark",
    }
    assert (verdict.inputs, verdict.proven) == (len(HOSTILE) + 1, len(HOSTILE) - 1)
    assert "(SRC is not there any more)" in next(lines(verdict))


def test_a_dst_that_no_run_began_in(tmp_path: Path) -> None:
    for dst in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="has no ledger; give a folder that `fab run` brought results to"):
            open_ledger(str(dst))
    (tmp_path / ".fanrun").mkdir()
    Ledger(ledger_path(str(tmp_path))).close()
    with pytest.raises(UsageError, match="no run has begun there yet; start one with `fab run`"):
        verify(str(tmp_path), lambda done, total: None)


VERDICT = Verdict("/dst", "/src", "r", 3, 1, 2, {"a\x1b[2J": "its result a\nis gone", "\udcff": "it has no result"})


def test_the_verdict_for_people() -> None:
    assert list(lines(VERDICT)) == [
        "1 of 3 inputs in /src have their results: 2 files, as made",
        "  a\\x1b[2J: its result a\\nis gone",
        "  \\udcff: it has no result",
        "`fab run` again makes what is missing; --json names all of these inputs",
    ]
    assert len(list(lines(dataclasses.replace(VERDICT, faults={})))) == 1


def test_a_verdict_over_many_is_short() -> None:
    told = list(lines(dataclasses.replace(VERDICT, faults={f"{n}": "gone" for n in range(500)})))
    assert told[1:-1] == ["  500 inputs: gone", "    0", "    1", "    2", "    … and 497 more"]


def test_the_verdict_for_programs() -> None:
    text = to_json(VERDICT)
    assert text.isascii()
    assert json.loads(text) == dataclasses.asdict(VERDICT)


def test_an_input_that_failed_counts_once_when_src_is_gone(world: World) -> None:
    world.do(b"plain.jpg")
    world.ledger.fail([(b"plain.jpg", "dark")])
    shutil.rmtree(world.src)
    verdict = world.verify()
    assert (verdict.inputs, verdict.faults) == (1, {"plain.jpg": "it failed: dark"})
