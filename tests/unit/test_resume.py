"""What is done before: the cases that are worth a name; test_ledger_model.py has the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout.plan import walk
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact
from fanrun.fanout.results.result_files import hash_file
from fanrun.fanout.resume import plan_resume
from tests.unit.resume_world import World
from tests.unit.samples import HOSTILE


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.close()


def test_what_stands_is_kept_whatever_it_is_called(world: World) -> None:
    world.do(HOSTILE)
    before = world.results()
    assert world.plan_resume() == ([], sorted(HOSTILE), [])
    assert world.results() == before


def test_a_renamed_folder_is_copied_and_the_old_results_stay(world: World) -> None:
    world.do((b"old/a.jpg", b"old/b.jpg"), b"-1.png", b".txt")
    before = world.results()
    (world.src / "old").rename(world.src / "new")
    assert world.plan_resume(change=False) == ([], [], [b"new/a.jpg", b"new/b.jpg"])
    assert world.results() == before
    assert world.plan_resume() == ([], [], [b"new/a.jpg", b"new/b.jpg"])
    assert world.results() == before | {b"new" + key[3:]: content for key, content in before.items()}
    assert dict(world.ledger.inputs("program")).keys() == {b"old/a.jpg", b"old/b.jpg", b"new/a.jpg", b"new/b.jpg"}
    assert world.plan_resume() == ([], [b"new/a.jpg", b"new/b.jpg"], [])
    assert list(world.staging.iterdir()) == []


def test_a_file_with_another_ones_bytes_needs_no_work_by_content(world: World) -> None:
    world.do((b"a.jpg",))
    (world.src / "twin.jpg").write_bytes((world.src / "a.jpg").read_bytes())
    assert world.plan_resume(by_content=False) == ([b"twin.jpg"], [b"a.jpg"], [])
    assert world.plan_resume() == ([], [b"a.jpg"], [b"twin.jpg"])


def test_a_result_stays_its_own_inputs_whatever_else_has_the_same_content(world: World) -> None:
    """As where a program writes the path of an input into its result."""
    world.do((b"cat/1.jpg", b"dog/1.jpg"))
    content = (world.src / "cat" / "1.jpg").read_bytes()
    (world.src / "dog" / "1.jpg").write_bytes(content)
    made = {key: hash_file(os.path.join(os.fsencode(world.dst), key)) for key in (b"cat/1.jpg", b"dog/1.jpg")}
    digest = hash_file(os.path.join(os.fsencode(world.src), b"cat/1.jpg"))
    world.ledger.record("program", [Fact(key, digest, {key: each}) for key, each in made.items()])
    before = world.results()
    assert len(set(made.values())) == 2
    for by_content in (False, True):
        assert world.plan_resume(by_content=by_content) == ([], sorted(made), [])
    assert world.results() == before
    (world.dst / "dog" / "1.jpg").unlink()
    assert world.plan_resume() == ([b"dog/1.jpg"], [b"cat/1.jpg"], [])


def test_a_result_that_stands_is_not_replaced_by_one_of_a_former_owner(world: World) -> None:
    """Its input was away for a run, in which another one took the path; and its old bytes lie elsewhere in DST."""
    world.do((b"scan.jpg",), b".png")
    (world.dst / "scan.png").write_bytes(b"of scan.jpg")
    digest = hash_file(os.path.join(os.fsencode(world.src), b"scan.jpg"))
    made = {b"scan.png": hash_file(os.fsencode(world.dst / "scan.png"))}
    world.ledger.record("program", [Fact(b"scan.jpg", digest, made)])
    (world.dst / "scan.png").rename(world.dst / "kept elsewhere")
    path = os.fsencode(world.dst / "kept elsewhere")
    world.ledger.remember_hash(path, file_stat(path), hash_file(path))
    world.do((b"scan.tif",), b".png")
    before = world.results()
    for _ in range(2):
        assert world.plan_resume() == ([b"scan.jpg"], [b"scan.tif"], [])
        assert world.results() == before


def test_a_path_that_another_input_owns_is_not_taken_by_content(world: World) -> None:
    world.do((b"scan.jpg", b"old.tif"), b".png")
    (world.src / "old.tif").rename(world.src / "scan.tif")
    before = world.results()
    assert world.plan_resume() == ([b"scan.tif"], [b"scan.jpg"], [])
    assert world.results() == before


def test_one_result_of_two_is_not_enough(world: World) -> None:
    world.do((b"a.jpg", b"b.jpg"), b".1", b".2")
    (world.dst / "a.2").unlink()
    assert world.plan_resume() == ([b"a.jpg"], [b"b.jpg"], [])


def test_what_was_moved_within_dst_is_brought_back_from_where_it_was_seen(world: World) -> None:
    """A result is found under any path that a run brought it to, as long as it is as it was."""
    world.do((b"a.jpg", b"b.jpg"))
    (world.src / "b.jpg").write_bytes((world.src / "a.jpg").read_bytes())
    assert world.plan_resume() == ([], [b"a.jpg"], [b"b.jpg"])
    (world.dst / "a.jpg").unlink()
    assert world.plan_resume() == ([], [b"b.jpg"], [b"a.jpg"])
    (world.dst / "a.jpg").unlink()
    (world.dst / "b.jpg").write_bytes(b"tampered")
    assert world.plan_resume() == ([b"a.jpg", b"b.jpg"], [], [])


def test_a_copy_is_another_file(world: World) -> None:
    """Who changes one of them doesn't change the other."""
    world.do((b"a.jpg",))
    (world.src / "a.jpg").rename(world.src / "b.jpg")
    world.plan_resume()
    (world.dst / "a.jpg").write_bytes(b"changed")
    assert world.plan_resume() == ([], [b"b.jpg"], [])


