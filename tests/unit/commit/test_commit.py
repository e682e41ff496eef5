"""What a batch left in staging, and what is made of it: in DST, in the ledger, in the joblog, in the stats."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fanrun.fanout.results.ledger import Fact
from fanrun.fanout.results.stats import WorkerStats
from tests.unit.commit_world import World, digest
from tests.unit.samples import HOSTILE, read_tree

DARK = "it is too dark"
DAMAGED = "its result is not what the worker computed (damaged on the way)"


def test_what_is_done_is_in_dst_and_in_all_books(world: World) -> None:
    attempt = world.take()
    made = {b"a.jpg": b"A", b"d/b-1.png": b"B1", b"d/b-2.png": b"B22"}
    world.stage(made, report=({"path": "a.jpg", "ok": True, "seconds": 0.25},))
    assert world.commit_batch(attempt) == 2
    assert read_tree(world.dst) == made
    assert world.scheduler.left == 0
    assert world.ledger.outputs(b"a.jpg", digest(b"in a.jpg"), "program") == {b"a.jpg": digest(b"A")}
    assert world.ledger.outputs(b"d/b.jpg", digest(b"in d/b.jpg"), "program") == {
        b"d/b-1.png": digest(b"B1"),
        b"d/b-2.png": digest(b"B22"),
    }
    assert dict(world.ledger.inputs("program")) == {b"a.jpg": digest(b"in a.jpg"), b"d/b.jpg": digest(b"in d/b.jpg")}
    for path, content in made.items():
        assert world.ledger.places_of(digest(content)) == [os.path.join(os.fsencode(world.dst), path)]
    where, hashes = ["worker-1", attempt.batch.name, "1000.000"], f"{digest(b'B1')},{digest(b'B22')}"
    assert world.lines() == [
        ["a.jpg", *where, "0.250", "5", "1", "1", "0", digest(b"A")],
        ["d/b.jpg", *where, "2.500", "7", "5", "1", "0", hashes],
    ]
    stats = world.stats
    assert (stats.done, stats.results, stats.bytes_in, stats.bytes_out, stats.extra) == (2, 3, 12, 6, 0)
    assert stats.failed == {}


def test_hostile_names_land(tmp_path: Path) -> None:
    world = World(tmp_path, HOSTILE)
    attempt = world.take()
    made = {key: b"made of " + key for key in HOSTILE}
    world.stage(made)
    assert world.commit_batch(attempt) == len(HOSTILE)
    assert read_tree(world.dst) == made
    assert len(world.lines()) == len(HOSTILE)
    assert [key for key, _ in world.ledger.inputs("program")] == sorted(HOSTILE)
    world.ledger.close()
    world.joblog.close()


def test_what_failed_is_told_with_its_reason_and_the_last_words_about_it(world: World) -> None:
    attempt = world.take()
    report = {"path": "d/b.jpg", "ok": False, "error": DARK, "seconds": 0.5}, {"path": "a.jpg", "ok": True}
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"half"}, code=3, report=report, log="1\nb.jpg: dark\n2\n")
    assert world.commit_batch(attempt) == 2
    assert read_tree(world.dst) == {b"a.jpg": b"A"}
    (failure,) = world.stats.failed.values()
    assert (failure.path, failure.reason, failure.worker, failure.tries, failure.words) == (
        "d/b.jpg",
        DARK,
        "worker-1",
        1,
        ["b.jpg: dark"],
    )
    assert world.ledger.failures() == {b"d/b.jpg": DARK}
    assert world.ledger.input_hash(b"d/b.jpg") is None
    assert [line[0:1] + line[4:] for line in world.lines()] == [
        ["a.jpg", "2.500", "5", "1", "1", "0", digest(b"A")],
        ["d/b.jpg", "0.500", "7", "0", "1", "3", "-"],
    ]
    assert (world.stats.done, world.scheduler.left) == (1, 0)


def test_a_failure_in_a_batch_that_ended_well_has_exit_code_1(world: World) -> None:
    attempt = world.take()
    world.stage({b"a.jpg": b"A"})
    assert world.commit_batch(attempt) == 2
    assert [(line[0], line[8]) for line in world.lines()] == [("a.jpg", "0"), ("d/b.jpg", "1")]
    assert world.ledger.failures() == {b"d/b.jpg": "the program ended well but left no result for it"}


def test_what_fails_is_told_after_its_last_try_only(patient: World) -> None:
    attempt = patient.take()
    report = tuple({"path": key, "ok": False, "error": DARK} for key in ("a.jpg", "d/b.jpg"))
    patient.stage({}, code=1, report=report)
    assert patient.commit_batch(attempt) == 0
    assert patient.untouched()
    again = patient.take("worker-2")
    assert {item.key for item in again.batch.inputs} == {b"a.jpg", b"d/b.jpg"}
    (patient.staging / "report.jsonl").write_text(json.dumps(report[0]) + "\n" + '{"path": "d/b.jpg", "ok": true}\n')
    (patient.staging / "data" / "d").mkdir()
    (patient.staging / "data" / "d" / "b.jpg").write_bytes(b"B")
    (patient.staging / "manifest").write_text(f"{digest(b'B')}  ./d/b.jpg\0")
    assert patient.commit_batch(again) == 2
    assert patient.stats.failed[b"a.jpg"].tries == 2
    assert [(line[0], line[7]) for line in patient.lines()] == [("d/b.jpg", "2"), ("a.jpg", "2")]


def test_inputs_of_unknown_fate_are_not_told(world: World) -> None:
    attempt = world.take()
    world.stage({b"a.jpg": b"half"}, code=137)
    assert world.commit_batch(attempt) == 0
    assert world.untouched()
    assert world.scheduler.left == 2


@pytest.mark.parametrize(
    ("content", "reason"), [(b"damaged", DAMAGED), (None, "its result d/b-2.jpg did not arrive (")]
)
def test_a_damaged_result_does_not_land(world: World, content: bytes | None, reason: str) -> None:
    """None of an input's results lands if one of them is not what it was, and no other input suffers."""
    attempt = world.take()
    world.stage({b"a.jpg": b"A", b"d/b-1.jpg": b"B1", b"d/b-2.jpg": b"B2"})
    path = world.staging / "data" / "d" / "b-2.jpg"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert world.commit_batch(attempt) == 2
    assert read_tree(world.dst) == {b"a.jpg": b"A"}
    assert world.stats.failed[b"d/b.jpg"].reason.startswith(reason)
    assert dict(world.ledger.inputs("program")).keys() == {b"a.jpg"}


