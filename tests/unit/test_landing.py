"""What a batch left in staging, and what is made of it: in DST, in the ledger, in the joblog, in the tally."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from fanout import results
from fanout.deck import Deck, Flight
from fanout.expect import Expected
from fanout.faults import Reasons
from fanout.joblog import Joblog
from fanout.landing import INODES, Cargo, Shore, Tally, unload
from fanout.ledger import Fact, Ledger
from fanout.ownership import Ownership
from fanout.plan import Batch, Input
from fanout.watch import FULL
from provision.errors import HostError, RunUnfinished
from tests.unit.samples import HOSTILE, read_tree

DARK = "it is too dark"
DAMAGED = "its result is not what the worker computed (damaged on the way)"
NO_PROGRAM = "docker: Error response from daemon: exec: \"x\": not found\nSee 'docker run --help'.\n"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class World:
    """A run with one worker's batch in hand, and the folders it lands in."""

    def __init__(self, top: Path, keys: tuple[bytes, ...], *, retries: int = 0) -> None:
        self.dst, self.staging = top / "dst", top / "staging" / "batch"
        self.dst.mkdir(exist_ok=True)
        self.deck, self.tally = Deck(retries=retries), Tally()
        self.deck.deal({"worker-1": [Input(key, len(key)) for key in keys], "worker-2": []})
        self.ledger, self.joblog = Ledger(top / "ledger.db"), Joblog(top / "joblog.tsv")
        self.extra = top / "extra"
        self.ownership = Ownership(keys, (), [], self.deck.is_settled, lambda key: False)
        self.told: list[str] = []
        self.shore = Shore(
            str(self.dst), str(top / "staging"), str(self.extra), "program", self.ledger, self.joblog, self.ownership,
            Reasons(self.told.append),
        )  # fmt: skip
        self.log = top / "joblog.tsv"

    def own(self, ownership: Ownership) -> None:
        """Let paths in DST belong to these inputs."""
        self.shore = dataclasses.replace(self.shore, ownership=ownership)

    def take(self, worker: str = "worker-1", *, copy: bool = False) -> Cargo:
        def worth(flight: Flight, flights: list[Flight]) -> bool:
            return copy

        batch = self.deck.take(worker, lambda waiting: 10**12, worth)
        assert batch is not None
        hashes = {item.key: digest(b"in " + item.key) for item in batch.inputs}
        return Cargo(batch, worker, hashes, {}, 1002.5)

    def stage(
        self, made: dict[bytes, bytes], *, code: int = 0, log: str = "", report: Sequence[Mapping[str, object]] = (),
        free: int = 10**10, inodes: int = 10**6, late: bool = False,
    ) -> None:  # fmt: skip
        """What a pull brings home."""
        (self.staging / "data").mkdir(parents=True)
        for key, content in made.items():
            path = os.path.join(os.fsencode(self.staging), b"data", key)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        records = [f"{digest(content)}  ./".encode() + key + b"\0" for key, content in made.items()]
        (self.staging / "manifest").write_bytes(b"".join(records))
        (self.staging / "links").write_bytes(b"")
        (self.staging / "exit").write_text(f"{code}\n{2_500_000_000}\n{free} 1 {10**7} {inodes} {int(late)}\n")
        (self.staging / "log").write_text(log)
        (self.staging / "report.jsonl").write_text("".join(json.dumps(line) + "\n" for line in report))

    def unload(self, cargo: Cargo) -> int:
        settled, seconds = unload(cargo, str(self.staging), self.deck, self.shore, self.tally)
        assert seconds == 2.5
        return settled

    def lines(self) -> list[list[str]]:
        return [line.split("\t") for line in self.log.read_text("utf-8", "surrogateescape").splitlines()[1:]]

    def untouched(self) -> bool:
        """Whether nothing came of it."""
        books = [*self.ledger.inputs("program"), *self.ledger.failures(), *self.lines(), *self.tally.failed]
        return not books and not self.tally.done and read_tree(self.dst) == {}


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
    cargo = world.take()
    made = {b"a.jpg": b"A", b"d/b-1.png": b"B1", b"d/b-2.png": b"B22"}
    world.stage(made, report=({"path": "a.jpg", "ok": True, "seconds": 0.25},))
    assert world.unload(cargo) == 2
    assert read_tree(world.dst) == made
    assert world.deck.left == 0
    assert world.ledger.outputs(b"a.jpg", digest(b"in a.jpg"), "program") == {b"a.jpg": digest(b"A")}
    assert world.ledger.outputs(b"d/b.jpg", digest(b"in d/b.jpg"), "program") == {
        b"d/b-1.png": digest(b"B1"), b"d/b-2.png": digest(b"B22"),
    }  # fmt: skip
    assert dict(world.ledger.inputs("program")) == {b"a.jpg": digest(b"in a.jpg"), b"d/b.jpg": digest(b"in d/b.jpg")}
    for path, content in made.items():
        assert world.ledger.places_of(digest(content)) == [os.path.join(os.fsencode(world.dst), path)]
    assert world.lines() == [
        ["a.jpg", "worker-1", cargo.batch.name, "1000.000", "0.250", "5", "1", "1", "0", digest(b"A")],
        ["d/b.jpg", "worker-1", cargo.batch.name, "1000.000", "2.500", "7", "5", "1", "0",
         f"{digest(b'B1')},{digest(b'B22')}"],
    ]  # fmt: skip
    tally = world.tally
    assert (tally.done, tally.results, tally.bytes_in, tally.bytes_out, tally.extra) == (2, 3, 12, 6, 0)
    assert tally.failed == {}


