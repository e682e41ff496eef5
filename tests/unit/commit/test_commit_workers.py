"""A batch that fails because of its worker, of DST or of the way the program is run."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from fanrun.fanout.plan import HANDLING, Batch, Input
from fanrun.fanout.results import result_files
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.staged import INODES
from fanrun.fanout.workers.heartbeat import MIN_FREE_BYTES
from fanrun.fleet.errors import HostError, RunUnfinished
from tests.unit.commit_world import Disk, World, digest
from tests.unit.schedulers import scripted

NO_PROGRAM = "docker: Error response from daemon: exec: \"x\": not found\nSee 'docker run --help'.\n"


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


@pytest.mark.parametrize(
    ("free", "inodes"), [(0, 10**6), (2 * 7 + MIN_FREE_BYTES - 1, 10**6), (10**10, 0), (10**10, INODES - 1)]
)
@pytest.mark.parametrize("reported", [True, False])
def test_a_full_worker_is_to_blame_for_what_failed_on_it(world: World, free: int, inodes: int, reported: bool) -> None:
    line = {"path": "a.jpg", "ok": False, "error": "No space left on device"}
    attempt = world.take()
    world.disk = Disk(free, inodes)
    world.stage({b"d/b.jpg": b"B"}, code=1, report=[line] if reported else [])
    with pytest.raises(HostError, match="its disk is full") as caught:
        world.commit_batch(attempt)
    assert caught.value.host == "worker-1"
    assert world.untouched()
    assert world.scheduler.remove_worker("worker-1") == 1
    assert len(world.take("worker-2").batch.inputs) == 2


def test_what_is_done_on_a_full_worker_counts(world: World) -> None:
    attempt = world.take()
    world.disk = Disk(0, 0)
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    assert world.commit_batch(attempt) == 2


def test_a_worker_with_just_enough_room_is_not_to_blame(world: World) -> None:
    attempt = world.take()
    world.disk = Disk(2 * 7 + MIN_FREE_BYTES, INODES)
    world.stage({})
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


def test_an_image_without_the_program_fails_all_at_once(patient: World) -> None:
    attempt = patient.take()
    patient.stage({}, code=127, log=NO_PROGRAM)
    assert patient.commit_batch(attempt) == 2
    assert {failure.reason for failure in patient.stats.failed.values()} == {
        'the program can\'t be started: docker: Error response from daemon: exec: "x": not found'
    }
    assert patient.scheduler.left == 0


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


def test_the_bad_inputs_of_two_batches_do_not_end_the_run(tmp_path: Path) -> None:
    """They come back before the good ones, which were in the same batches."""
    world = World(tmp_path, (b"a", b"bad", b"c", b"worse"))
    batches = [scripted(world.scheduler, lambda waiting: 2 * HANDLING).next_batch("worker-1") for _ in range(2)]
    for batch in batches:
        assert batch is not None
        good, bad = (item.key for item in batch.inputs)
        world.stage_as(batch.name, {good: b"whole", bad: b"half"}, code=3)
        hashes = {good: digest(good), bad: digest(bad)}
        assert world.commit_batch(Attempt(batch, "worker-1", hashes, {}, 1002.5)) == 0
    again = [world.take(worker) for worker in ("worker-1", "worker-2", "worker-1", "worker-2")]
    for attempt in sorted(again, key=lambda attempt: attempt.keys[0] in (b"a", b"c")):
        is_good = attempt.keys[0] in (b"a", b"c")
        world.stage_as(attempt.batch.name, {attempt.keys[0]: b"whole"}, code=0 if is_good else 3)
        assert world.commit_batch(attempt) == 1
    assert world.destination.reasons.stop == ""
    assert (world.stats.done, set(world.stats.failed)) == (2, {b"bad", b"worse"})
    world.ledger.close()
    world.joblog.close()


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


@pytest.mark.parametrize("reported", [True, False])
def test_a_container_that_was_killed_beside_others_is_processed_without_them(world: World, reported: bool) -> None:
    """The others may have taken the memory: it is no failure, and no reason that is told."""
    attempt = world.take()
    attempt.containers = 3
    report = [{"path": "a.jpg", "ok": True}] if reported else []
    world.stage({b"a.jpg": b"A"}, code=137, report=report)
    assert world.commit_batch(attempt) == len(report)
    assert (world.stats.failed, world.told) == ({}, [])
    again = world.take("worker-2")
    assert again.batch.exclusive
    assert again.keys == ([b"d/b.jpg"] if reported else [b"a.jpg", b"d/b.jpg"])
    assert world.scheduler.tries(b"d/b.jpg") == 0


@pytest.mark.parametrize("containers", [1, 3])
def test_an_input_that_was_killed_beside_other_containers_is_processed_without_them(
    world: World, containers: int
) -> None:
    """As a command for each input may be, in a container that goes on."""
    attempt = world.take()
    attempt.containers = containers
    killed = {"path": "d/b.jpg", "ok": False, "error": "exit 137", "killed": True}
    world.stage({b"a.jpg": b"A"}, code=1, report=[{"path": "a.jpg", "ok": True}, killed])
    assert world.commit_batch(attempt) == (1 if containers == 3 else 2)
    assert set(world.stats.failed) == (set() if containers == 3 else {b"d/b.jpg"})
    if containers == 3:
        again = world.take("worker-2")
        assert (again.batch.exclusive, again.keys) == (True, [b"d/b.jpg"])


def test_what_is_killed_without_others_has_failed(world: World) -> None:
    attempt = world.take()
    attempt.containers = 3
    world.stage({}, code=137)
    world.commit_batch(attempt)
    again = world.take()
    world.stage_as("again", {b"a.jpg": b"A"}, code=137)
    world.commit_batch(again)
    left = {world.take().keys[0], world.take().keys[0]}
    assert left == {b"a.jpg", b"d/b.jpg"}, "each is tried by itself"
    assert any("exit 137" in reason for reason in world.told)


def test_what_a_program_reported_before_it_was_killed_stays_as_it_is(world: World) -> None:
    attempt = world.take()
    attempt.containers = 2
    world.stage({}, code=137, report=[{"path": "a.jpg", "ok": False, "error": "not today"}])
    world.commit_batch(attempt)
    assert world.stats.failed[b"a.jpg"].reason == "not today"
    assert world.take("worker-2").batch.exclusive
