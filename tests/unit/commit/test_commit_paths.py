"""Results of two inputs that have one path: the first input in the order of keys has it, the other fails."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout.expect import Expected
from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.ownership import Ownership, RunInputs
from fanrun.fanout.schedule.assignment import Assignment
from tests.unit.commit_world import World, digest
from tests.unit.samples import read_tree


@pytest.fixture
def scans(tmp_path: Path) -> Iterator[World]:
    """Inputs whose results may have one path."""
    made = World(tmp_path, (b"scan.bmp", b"scan.jpg", b"scan.tif"), retries=2)
    yield made
    made.ledger.close()
    made.joblog.close()


def one(world: World, key: bytes) -> Attempt:
    """A batch of that input alone."""
    batch = Batch(f"worker-1.{key.decode()}", (Input(key, 1),))
    with world.scheduler._change:
        world.scheduler._backlog.in_flight.start(Assignment("worker-1", batch, 0.0))
    return Attempt(batch, "worker-1", {key: digest(b"in " + key)}, {}, 1002.5)


def commit_batch_one(world: World, key: bytes, made: dict[bytes, bytes]) -> int:
    attempt = one(world, key)
    world.stage_as(f"{os.fsdecode(key).replace('/', '_')} {len(list(world.staging.parent.glob('*')))}", made)
    return world.commit_batch(attempt)


@pytest.mark.parametrize("order", list(itertools.permutations((b"scan.bmp", b"scan.jpg", b"scan.tif"))))
def test_a_path_belongs_to_the_first_input_in_whatever_order_they_come(scans: World, order: tuple[bytes, ...]) -> None:
    """The others fail at once, with a reason that names both."""
    scans.scheduler.next_batch("worker-1")
    settled = [commit_batch_one(scans, key, {b"scan.png": key}) for key in order]
    assert sum(settled) == 3
    assert read_tree(scans.dst) == {b"scan.png": b"scan.bmp"}
    reason = "its result scan.png has the same path as that of scan.bmp, which keeps it"
    assert scans.ledger.failures() == {b"scan.jpg": reason, b"scan.tif": reason}
    assert dict(scans.ledger.inputs("program")).keys() == {b"scan.bmp"}
    assert (scans.scheduler.left, scans.stats.done, scans.destination.held, scans.destination.waiting) == (0, 1, {}, {})


@pytest.mark.parametrize("order", list(itertools.permutations((b"a.jpg", b"b.jpg", b"c.jpg"))))
def test_a_path_that_reports_alone_name_belongs_to_the_first_input_as_well(
    tmp_path: Path, order: tuple[bytes, ...]
) -> None:
    """In whatever order they come; who has a path of its own by its name waits for nobody."""
    world = World(tmp_path, (b"a.jpg", b"b.jpg", b"c.jpg"))
    world.scheduler.next_batch("worker-1")
    settled = []
    for key in order:
        attempt, path = one(world, key), b"c.png" if key == b"c.jpg" else b"index.html"
        world.staging = world.staging.with_name(key.decode())
        report = {"path": key.decode(), "ok": True, "results": [path.decode()]}
        world.stage({path: key}, report=[report])
        settled.append(world.commit_batch(attempt))
    assert read_tree(world.dst) == {b"index.html": b"a.jpg", b"c.png": b"c.jpg"}
    assert world.ledger.failures().keys() == {b"b.jpg"}
    assert sum(settled) == 3
    assert settled[order.index(b"c.jpg")] == 1
    assert (world.scheduler.left, world.destination.held, world.destination.waiting) == (0, {}, {})


def test_a_path_that_reports_alone_name_waits_for_one_input_after_the_other(tmp_path: Path) -> None:
    keys = (b"a.jpg", b"b.jpg", b"c.jpg", b"d.jpg")
    world = World(tmp_path, keys)
    world.scheduler.next_batch("worker-1")
    for key, expected in ((b"d.jpg", 0), (b"a.jpg", 1), (b"c.jpg", 0), (b"b.jpg", 3)):
        attempt = one(world, key)
        world.staging = world.staging.with_name(key.decode())
        path = b"x" + key
        world.stage({path: key}, report=[{"path": key.decode(), "ok": True, "results": [path.decode()]}])
        assert world.commit_batch(attempt) == expected
    assert read_tree(world.dst) == {b"x" + key: key for key in keys}
    assert (world.scheduler.left, world.destination.held, world.destination.waiting) == (0, {}, {})


@pytest.mark.parametrize("order", list(itertools.permutations((b"scan.bmp", b"scan.jpg", b"scan.tif"))))
def test_an_input_that_fails_leaves_its_path_to_the_next(scans: World, order: tuple[bytes, ...]) -> None:
    scans.scheduler.next_batch("worker-1")
    for key in order:
        commit_batch_one(scans, key, {} if key == b"scan.bmp" else {b"scan.png": key, key + b".txt": key})
    for _ in range(2):
        commit_batch_one(scans, b"scan.bmp", {})
    assert read_tree(scans.dst) == {b"scan.png": b"scan.jpg", b"scan.jpg.txt": b"scan.jpg"}
    assert scans.ledger.failures().keys() == {b"scan.bmp", b"scan.tif"}
    assert (scans.scheduler.left, scans.stats.done) == (0, 1)


RECORDED = [(b"scan.png", b"scan.jpg"), (b"scan.txt", b"scan.tif"), (b"gone.txt", b"gone")]
"""Paths in DST, and the inputs whose results a ledger says they are."""


def test_an_owner_that_the_ledger_knows_keeps_its_path(tmp_path: Path) -> None:
    world = World(tmp_path, (b"scan.bmp", b"scan.tif"))
    world.own(
        Ownership(
            RunInputs((b"scan.bmp", b"scan.tif"), [b"scan.jpg"], RECORDED),
            world.scheduler.is_settled,
            lambda key: False,
        )
    )
    assert commit_batch_one(world, b"scan.bmp", {b"scan.txt": b"1"}) == 0, "it waits for the owner, which is to be done"
    assert commit_batch_one(world, b"scan.tif", {b"scan.txt": b"2"}) == 2
    assert read_tree(world.dst) == {b"scan.txt": b"2"}
    assert "that of scan.tif" in world.ledger.failures()[b"scan.bmp"]
    world.ledger.close()
    world.joblog.close()


def test_an_owner_that_is_not_in_this_run_keeps_its_path(tmp_path: Path) -> None:
    world = World(tmp_path, (b"scan.bmp",))
    world.own(
        Ownership(
            RunInputs((b"scan.bmp",), [b"scan.jpg"], RECORDED),
            world.scheduler.is_settled,
            lambda key: key == b"scan.tif",
        )
    )
    assert commit_batch_one(world, b"scan.bmp", {b"scan.png": b"1"}) == 1
    assert "scan.png has the same path as that of scan.jpg" in world.ledger.failures()[b"scan.bmp"]
    ownership = world.destination.ownership
    assert "that of scan.tif" in ownership.refusal(b"scan.bmp", [b"scan.txt"]), "it is in SRC, though not in this run"
    assert ownership.refusal(b"scan.bmp", [b"gone.txt"]) == "", "its input is not in SRC any more"
    world.ledger.close()
    world.joblog.close()


def test_names_that_dst_can_not_tell_apart_are_one_path(tmp_path: Path) -> None:
    world = World(tmp_path, (b"A.jpg", b"a.jpg"))
    world.own(Ownership(RunInputs((b"A.jpg", b"a.jpg")), world.scheduler.is_settled, lambda key: False, bytes.lower))
    world.scheduler.next_batch("worker-1")
    assert commit_batch_one(world, b"a.jpg", {b"a.jpg": b"a"}) == 0
    assert commit_batch_one(world, b"A.jpg", {b"A.jpg": b"A"}) == 2
    assert read_tree(world.dst) == {b"A.jpg": b"A"}
    assert "its result a.jpg has the same path as that of A.jpg" in world.ledger.failures()[b"a.jpg"]
    world.ledger.close()
    world.joblog.close()


def test_inputs_that_wait_for_each_other_come_to_an_end(tmp_path: Path) -> None:
    """The first one fits one path better, the second one the other."""
    world = World(tmp_path, (b"s.jpg", b"s.png"))
    world.scheduler.next_batch("worker-1")
    assert commit_batch_one(world, b"s.jpg", {b"s.png": b"1", b"s.txt": b"1"}) == 0
    assert commit_batch_one(world, b"s.png", {b"s.png": b"2", b"s.txt": b"2"}) == 2
    assert set(read_tree(world.dst).values()) == {b"1"}
    assert (world.scheduler.left, world.stats.done, len(world.stats.failed)) == (0, 1, 1)
    world.ledger.close()
    world.joblog.close()


def test_inputs_between_which_names_do_not_decide_are_tried_apart(scans: World) -> None:
    attempt = scans.take()
    scans.stage_as("first", {b"scan.png": b"?", b"scan.tif.txt": b"T"})
    assert scans.commit_batch(attempt) == 0
    assert read_tree(scans.dst) == {}
    parts = [scans.take().batch.inputs for _ in range(3)]
    assert parts == [(Input(b"scan.bmp", 8),), (Input(b"scan.jpg", 8),), (Input(b"scan.tif", 8),)]
    assert scans.stats.failed == {}


def test_a_permanent_failure_is_not_tried_again(scans: World) -> None:
    attempt = scans.take()
    lines = [{"path": "./scan.bmp", "ok": False, "error": "not an image", "permanent": True}]
    lines += [{"path": f"/in/scan.{end}", "ok": False, "error": "busy"} for end in ("jpg", "tif")]
    scans.stage({}, code=1, report=lines)
    assert scans.commit_batch(attempt) == 1
    assert scans.ledger.failures() == {b"scan.bmp": "not an image"}


def test_expected_results_of_one_path_belong_to_the_first_whatever_the_order(tmp_path: Path) -> None:
    """Also where their names do not tell."""
    world = World(tmp_path, (b"x/a.tif", b"y/a.tif"))
    world.destination = dataclasses.replace(world.destination, expected=Expected(("{folder}/../all/{stem}.png",)))
    keys = (b"x/a.tif", b"y/a.tif")
    world.own(
        Ownership(
            RunInputs(keys), world.scheduler.is_settled, lambda key: False, expected=world.destination.expected.paths
        )
    )
    world.scheduler.next_batch("worker-1")
    assert commit_batch_one(world, b"y/a.tif", {b"all/a.png": b"y"}) == 0
    assert commit_batch_one(world, b"x/a.tif", {b"all/a.png": b"x"}) == 2
    assert read_tree(world.dst) == {b"all/a.png": b"x"}
    world.ledger.close()
    world.joblog.close()


def test_many_that_wait_for_one_are_released_together(tmp_path: Path) -> None:
    keys = (b"scan.tif", *(b"scan_%04d.tif" % n for n in range(300)))
    world = World(tmp_path, keys)
    world.scheduler.next_batch("worker-1")
    batch = Batch("worker-1.all", tuple(Input(key, 1) for key in keys[1:]))
    world.scheduler._backlog.in_flight.start(Assignment("worker-1", batch, 0.0))
    world.stage({key.replace(b".tif", b".png"): key for key in keys[1:]})
    assert world.commit_batch(Attempt(batch, "worker-1", dict.fromkeys(keys, "h"), {}, 1002.5)) == 0
    assert commit_batch_one(world, b"scan.tif", {b"scan.png": b"scan.tif"}) == 301
    assert len(read_tree(world.dst)) == 301
    assert (world.scheduler.left, world.stats.done, world.destination.held, world.destination.waiting) == (
        0,
        301,
        {},
        {},
    )
    world.ledger.close()
    world.joblog.close()