def test_hostile_names_land(tmp_path: Path) -> None:
    world = World(tmp_path, HOSTILE)
    cargo = world.take()
    made = {key: b"made of " + key for key in HOSTILE}
    world.stage(made)
    assert world.unload(cargo) == len(HOSTILE)
    assert read_tree(world.dst) == made
    assert len(world.lines()) == len(HOSTILE)
    assert [key for key, _ in world.ledger.inputs("program")] == sorted(HOSTILE)
    world.ledger.close()
    world.joblog.close()


def test_what_failed_is_told_with_its_reason_and_the_last_words_about_it(world: World) -> None:
    cargo = world.take()
    report = {"path": "d/b.jpg", "ok": False, "error": DARK, "seconds": 0.5}, {"path": "a.jpg", "ok": True}
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"half"}, code=3, report=report, log="1\nb.jpg: dark\n2\n")
    assert world.unload(cargo) == 2
    assert read_tree(world.dst) == {b"a.jpg": b"A"}
    (failure,) = world.tally.failed.values()
    assert (failure.path, failure.reason, failure.worker, failure.tries, failure.words) == (
        "d/b.jpg", DARK, "worker-1", 1, ["b.jpg: dark"],
    )  # fmt: skip
    assert world.ledger.failures() == {b"d/b.jpg": DARK}
    assert world.ledger.input_hash(b"d/b.jpg") is None
    assert [line[0:1] + line[4:] for line in world.lines()] == [
        ["a.jpg", "2.500", "5", "1", "1", "0", digest(b"A")], ["d/b.jpg", "0.500", "7", "0", "1", "3", "-"],
    ]  # fmt: skip
    assert (world.tally.done, world.deck.left) == (1, 0)


def test_a_failure_in_a_batch_that_ended_well_has_exit_code_1(world: World) -> None:
    cargo = world.take()
    world.stage({b"a.jpg": b"A"})
    assert world.unload(cargo) == 2
    assert [(line[0], line[8]) for line in world.lines()] == [("a.jpg", "0"), ("d/b.jpg", "1")]
    assert world.ledger.failures() == {b"d/b.jpg": "the program ended well but left no result for it"}