def test_results_elsewhere_are_not_taken(world: World, tmp_path: Path) -> None:
    """What a ledger remembers of a folder beside DST, or of its inputs, is not DST's."""
    world.do((b"a.jpg",))
    beside = tmp_path / "dst2" / "a.jpg"
    beside.parent.mkdir()
    (world.dst / "a.jpg").rename(beside)
    path = os.fsencode(beside)
    world.ledger.remember_hash(path, file_stat(path), hash_file(path))
    assert world.plan_resume() == ([b"a.jpg"], [], [])


def test_an_input_that_can_not_be_read_is_to_do(world: World) -> None:
    """The worker's part of the run tells why."""
    world.do((b"a.jpg", b"b.jpg"))
    inputs, _ = walk(str(world.src))
    (world.src / "a.jpg").unlink()
    found = plan_resume(world.source(change=True), inputs)
    assert [item.key for item in found.todo] == [b"a.jpg"]


def test_what_is_kept_is_no_failure_any_more(world: World) -> None:
    world.do((b"a.jpg",))
    world.ledger.fail([(b"a.jpg", "dark")])
    world.plan_resume(change=False)
    assert world.ledger.failures() == {b"a.jpg": "dark"}
    world.plan_resume()
    assert world.ledger.failures() == {}


@pytest.mark.parametrize("way", ["a folder", "below a file"])
def test_a_renamed_input_whose_result_something_is_in_the_way_of_is_to_do(world: World, way: str) -> None:
    world.do((b"a.jpg", b"d"))
    (world.src / "d").unlink()
    if way == "a folder":
        (world.dst / "b.jpg").mkdir()
        (world.src / "a.jpg").rename(world.src / "b.jpg")
        assert world.plan_resume() == ([b"b.jpg"], [], [])
    else:
        (world.src / "d").mkdir()
        (world.src / "a.jpg").rename(world.src / "d" / "a.jpg")
        assert world.plan_resume() == ([b"d/a.jpg"], [], [])
