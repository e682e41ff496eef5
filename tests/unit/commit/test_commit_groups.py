"""A group of inputs is committed, failed and tried again as one, and each of its files is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout.grouping import Grouping, group
from fanrun.fanout.plan import Input
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.groups import digest as digest_of
from fanrun.fanout.results.groups import groups_of
from fanrun.fanout.results.ownership import Ownership, RunInputs
from tests.unit.commit_world import World, digest
from tests.unit.samples import read_tree
from tests.unit.schedulers import Waits, take

KEYS = (b"a_1", b"a_2", b"b_1", b"b_2", b"c")


class Groups(World):
    """A run over two pairs and a single file."""

    def __init__(self, top: Path, retries: int) -> None:
        super().__init__(top, (), retries=retries)
        self.units = group([Input(key, 10) for key in KEYS], Grouping("(.*)_[12]"))
        self.scheduler.add_worker("worker-1")
        self.scheduler.deal({"worker-3": self.units})
        keys = [item.key for item in self.units]
        inputs = RunInputs(keys, groups=groups_of(self.units))
        self.own(Ownership(inputs, self.scheduler.is_settled, lambda key: False))
        self.destination.stats["worker-3"] = self.stats

    def attempt(self, worker: str = "worker-3") -> Attempt:
        batch = take(self.scheduler, worker)
        hashes = {item.key: digest_of(item, digest) for item in batch.inputs}
        return Attempt(batch, worker, hashes, {}, 1002.5)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Groups]:
    made = Groups(tmp_path, 1)
    yield made
    made.ledger.close()
    made.joblog.close()


def test_all_files_of_a_group_are_done_with_its_result(world: Groups) -> None:
    attempt = world.attempt()
    assert [item.key for item in attempt.batch.inputs] == [b"a_1", b"b_1", b"c"]
    world.stage({b"a.out": b"both", b"b_2.out": b"2", b"c": b"3"})
    assert world.commit_batch(attempt) == 5
    assert read_tree(world.dst) == {b"a.out": b"both", b"b_2.out": b"2", b"c": b"3"}
    assert [(line[0], *line[5:7], line[8], line[9]) for line in world.lines()] == [
        ("a_1", "10", "4", "0", digest(b"both")),
        ("a_2", "10", "0", "0", "-"),
        ("b_1", "10", "1", "0", digest(b"2")),
        ("b_2", "10", "0", "0", "-"),
        ("c", "10", "1", "0", digest(b"3")),
    ]
    assert (world.stats.done, world.stats.results, world.stats.bytes_in, world.stats.bytes_out) == (5, 3, 50, 6)
    hashes = dict(world.ledger.inputs("program"))
    assert hashes.keys() == set(KEYS)
    assert hashes[b"a_1"] == hashes[b"a_2"] != hashes[b"b_1"]
    assert world.ledger.owners("program") == [(b"c", b"c"), (b"b_2.out", b"b_1"), (b"a.out", b"a_1")]
    assert world.ledger.groups() == {b"a_1": [b"a_1", b"a_2"], b"b_1": [b"b_1", b"b_2"]}


def test_all_files_of_a_group_fail_with_its_reason(world: Groups) -> None:
    """It is tried again as one, as often as a file would be."""
    reason = "a_2 of its group: bad"
    for number, settled in ((1, 3), (2, 2)):
        world.stage_as(f"batch {number}", {b"a_1": b"half", b"b_1": b"1", b"c": b"3"}, code=0)
        (world.staging / "report.jsonl").write_text('{"path": "a_2", "ok": false, "error": "bad"}\n')
        attempt = world.attempt("worker-3" if number == 1 else "worker-1")
        assert [len(item.files) for item in attempt.batch.inputs] == ([2, 2, 1] if number == 1 else [2])
        assert world.commit_batch(attempt) == settled
    assert read_tree(world.dst) == {b"b_1": b"1", b"c": b"3"}
    assert world.ledger.failures() == {b"a_1": reason, b"a_2": reason}
    assert {key: (found.reason, found.tries) for key, found in world.stats.failed.items()} == {
        b"a_1": (reason, 2),
        b"a_2": (reason, 2),
    }
    assert [line[0] for line in world.lines() if line[8] == "1"] == ["a_1", "a_2"]
    assert world.scheduler.left == 0


def test_a_batch_without_results_is_divided_between_groups(world: Groups) -> None:
    world.scheduler.add_worker("worker-1")
    batches = list[set[bytes]]()
    while world.scheduler.left:
        try:
            attempt = world.attempt()
        except Waits:
            attempt = world.attempt("worker-1")
        batches.append(set(attempt.paths()))
        world.stage_as(f"batch {len(batches)}", {}, code=3)
        world.commit_batch(attempt)
    assert batches[0] == set(KEYS)
    pairs = {b"a_1", b"a_2"}, {b"b_1", b"b_2"}
    assert all(pair <= batch or pair.isdisjoint(batch) for pair in pairs for batch in batches)
    assert world.ledger.failures().keys() == set(KEYS)


def test_a_group_with_a_file_that_can_not_be_read_fails_as_a_whole(world: Groups) -> None:
    attempt = world.attempt()
    attempt.unreadable[b"a_1"] = "a_2 of its group: gone"
    del attempt.hashes[b"a_1"]
    world.stage({b"a_1": b"half", b"b_1": b"1", b"c": b"3"})
    assert world.commit_batch(attempt) == 5
    assert read_tree(world.dst) == {b"b_1": b"1", b"c": b"3"}
    assert world.ledger.failures().keys() == {b"a_1", b"a_2"}
    assert dict(world.ledger.inputs("program")).keys() == {b"b_1", b"b_2", b"c"}


def test_what_is_given_up_is_listed_file_by_file(world: Groups) -> None:
    world.destination.reasons.stop = "stopped"
    world.destination.given_up.extend(world.scheduler.give_up_rest())
    assert [file.key for item in world.destination.given_up for file in item.files] == list(KEYS)


def test_a_group_is_processed_without_other_containers_after_it_was_killed_beside_them(world: Groups) -> None:
    """Also if the program had reported one of its files; where all are reported it is done."""
    attempt = world.attempt()
    attempt.containers = 2
    report = [{"path": path, "ok": True} for path in ("a_1", "b_1", "b_2")]
    world.stage({b"a_1": b"half", b"b.out": b"both"}, code=137, report=report)
    assert world.commit_batch(attempt) == 2
    assert read_tree(world.dst) == {b"b.out": b"both"}
    again = world.attempt("worker-1")
    assert again.batch.exclusive
    assert again.paths() == [b"a_1", b"a_2", b"c"]