def test_what_fails_is_told_after_its_last_try_only(patient: World) -> None:
    cargo = patient.take()
    report = tuple({"path": key, "ok": False, "error": DARK} for key in ("a.jpg", "d/b.jpg"))
    patient.stage({}, code=1, report=report)
    assert patient.unload(cargo) == 0
    assert patient.untouched()
    again = patient.take("worker-2")
    assert {item.key for item in again.batch.inputs} == {b"a.jpg", b"d/b.jpg"}
    (patient.staging / "report.jsonl").write_text(json.dumps(report[0]) + "\n" + '{"path": "d/b.jpg", "ok": true}\n')
    (patient.staging / "data" / "d").mkdir()
    (patient.staging / "data" / "d" / "b.jpg").write_bytes(b"B")
    (patient.staging / "manifest").write_text(f"{digest(b'B')}  ./d/b.jpg\0")
    assert patient.unload(again) == 2
    assert patient.tally.failed[b"a.jpg"].tries == 2
    assert [(line[0], line[7]) for line in patient.lines()] == [("d/b.jpg", "2"), ("a.jpg", "2")]


def test_inputs_of_unknown_fate_are_not_told(world: World) -> None:
    cargo = world.take()
    world.stage({b"a.jpg": b"half"}, code=137)
    assert world.unload(cargo) == 0
    assert world.untouched()
    assert world.deck.left == 2


@pytest.mark.parametrize(
    ("content", "reason"), [(b"damaged", DAMAGED), (None, "its result d/b-2.jpg did not arrive (")]
)
def test_a_damaged_result_does_not_land(world: World, content: bytes | None, reason: str) -> None:
    """None of an input's results lands if one of them is not what it was, and no other input suffers."""
    cargo = world.take()
    world.stage({b"a.jpg": b"A", b"d/b-1.jpg": b"B1", b"d/b-2.jpg": b"B2"})
    path = world.staging / "data" / "d" / "b-2.jpg"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert world.unload(cargo) == 2
    assert read_tree(world.dst) == {b"a.jpg": b"A"}
    assert world.tally.failed[b"d/b.jpg"].reason.startswith(reason)
    assert dict(world.ledger.inputs("program")).keys() == {b"a.jpg"}


