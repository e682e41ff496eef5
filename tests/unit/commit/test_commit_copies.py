"""Batches that were processed twice, and files that belong to no input."""

from __future__ import annotations

from tests.unit.commit_world import World
from tests.unit.samples import read_tree


def restage(world: World, made: dict[bytes, bytes]) -> None:
    world.staging = world.staging.with_name("copy")
    world.stage(made)


def test_a_copy_counts_nothing_that_is_done(world: World) -> None:
    first, copy = world.take(), world.take("worker-2", copy=True)
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    assert world.commit_batch(first) == 2
    before = (world.dst / "a.jpg").stat()
    restage(world, {b"a.jpg": b"A", b"d/b.jpg": b"B"})
    assert world.commit_batch(copy) == 0
    assert (world.dst / "a.jpg").stat() == before
    assert (world.stats.done, world.stats.results, len(world.lines())) == (2, 2, 2)
    assert world.scheduler.left == 0


def test_a_copy_counts_what_the_first_one_left_open(world: World) -> None:
    first, copy = world.take(), world.take("worker-2", copy=True)
    world.stage({b"a.jpg": b"A"}, code=1, report=({"path": "a.jpg", "ok": True},))
    assert world.commit_batch(first) == 1
    restage(world, {b"a.jpg": b"another", b"d/b.jpg": b"B"})
    assert world.commit_batch(copy) == 1
    assert read_tree(world.dst) == {b"a.jpg": b"A", b"d/b.jpg": b"B"}
    assert (world.stats.done, world.scheduler.left) == (2, 0)


def test_what_a_lost_worker_has_brought_home_counts(world: World) -> None:
    """What it failed at doesn't: it may be its own fault."""
    attempt = world.take()
    world.scheduler.remove_worker("worker-1")
    world.stage({b"a.jpg": b"A"}, code=1, report=({"path": "a.jpg", "ok": True}, {"path": "d/b.jpg", "ok": False}))
    assert world.commit_batch(attempt) == 1
    assert (world.stats.done, world.stats.failed, world.scheduler.left) == (1, {}, 1)
    assert [item.key for item in world.take("worker-2").batch.inputs] == [b"d/b.jpg"]


def test_results_of_nobody_are_kept_apart_if_they_may(world: World) -> None:
    attempt = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B", b"index.html": b"I", b".fanrun/ledger.db": b"evil", b"gone": b"G"})
    (world.staging / "data" / "gone").unlink()
    assert world.commit_batch(attempt) == 2
    assert read_tree(world.dst) == {b"a.jpg": b"A", b"d/b.jpg": b"B"}
    assert read_tree(world.extra) == {f"{attempt.batch.name}/index.html".encode(): b"I"}
    assert (world.stats.extra, world.stats.results) == (1, 2)


def test_a_result_of_nobody_that_something_is_in_the_way_of_harms_no_input(world: World) -> None:
    attempt = world.take()
    (world.extra / attempt.batch.name / "index.html").mkdir(parents=True)
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B", b"index.html": b"I"})
    assert world.commit_batch(attempt) == 2
    assert world.stats.extra == 0


def test_a_result_of_nobody_does_not_count_when_the_program_was_stopped(world: World) -> None:
    attempt = world.take()
    world.stage({b"a.jpg": b"A", b".part": b"half"}, code=143, report=[{"path": "a.jpg", "ok": True}])
    assert world.commit_batch(attempt) == 1
    assert read_tree(world.dst) == {b"a.jpg": b"A"}


def test_a_result_that_was_removed_is_found_at_the_end(world: World) -> None:
    attempt = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    world.commit_batch(attempt)
    assert world.destination.vanished() == []
    (world.dst / "d" / "b.jpg").unlink()
    assert world.destination.vanished() == [b"d/b.jpg"]


def test_files_of_nobody_are_kept_once_where_every_input_failed(patient: World) -> None:
    """From the last try alone: the others leave them as well."""
    attempt = patient.take()
    patient.stage_as("first", {b"summary.csv": b"1"})
    assert patient.commit_batch(attempt) == 0
    assert not patient.extra.exists()
    again = patient.take("worker-2")
    patient.stage_as("again", {b"summary.csv": b"2"})
    assert patient.commit_batch(again) == 2
    assert read_tree(patient.extra) == {f"{again.batch.name}/summary.csv".encode(): b"2"}
    assert patient.stats.extra == 1
