"""What a batch left in staging, and what is made of it: in DST, in the ledger, in the joblog, in the stats."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.results import result_files
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.ledger import Fact
from fanrun.fanout.results.staged import INODES
from fanrun.fanout.results.stats import WorkerStats
from fanrun.fanout.workers.heartbeat import MIN_FREE_BYTES
from fanrun.fleet.errors import HostError, RunUnfinished
from tests.unit.commit_world import World, digest
from tests.unit.samples import HOSTILE, read_tree
from tests.unit.schedulers import scripted

DARK = "it is too dark"
DAMAGED = "its result is not what the worker computed (damaged on the way)"
NO_PROGRAM = "docker: Error response from daemon: exec: \"x\": not found\nSee 'docker run --help'.\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two inputs, which are tried once."""
    made = World(tmp_path, (b"a.jpg", b"d/b.jpg"))
    yield made
    made.ledger.close()
    made.joblog.close()


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[World]:
    """Two inputs, which are tried twice."""
    made = World(tmp_path, (b"a.jpg", b"d/b.jpg"), retries=1)
    yield made
    made.ledger.close()
    made.joblog.close()


def test_what_is_done_is_in_dst_and_in_all_books(world: World) -> None:
    attempt = world.take()
    made = {b"a.jpg": b"A", b"d/b-1.png": b"B1", b"d/b-2.png": b"B22"}
    world.stage(made, report=({"path": "a.jpg", "ok": True, "seconds": 0.25},))
    assert world.commit_batch(attempt) == 2
    assert read_tree(world.dst) == made
    assert world.scheduler.left == 0
    assert world.ledger.outputs(b"a.jpg", digest(b"in a.jpg"), "program") == {b"a.jpg": digest(b"A")}
    assert world.ledger.outputs(b"d/b.jpg", digest(b"in d/b.jpg"), "program") == {
        b"d/b-1.png": digest(b"B1"), b"d/b-2.png": digest(b"B22"),
    }  # fmt: skip
    assert dict(world.ledger.inputs("program")) == {b"a.jpg": digest(b"in a.jpg"), b"d/b.jpg": digest(b"in d/b.jpg")}
    for path, content in made.items():
        assert world.ledger.places_of(digest(content)) == [os.path.join(os.fsencode(world.dst), path)]
    assert world.lines() == [
        ["a.jpg", "worker-1", attempt.batch.name, "1000.000", "0.250", "5", "1", "1", "0", digest(b"A")],
        ["d/b.jpg", "worker-1", attempt.batch.name, "1000.000", "2.500", "7", "5", "1", "0",
         f"{digest(b'B1')},{digest(b'B22')}"],
    ]  # fmt: skip
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
        "d/b.jpg", DARK, "worker-1", 1, ["b.jpg: dark"],
    )  # fmt: skip
    assert world.ledger.failures() == {b"d/b.jpg": DARK}
    assert world.ledger.input_hash(b"d/b.jpg") is None
    assert [line[0:1] + line[4:] for line in world.lines()] == [
        ["a.jpg", "2.500", "5", "1", "1", "0", digest(b"A")], ["d/b.jpg", "0.500", "7", "0", "1", "3", "-"],
    ]  # fmt: skip
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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_dst_without_room_ends_the_run_and_nobody_is_blamed(
    world: World, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(staging: bytes, dst: bytes, path: bytes) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(result_files, "move_into_place", full)
    attempt = world.take()
    world.stage({b"a.jpg": b"A"})
    with pytest.raises(RunUnfinished, match=r"DST can't be written \(.*; make room there"):
        world.commit_batch(attempt)
    assert (world.stats.done, world.stats.failed, world.ledger.failures()) == (0, {}, {})


# ---- when it is not the input's fault


@pytest.mark.parametrize(
    ("free", "inodes"), [(0, 10**6), (2 * 7 + MIN_FREE_BYTES - 1, 10**6), (10**10, 0), (10**10, INODES - 1)]
)
@pytest.mark.parametrize("reported", [True, False])
def test_a_full_worker_is_to_blame_for_what_failed_on_it(world: World, free: int, inodes: int, reported: bool) -> None:
    line = {"path": "a.jpg", "ok": False, "error": "No space left on device"}
    attempt = world.take()
    world.stage({b"d/b.jpg": b"B"}, code=1, report=[line] if reported else [], free=free, inodes=inodes)
    with pytest.raises(HostError, match="its disk is full") as caught:
        world.commit_batch(attempt)
    assert caught.value.host == "worker-1"
    assert world.untouched()
    assert world.scheduler.remove_worker("worker-1") == 1
    assert len(world.take("worker-2").batch.inputs) == 2


def test_what_is_done_on_a_full_worker_counts(world: World) -> None:
    attempt = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"}, free=0, inodes=0)
    assert world.commit_batch(attempt) == 2


def test_a_worker_with_just_enough_room_is_not_to_blame(world: World) -> None:
    attempt = world.take()
    world.stage({}, free=2 * 7 + MIN_FREE_BYTES, inodes=INODES)
    assert world.commit_batch(attempt) == 2
    assert len(world.stats.failed) == 2


def test_a_container_that_did_not_start_is_the_workers_fault(world: World) -> None:
    attempt = world.take()
    world.stage({}, code=125, log="docker: Cannot connect to the Docker daemon.\nSee 'docker run --help'.\n")
    with pytest.raises(HostError, match=r"could not run a container \(docker: Cannot connect to the Docker daemon.\)"):
        world.commit_batch(attempt)
    assert world.untouched()


@pytest.mark.parametrize("name", ["exit", "log", "manifest", "links", "report.jsonl"])
def test_what_did_not_arrive_is_the_workers_fault(world: World, name: str) -> None:
    attempt = world.take()
    world.stage({b"a.jpg": b"A"})
    (world.staging / name).unlink()
    with pytest.raises(HostError, match=rf"lost the {name} of a batch \(No such file"):
        world.commit_batch(attempt)
    assert world.untouched()


@pytest.mark.parametrize("text", ["", "0\n", "0\n12", "garbage"])
def test_an_end_that_is_not_whole_is_the_workers_fault(world: World, text: str) -> None:
    attempt = world.take()
    world.stage({b"a.jpg": b"A"})
    (world.staging / "exit").write_text(text)
    with pytest.raises(HostError, match="wrote the end of a batch only in part"):
        world.commit_batch(attempt)
    assert world.untouched()


# ---- when another try is of no use


def test_an_image_without_the_program_fails_all_at_once(patient: World) -> None:
    attempt = patient.take()
    patient.stage({}, code=127, log=NO_PROGRAM)
    assert patient.commit_batch(attempt) == 2
    assert {failure.reason for failure in patient.stats.failed.values()} == {
        'the program can\'t be started: docker: Error response from daemon: exec: "x": not found'
    }
    assert patient.scheduler.left == 0


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


# ---- what belongs to no input


def test_results_of_nobody_are_kept_apart_if_they_may(world: World) -> None:
    attempt = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B", b"index.html": b"I", b".fanrun/ledger.db": b"evil", b"gone": b"G"})
    (world.staging / "data" / "gone").unlink()
    assert world.commit_batch(attempt) == 2
    assert read_tree(world.dst) == {b"a.jpg": b"A", b"d/b.jpg": b"B"}
    assert read_tree(world.extra) == {f"{attempt.batch.name}/index.html".encode(): b"I"}
    assert (world.stats.extra, world.stats.results) == (1, 2)


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


def test_a_batch_of_one_input_that_ends_badly_is_that_inputs_failure(tmp_path: Path) -> None:
    world = World(tmp_path, (b"a.jpg",))
    attempt = world.take()
    assert attempt.batch == Batch(attempt.batch.name, (Input(b"a.jpg", 5),))
    world.stage({}, code=137, late=True)
    assert world.commit_batch(attempt) == 1
    assert "finished nothing within the timeout" in world.stats.failed[b"a.jpg"].reason
    world.ledger.close()
    world.joblog.close()


def test_a_program_that_was_ended_with_the_run_is_no_inputs_failure(tmp_path: Path) -> None:
    """Nor a reason that is told, though two batches end so."""
    world = World(tmp_path, (b"a.jpg",))
    attempt = world.take()
    world.scheduler.stop()
    world.stage({}, code=137)
    assert world.commit_batch(attempt) == 0
    assert world.stats.failed == {}
    assert world.told == []
    assert world.destination.reasons.stop == ""
    assert world.scheduler.left == 1
    world.ledger.close()
    world.joblog.close()


def test_batches_that_fail_alike_end_the_run(tmp_path: Path) -> None:
    world = World(tmp_path, (b"a", b"b", b"c"))
    for _ in range(2):
        batch = scripted(world.scheduler, lambda waiting: 1).next_batch("worker-1")
        assert batch is not None
        world.stage({}, code=2)
        settled = world.commit_batch(Attempt(batch, "worker-1", {}, {}, 1002.5))
        shutil.rmtree(world.staging)
    assert settled == 2
    assert world.told == ["worker-1: a: the program ended with exit 2: it said nothing"]
    assert world.destination.reasons.stop.startswith("every batch ends with exit 2: it said nothing; stopped")
    assert [item.key for item in world.destination.given_up] == [b"c"]
    assert world.ledger.failures()[b"c"] == f"not tried: {world.destination.reasons.stop}"
    assert world.scheduler.left == 0
    world.ledger.close()
    world.joblog.close()


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


def test_an_input_that_hung_by_itself_and_hangs_a_batch_elsewhere_has_failed(tmp_path: Path) -> None:
    world = World(tmp_path, (b"a.jpg", b"b.jpg"), retries=5)
    attempt, copy = world.take(), world.take("worker-2", copy=True)
    world.stage({}, code=124, late=True)
    assert world.commit_batch(attempt) == 0
    alone = world.take("worker-1")
    assert [item.key for item in alone.batch.inputs] == [b"a.jpg"]
    world.staging = world.staging.with_name("alone")
    world.stage({}, code=124, late=True)
    assert world.commit_batch(alone) == 0, "it may be the worker that hangs"
    world.staging = world.staging.with_name("copy")
    world.stage({}, code=124, late=True)
    assert world.commit_batch(copy) == 1
    assert world.scheduler.is_settled(b"a.jpg")
    assert not world.scheduler.is_settled(b"b.jpg"), "it never hung by itself"
    assert [line[0] for line in world.lines()] == ["a.jpg"]