def test_a_result_that_something_in_dst_is_in_the_way_of(world: World) -> None:
    """It is done as far as the workers go: another try would not do better."""
    (world.dst / "a.jpg" / "folder").mkdir(parents=True)
    cargo = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    assert world.unload(cargo) == 2
    assert read_tree(world.dst) == {b"d/b.jpg": b"B"}
    assert world.tally.failed[b"a.jpg"].reason.startswith("its result can't be written to DST (")
    assert world.ledger.failures().keys() == {b"a.jpg"}
    assert (world.tally.done, len(world.tally.failed), world.deck.left) == (1, 1, 0)
    assert [(line[0], line[8]) for line in world.lines()] == [("d/b.jpg", "0"), ("a.jpg", "1")]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_dst_without_room_ends_the_run_and_nobody_is_blamed(
    world: World, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(staging: bytes, dst: bytes, path: bytes) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(results, "land", full)
    cargo = world.take()
    world.stage({b"a.jpg": b"A"})
    with pytest.raises(RunUnfinished, match=r"DST can't be written \(.*; make room there"):
        world.unload(cargo)
    assert (world.tally.done, world.tally.failed, world.ledger.failures()) == (0, {}, {})


# ---- when it is not the input's fault


@pytest.mark.parametrize(("free", "inodes"), [(0, 10**6), (2 * 7 + FULL - 1, 10**6), (10**10, 0), (10**10, INODES - 1)])
@pytest.mark.parametrize("reported", [True, False])
def test_a_full_worker_is_to_blame_for_what_failed_on_it(world: World, free: int, inodes: int, reported: bool) -> None:
    line = {"path": "a.jpg", "ok": False, "error": "No space left on device"}
    cargo = world.take()
    world.stage({b"d/b.jpg": b"B"}, code=1, report=[line] if reported else [], free=free, inodes=inodes)
    with pytest.raises(HostError, match="its disk is full") as caught:
        world.unload(cargo)
    assert caught.value.host == "worker-1"
    assert world.untouched()
    assert world.deck.lose("worker-1") == 1
    assert len(world.take("worker-2").batch.inputs) == 2


def test_what_is_done_on_a_full_worker_counts(world: World) -> None:
    cargo = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"}, free=0, inodes=0)
    assert world.unload(cargo) == 2


def test_a_worker_with_just_enough_room_is_not_to_blame(world: World) -> None:
    cargo = world.take()
    world.stage({}, free=2 * 7 + FULL, inodes=INODES)
    assert world.unload(cargo) == 2
    assert len(world.tally.failed) == 2


def test_a_container_that_did_not_start_is_the_workers_fault(world: World) -> None:
    cargo = world.take()
    world.stage({}, code=125, log="docker: Cannot connect to the Docker daemon.\nSee 'docker run --help'.\n")
    with pytest.raises(HostError, match=r"could not run a container \(docker: Cannot connect to the Docker daemon.\)"):
        world.unload(cargo)
    assert world.untouched()


@pytest.mark.parametrize("name", ["exit", "log", "manifest", "links", "report.jsonl"])
def test_what_did_not_arrive_is_the_workers_fault(world: World, name: str) -> None:
    cargo = world.take()
    world.stage({b"a.jpg": b"A"})
    (world.staging / name).unlink()
    with pytest.raises(HostError, match=rf"lost the {name} of a batch \(No such file"):
        world.unload(cargo)
    assert world.untouched()


@pytest.mark.parametrize("text", ["", "0\n", "0\n12", "garbage"])
def test_an_end_that_is_not_whole_is_the_workers_fault(world: World, text: str) -> None:
    cargo = world.take()
    world.stage({b"a.jpg": b"A"})
    (world.staging / "exit").write_text(text)
    with pytest.raises(HostError, match="wrote the end of a batch only in part"):
        world.unload(cargo)
    assert world.untouched()


# ---- when another try is of no use


def test_an_image_without_the_program_fails_all_at_once(patient: World) -> None:
    cargo = patient.take()
    patient.stage({}, code=127, log=NO_PROGRAM)
    assert patient.unload(cargo) == 2
    assert {failure.reason for failure in patient.tally.failed.values()} == {
        'the program can\'t be started: docker: Error response from daemon: exec: "x": not found'
    }
    assert patient.deck.left == 0


def test_an_input_that_could_not_be_read_is_not_tried_again(patient: World) -> None:
    cargo = patient.take()
    del cargo.hashes[b"a.jpg"]
    cargo.unreadable[b"a.jpg"] = "it can't be read in SRC (No such file or directory)"
    patient.stage({b"d/b.jpg": b"B"})
    assert patient.unload(cargo) == 2
    assert patient.ledger.failures() == {b"a.jpg": cargo.unreadable[b"a.jpg"]}
    assert (patient.deck.left, patient.tally.done) == (0, 1)


def test_an_input_that_could_not_be_read_has_no_result_of_another(tmp_path: Path) -> None:
    world = World(tmp_path, (b"a.png", b"a.tif"))
    cargo = world.take()
    del cargo.hashes[b"a.png"]
    cargo.unreadable[b"a.png"] = "it is a link to nowhere, which can't be read"
    world.stage({b"a.png": b"of a.tif"})
    assert world.unload(cargo) == 2
    assert world.ledger.failures().keys() == {b"a.png"}
    assert dict(world.ledger.inputs("program")).keys() == {b"a.tif"}
    world.ledger.close()
    world.joblog.close()


def test_an_input_that_changed_on_its_way_is_done_but_not_written_down(world: World) -> None:
    """The next run does it again: nobody knows of what this is the result."""
    cargo = world.take()
    del cargo.hashes[b"a.jpg"]
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    assert world.unload(cargo) == 2
    assert (world.dst / "a.jpg").read_bytes() == b"A"
    assert dict(world.ledger.inputs("program")).keys() == {b"d/b.jpg"}


# ---- twice


def restage(world: World, made: dict[bytes, bytes]) -> None:
    world.staging = world.staging.with_name("copy")
    world.stage(made)


def test_a_copy_counts_nothing_that_is_done(world: World) -> None:
    first, copy = world.take(), world.take("worker-2", copy=True)
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    assert world.unload(first) == 2
    before = (world.dst / "a.jpg").stat()
    restage(world, {b"a.jpg": b"A", b"d/b.jpg": b"B"})
    assert world.unload(copy) == 0
    assert (world.dst / "a.jpg").stat() == before
    assert (world.tally.done, world.tally.results, len(world.lines())) == (2, 2, 2)
    assert world.deck.left == 0


def test_a_copy_counts_what_the_first_one_left_open(world: World) -> None:
    first, copy = world.take(), world.take("worker-2", copy=True)
    world.stage({b"a.jpg": b"A"}, code=1, report=({"path": "a.jpg", "ok": True},))
    assert world.unload(first) == 1
    restage(world, {b"a.jpg": b"another", b"d/b.jpg": b"B"})
    assert world.unload(copy) == 1
    assert read_tree(world.dst) == {b"a.jpg": b"A", b"d/b.jpg": b"B"}
    assert (world.tally.done, world.deck.left) == (2, 0)


def test_what_a_lost_worker_has_brought_home_counts(world: World) -> None:
    """What it failed at doesn't: it may be its own fault."""
    cargo = world.take()
    world.deck.lose("worker-1")
    world.stage({b"a.jpg": b"A"}, code=1, report=({"path": "a.jpg", "ok": True}, {"path": "d/b.jpg", "ok": False}))
    assert world.unload(cargo) == 1
    assert (world.tally.done, world.tally.failed, world.deck.left) == (1, {}, 1)
    assert [item.key for item in world.take("worker-2").batch.inputs] == [b"d/b.jpg"]


# ---- what belongs to no input


def test_results_of_nobody_are_kept_apart_if_they_may(world: World) -> None:
    cargo = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B", b"index.html": b"I", b".fanrun/ledger.db": b"evil", b"gone": b"G"})
    (world.staging / "data" / "gone").unlink()
    assert world.unload(cargo) == 2
    assert read_tree(world.dst) == {b"a.jpg": b"A", b"d/b.jpg": b"B"}
    assert read_tree(world.extra) == {f"{cargo.batch.name}/index.html".encode(): b"I"}
    assert (world.tally.extra, world.tally.results) == (1, 2)


def test_the_book_is_written_before_the_results_land(world: World) -> None:
    """A run that dies in between leaves no result that nobody knows of."""
    (world.dst / "a.jpg").mkdir()
    cargo = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    world.unload(cargo)
    assert world.ledger.outputs(b"a.jpg", digest(b"in a.jpg"), "program") == {b"a.jpg": digest(b"A")}
    world.ledger.record("program", [Fact(b"a.jpg", digest(b"in a.jpg"), {b"a.jpg": digest(b"A")})])
    assert world.ledger.failures() == {}


def test_the_books_of_a_worker_add_up_its_seconds() -> None:
    tally = Tally()
    for seconds in (0.5, 1.0):
        tally.busy("push", seconds)
    assert tally.seconds == {"push": 1.5, "process": 0.0, "pull": 0.0}


def test_a_batch_of_one_input_that_ends_badly_is_that_inputs_failure(tmp_path: Path) -> None:
    world = World(tmp_path, (b"a.jpg",))
    cargo = world.take()
    assert cargo.batch == Batch(cargo.batch.name, (Input(b"a.jpg", 5),))
    world.stage({}, code=137, late=True)
    assert world.unload(cargo) == 1
    assert "finished nothing within the timeout" in world.tally.failed[b"a.jpg"].reason
    world.ledger.close()
    world.joblog.close()


def test_a_program_that_was_ended_with_the_run_is_no_inputs_failure(tmp_path: Path) -> None:
    """Nor a reason that is told, though two batches end so."""
    world = World(tmp_path, (b"a.jpg",))
    cargo = world.take()
    world.deck.stop()
    world.stage({}, code=137)
    assert world.unload(cargo) == 0
    assert world.tally.failed == {}
    assert world.told == []
    assert world.shore.reasons.stop == ""
    assert world.deck.left == 1
    world.ledger.close()
    world.joblog.close()


def test_batches_that_fail_alike_end_the_run(tmp_path: Path) -> None:
    world = World(tmp_path, (b"a", b"b", b"c"))
    for _ in range(2):
        batch = world.deck.take("worker-1", lambda waiting: 1, lambda flight, flights: False)
        assert batch is not None
        world.stage({}, code=2)
        settled = world.unload(Cargo(batch, "worker-1", {}, {}, 1002.5))
        shutil.rmtree(world.staging)
    assert settled == 2
    assert world.told == ["worker-1: a: the program ended with exit 2: it said nothing"]
    assert world.shore.reasons.stop.startswith("every batch ends with exit 2: it said nothing; stopped")
    assert [item.key for item in world.shore.abandoned] == [b"c"]
    assert world.ledger.failures()[b"c"] == f"not tried: {world.shore.reasons.stop}"
    assert world.deck.left == 0
    world.ledger.close()
    world.joblog.close()


def test_a_result_of_nobody_that_something_is_in_the_way_of_harms_no_input(world: World) -> None:
    cargo = world.take()
    (world.extra / cargo.batch.name / "index.html").mkdir(parents=True)
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B", b"index.html": b"I"})
    assert world.unload(cargo) == 2
    assert world.tally.extra == 0


def test_a_result_of_nobody_does_not_count_when_the_program_was_stopped(world: World) -> None:
    cargo = world.take()
    world.stage({b"a.jpg": b"A", b".part": b"half"}, code=143, report=[{"path": "a.jpg", "ok": True}])
    assert world.unload(cargo) == 1
    assert read_tree(world.dst) == {b"a.jpg": b"A"}


# ---- one path, two inputs


def staged(world: World, name: str, made: dict[bytes, bytes]) -> None:
    world.staging = world.staging.with_name(name)
    world.stage(made)


@pytest.fixture
def scans(tmp_path: Path) -> Iterator[World]:
    """Inputs whose results may have one path."""
    made = World(tmp_path, (b"scan.bmp", b"scan.jpg", b"scan.tif"), retries=2)
    yield made
    made.ledger.close()
    made.joblog.close()


def one(world: World, key: bytes) -> Cargo:
    """A batch of that input alone."""
    batch = Batch(f"worker-1.{key.decode()}", (Input(key, 1),))
    with world.deck._change:
        world.deck._flights[batch.name] = Flight("worker-1", batch, 0.0)
        world.deck._aloft[key] += 1
    return Cargo(batch, "worker-1", {key: digest(b"in " + key)}, {}, 1002.5)


def unload_one(world: World, key: bytes, made: dict[bytes, bytes]) -> int:
    cargo = one(world, key)
    staged(world, f"{os.fsdecode(key).replace('/', '_')} {len(list(world.staging.parent.glob('*')))}", made)
    return world.unload(cargo)


@pytest.mark.parametrize("order", list(itertools.permutations((b"scan.bmp", b"scan.jpg", b"scan.tif"))))
def test_a_path_belongs_to_the_first_input_in_whatever_order_they_come(scans: World, order: tuple[bytes, ...]) -> None:
    """The others fail at once, with a reason that names both."""
    scans.deck.take("worker-1", lambda waiting: 10**12, lambda flight, flights: False)
    settled = [unload_one(scans, key, {b"scan.png": key}) for key in order]
    assert sum(settled) == 3
    assert read_tree(scans.dst) == {b"scan.png": b"scan.bmp"}
    reason = "its result scan.png has the same path as that of scan.bmp, which keeps it"
    assert scans.ledger.failures() == {b"scan.jpg": reason, b"scan.tif": reason}
    assert dict(scans.ledger.inputs("program")).keys() == {b"scan.bmp"}
    assert (scans.deck.left, scans.tally.done, scans.shore.held, scans.shore.waiting) == (0, 1, {}, {})


@pytest.mark.parametrize("order", list(itertools.permutations((b"scan.bmp", b"scan.jpg", b"scan.tif"))))
def test_an_input_that_fails_leaves_its_path_to_the_next(scans: World, order: tuple[bytes, ...]) -> None:
    scans.deck.take("worker-1", lambda waiting: 10**12, lambda flight, flights: False)
    for key in order:
        unload_one(scans, key, {} if key == b"scan.bmp" else {b"scan.png": key, key + b".txt": key})
    for _ in range(2):
        unload_one(scans, b"scan.bmp", {})
    assert read_tree(scans.dst) == {b"scan.png": b"scan.jpg", b"scan.jpg.txt": b"scan.jpg"}
    assert scans.ledger.failures().keys() == {b"scan.bmp", b"scan.tif"}
    assert (scans.deck.left, scans.tally.done) == (0, 1)


def test_an_owner_that_the_ledger_knows_keeps_its_path(tmp_path: Path) -> None:
    world = World(tmp_path, (b"scan.bmp", b"scan.tif"))
    recorded = [(b"scan.png", b"scan.jpg"), (b"scan.txt", b"scan.tif"), (b"gone.txt", b"gone")]
    world.own(Ownership((b"scan.bmp", b"scan.tif"), [b"scan.jpg"], recorded, world.deck.is_settled, lambda key: False))
    assert unload_one(world, b"scan.bmp", {b"scan.txt": b"1"}) == 0, "it waits for the owner, which is to be done"
    assert unload_one(world, b"scan.tif", {b"scan.txt": b"2"}) == 2
    assert read_tree(world.dst) == {b"scan.txt": b"2"}
    assert "that of scan.tif" in world.ledger.failures()[b"scan.bmp"]
    world.ledger.close()
    world.joblog.close()
    (tmp_path / "again").mkdir()
    again = World(tmp_path / "again", (b"scan.bmp",))
    again.own(Ownership((b"scan.bmp",), [b"scan.jpg"], recorded, again.deck.is_settled, lambda key: key == b"scan.tif"))
    assert unload_one(again, b"scan.bmp", {b"scan.png": b"1"}) == 1
    assert "scan.png has the same path as that of scan.jpg" in again.ledger.failures()[b"scan.bmp"]
    ownership = again.shore.ownership
    assert "that of scan.tif" in ownership.refusal(b"scan.bmp", [b"scan.txt"]), "it is in SRC, though not in this run"
    assert ownership.refusal(b"scan.bmp", [b"gone.txt"]) == "", "its input is not in SRC any more"
    again.ledger.close()
    again.joblog.close()


def test_names_that_dst_can_not_tell_apart_are_one_path(tmp_path: Path) -> None:
    world = World(tmp_path, (b"A.jpg", b"a.jpg"))
    world.own(Ownership((b"A.jpg", b"a.jpg"), (), [], world.deck.is_settled, lambda key: False, bytes.lower))
    world.deck.take("worker-1", lambda waiting: 10**12, lambda flight, flights: False)
    assert unload_one(world, b"a.jpg", {b"a.jpg": b"a"}) == 0
    assert unload_one(world, b"A.jpg", {b"A.jpg": b"A"}) == 2
    assert read_tree(world.dst) == {b"A.jpg": b"A"}
    assert "its result a.jpg has the same path as that of A.jpg" in world.ledger.failures()[b"a.jpg"]
    world.ledger.close()
    world.joblog.close()


def test_inputs_that_wait_for_each_other_come_to_an_end(tmp_path: Path) -> None:
    """The first one fits one path better, the second one the other."""
    world = World(tmp_path, (b"s.jpg", b"s.png"))
    world.deck.take("worker-1", lambda waiting: 10**12, lambda flight, flights: False)
    assert unload_one(world, b"s.jpg", {b"s.png": b"1", b"s.txt": b"1"}) == 0
    assert unload_one(world, b"s.png", {b"s.png": b"2", b"s.txt": b"2"}) == 2
    assert set(read_tree(world.dst).values()) == {b"1"}
    assert (world.deck.left, world.tally.done, len(world.tally.failed)) == (0, 1, 1)
    world.ledger.close()
    world.joblog.close()


def test_inputs_between_which_names_do_not_decide_are_tried_apart(scans: World) -> None:
    cargo = scans.take()
    staged(scans, "first", {b"scan.png": b"?", b"scan.tif.txt": b"T"})
    assert scans.unload(cargo) == 0
    assert read_tree(scans.dst) == {}
    parts = [scans.take().batch.inputs for _ in range(3)]
    assert parts == [(Input(b"scan.bmp", 8),), (Input(b"scan.jpg", 8),), (Input(b"scan.tif", 8),)]
    assert scans.tally.failed == {}


def test_a_permanent_failure_is_not_tried_again(scans: World) -> None:
    cargo = scans.take()
    lines = [{"path": "./scan.bmp", "ok": False, "error": "not an image", "permanent": True}]
    lines += [{"path": f"/in/scan.{end}", "ok": False, "error": "busy"} for end in ("jpg", "tif")]
    scans.stage({}, code=1, report=lines)
    assert scans.unload(cargo) == 1
    assert scans.ledger.failures() == {b"scan.bmp": "not an image"}


def test_a_result_that_was_removed_is_found_at_the_end(world: World) -> None:
    cargo = world.take()
    world.stage({b"a.jpg": b"A", b"d/b.jpg": b"B"})
    world.unload(cargo)
    assert world.shore.vanished() == []
    (world.dst / "d" / "b.jpg").unlink()
    assert world.shore.vanished() == [b"d/b.jpg"]


def test_expected_results_of_one_path_belong_to_the_first_whatever_the_order(tmp_path: Path) -> None:
    """Also where their names do not tell."""
    world = World(tmp_path, (b"x/a.tif", b"y/a.tif"))
    world.shore = dataclasses.replace(world.shore, expected=Expected(("{folder}/../all/{stem}.png",)))
    keys = (b"x/a.tif", b"y/a.tif")
    world.own(Ownership(keys, (), [], world.deck.is_settled, lambda key: False, expected=world.shore.expected.paths))
    world.deck.take("worker-1", lambda waiting: 10**12, lambda flight, flights: False)
    assert unload_one(world, b"y/a.tif", {b"all/a.png": b"y"}) == 0
    assert unload_one(world, b"x/a.tif", {b"all/a.png": b"x"}) == 2
    assert read_tree(world.dst) == {b"all/a.png": b"x"}
    world.ledger.close()
    world.joblog.close()


def test_many_that_wait_for_one_are_released_together(tmp_path: Path) -> None:
    keys = (b"scan.tif", *(b"scan_%04d.tif" % n for n in range(300)))
    world = World(tmp_path, keys)
    world.deck.take("worker-1", lambda waiting: 10**12, lambda flight, flights: False)
    batch = Batch("worker-1.all", tuple(Input(key, 1) for key in keys[1:]))
    world.deck._flights[batch.name] = Flight("worker-1", batch, 0.0)
    world.deck._aloft.update(keys[1:])
    world.stage({key.replace(b".tif", b".png"): key for key in keys[1:]})
    assert world.unload(Cargo(batch, "worker-1", dict.fromkeys(keys, "h"), {}, 1002.5)) == 0
    assert unload_one(world, b"scan.tif", {b"scan.png": b"scan.tif"}) == 301
    assert len(read_tree(world.dst)) == 301
    assert (world.deck.left, world.tally.done, world.shore.held, world.shore.waiting) == (0, 301, {}, {})
    world.ledger.close()
    world.joblog.close()


def test_files_of_nobody_are_kept_once_where_every_input_failed(patient: World) -> None:
    """From the last try alone: the others leave them as well."""
    cargo = patient.take()
    staged(patient, "first", {b"summary.csv": b"1"})
    assert patient.unload(cargo) == 0
    assert not patient.extra.exists()
    again = patient.take("worker-2")
    staged(patient, "again", {b"summary.csv": b"2"})
    assert patient.unload(again) == 2
    assert read_tree(patient.extra) == {f"{again.batch.name}/summary.csv".encode(): b"2"}
    assert patient.tally.extra == 1