def test_a_result_that_something_in_dst_is_in_the_way_of(world: World) -> None:
    """It is done as far as the workers go: another try would not do better."""
    (world.dst / "a.jpg" / "folder").mkdir(parents=True)
    attempt = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    assert world.commit_batch(attempt) == 2
    assert read_tree(world.dst) == {b"d/b.jpg": b"B"}
    assert world.stats.failed[b"a.jpg"].reason.startswith("its result can't be written to DST (")
    assert world.ledger.failures().keys() == {b"a.jpg"}
    assert (world.stats.done, len(world.stats.failed), world.scheduler.left) == (1, 1, 0)
    assert [(line[0], line[8]) for line in world.lines()] == [("d/b.jpg", "0"), ("a.jpg", "1")]


# ---- when it is not the input's fault


# ---- when another try is of no use


def test_an_input_that_could_not_be_read_is_not_tried_again(patient: World) -> None:
    attempt = patient.take()
    del attempt.hashes[b"a.jpg"]
    attempt.unreadable[b"a.jpg"] = "it can't be read in SRC (No such file or directory)"
    patient.stage({b"d/b.jpg": b"B"})
    assert patient.commit_batch(attempt) == 2
    assert patient.ledger.failures() == {b"a.jpg": attempt.unreadable[b"a.jpg"]}
    assert (patient.scheduler.left, patient.stats.done) == (0, 1)


def test_an_input_that_could_not_be_read_has_no_result_of_another(tmp_path: Path) -> None:
    world = World(tmp_path, (b"a.png", b"a.tif"))
    attempt = world.take()
    del attempt.hashes[b"a.png"]
    attempt.unreadable[b"a.png"] = "it is a link to nowhere, which can't be read"
    world.stage({b"a.png": b"of a.tif"})
    assert world.commit_batch(attempt) == 2
    assert world.ledger.failures().keys() == {b"a.png"}
    assert dict(world.ledger.inputs("program")).keys() == {b"a.tif"}
    world.ledger.close()
    world.joblog.close()


def test_an_input_that_changed_on_its_way_is_done_but_not_written_down(world: World) -> None:
    """The next run does it again: nobody knows of what this is the result."""
    attempt = world.take()
    del attempt.hashes[b"a.jpg"]
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    assert world.commit_batch(attempt) == 2
    assert (world.dst / "a.jpg").read_bytes() == b"A"
    assert dict(world.ledger.inputs("program")).keys() == {b"d/b.jpg"}


# ---- twice


# ---- what belongs to no input


def test_the_book_is_written_before_the_results_land(world: World) -> None:
    """A run that dies in between leaves no result that nobody knows of."""
    (world.dst / "a.jpg").mkdir()
    attempt = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    world.commit_batch(attempt)
    assert world.ledger.outputs(b"a.jpg", digest(b"in a.jpg"), "program") == {b"a.jpg": digest(b"A")}
    world.ledger.record("program", [Fact(b"a.jpg", digest(b"in a.jpg"), {b"a.jpg": digest(b"A")})])
    assert world.ledger.failures() == {}


def test_the_books_of_a_worker_add_up_its_seconds() -> None:
    stats = WorkerStats()
    for seconds in (0.5, 1.0):
        stats.busy("push", seconds)
    assert stats.seconds == {"push": 1.5, "process": 0.0, "pull": 0.0}
