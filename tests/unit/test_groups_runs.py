"""Runs with groups: what is left to do, what is sent, and which groups are refused."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.context import RunContext
from fanrun.fanout.grouping import Grouping, group, grouping
from fanrun.fanout.plan import MAX_BYTES, MAX_INPUTS, Batch, Input, walk
from fanrun.fanout.preflight import check_writable, find_inputs
from fanrun.fanout.request import RunLimits, RunRequest, retry_request
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.groups import digest as digest_of
from fanrun.fanout.results.holding import hold_destination
from fanrun.fanout.results.ledger import Fact, Ledger, program
from fanrun.fanout.resume import owners_by_input, plan_resume
from fanrun.fanout.run import Run
from fanrun.fanout.schedule.shares import Shares
from fanrun.fanout.verify import ledger_path, verify
from fanrun.fanout.workers.executor import CommandResult
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.transfer import Transfer
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from tests.unit.commit_world import World as CommitWorld
from tests.unit.resume_world import World
from tests.unit.run_world import IMAGE, FakeConnections
from tests.unit.samples import FLEET, read_tree, write_tree

SCANS = (b"a.tfw", b"a.tif", b"b.tfw", b"b.tif")
STEM = Grouping("stem")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A DST in which the groups a and b are done: their results are copies of their images."""
    made = World(tmp_path)
    write_tree(made.src, SCANS)
    for item in inputs(made):
        do(made, item)
    yield made
    made.ledger.close()


def inputs(world: World, how: Grouping = STEM) -> list[Input]:
    return group(walk(str(world.src))[0], how)


def do(world: World, item: Input) -> None:
    """Bring the result of a group to DST, and write it down."""

    def hash_of(key: bytes) -> str:
        return world.ledger.hash_of(bytes(world.src) + b"/" + key)

    image = item.files[-1].key
    content = read_tree(world.src)[image]
    (world.dst / image.decode()).write_bytes(content)
    outputs = {image: hash_of(image)}
    others = tuple(file.key for file in item.files[1:])
    world.ledger.record("program", [Fact(item.key, digest_of(item, hash_of), outputs, others)])


def todo(world: World, how: Grouping = STEM, *, by_content: bool = False) -> list[str]:
    found = plan_resume(world.source(change=True, by_content=by_content), inputs(world, how))
    return ["+".join(file.key.decode() for file in item.files) for item in found.todo]


def test_what_is_done_is_kept(world: World) -> None:
    assert todo(world) == []
    assert todo(world, grouping(r"(.*)\.(tif|tfw)")) == [], "it is the same group, whatever made it one"
    assert todo(world, Grouping()) == ["a.tfw", "a.tif", "b.tfw", "b.tif"]
    assert todo(world, Grouping("folder")) == ["a.tfw+a.tif+b.tfw+b.tif"]


@pytest.mark.parametrize("change", ["changed", "new", "gone", "renamed", "no result", "another result"])
def test_a_group_is_done_again_as_a_whole(world: World, change: str) -> None:
    path = world.src / "a.tfw"
    if change == "changed":
        path.write_bytes(b"moved")
    elif change == "new":
        write_tree(world.src, (b"a.prj",))
    elif change == "renamed":
        path.rename(world.src / "a.txt")
    elif change == "gone":
        path.unlink()
    else:
        (world.dst / "a.tif").unlink() if change == "no result" else (world.dst / "a.tif").write_bytes(b"?")
    (found,) = todo(world)
    assert found.split("+") == sorted(path.name for path in world.src.iterdir() if path.name.startswith("a."))
    (again,) = [item for item in inputs(world) if item.key.startswith(b"a.")]
    do(world, again)
    assert todo(world) == []
    assert dict(world.ledger.inputs("program")).keys() == {file.key for item in inputs(world) for file in item.files}


def test_a_group_takes_no_results_of_another_one(world: World) -> None:
    """Nor does a file by itself take those of a group that has an equal one."""
    for name in ("a.tfw", "a.tif"):
        (world.src / f"c{name[1:]}").write_bytes((world.src / name).read_bytes())
    (world.src / "d.tif").write_bytes((world.src / "a.tif").read_bytes())
    assert todo(world, by_content=True) == ["c.tfw+c.tif", "d.tif"]


def test_what_a_group_owned_belongs_to_the_input_that_has_its_files_now(world: World) -> None:
    owners = world.ledger.owners("program")
    assert sorted(owners) == [(b"a.tif", b"a.tfw"), (b"b.tif", b"b.tfw")]
    assert sorted(owners_by_input(owners, world.ledger, [Input(b"a.tif", 1)])) == [
        (b"a.tif", b"a.tif"),  # a.tfw is not in this run
        (b"b.tif", b"b.tfw"),  # nor is anything of that one
    ]
    whole = inputs(world, Grouping("folder"))
    assert sorted(owners_by_input(owners, world.ledger, whole)) == [(b"a.tif", b"a.tfw"), (b"b.tif", b"a.tfw")]


def test_a_file_that_left_its_group_is_not_done_any_more(world: World) -> None:
    write_tree(world.src, (b"a.prj",))
    do(world, inputs(world)[0])
    assert world.ledger.groups()[b"a.prj"] == [b"a.prj", b"a.tfw", b"a.tif"]
    (world.src / "a.prj").unlink()
    assert todo(world) == []
    assert world.ledger.groups() == {b"a.tfw": [b"a.tfw", b"a.tif"], b"b.tfw": [b"b.tfw", b"b.tif"]}
    assert world.ledger.input_hash(b"a.prj") is None


def test_grouping_is_a_part_of_the_program() -> None:
    names = {RunRequest("/", "/", grouping=Grouping(by)).program_name("image") for by in ("", "stem", "folder", "(a)")}
    assert len(names) == 2
    assert program("image", ()) in names


def test_proof_of_groups(world: World) -> None:
    request = RunRequest(str(world.src), str(world.dst), grouping=Grouping("stem", 2))
    world.ledger.begin("r", "program", request.remembered("i"))
    found = verify(str(world.dst), lambda done, total: None)
    assert (found.inputs, found.proven, found.results, found.faults) == (4, 4, 2, {})
    (world.src / "a.tfw").write_bytes(b"moved")
    write_tree(world.src, (b"c.tif",))
    found = verify(str(world.dst), lambda done, total: None)
    changed, single = "it changed since it was processed", "its group has 1 file, and --group-size says 2"
    assert found.faults == {"a.tfw": changed, "a.tif": changed, "c.tif": single}
    (world.src / "a.tif").unlink()
    (world.src / "a.tif").symlink_to("nowhere")
    found = verify(str(world.dst), lambda done, total: None)
    assert found.faults["a.tfw"] == found.faults["a.tif"]
    assert found.faults["a.tfw"].startswith("a.tif of its group: it is a link to nowhere, which can't be read")
    world.src.rename(world.src.with_name("away"))
    found = verify(str(world.dst), lambda done, total: None)
    assert (found.inputs, found.proven, found.faults) == (4, 4, {})


def test_a_retry_takes_the_whole_group(world: World) -> None:
    request = RunRequest(str(world.src), str(world.dst), grouping=Grouping("stem", 2))
    world.ledger.begin("r", "program", request.remembered("i"))
    world.ledger.fail([(b"a.tif", "dark")])
    again, _ = retry_request(str(world.dst), RunLimits())
    assert again.grouping == request.grouping
    assert [file.key for item in find_inputs(again)[0] for file in item.files] == [b"a.tfw", b"a.tif"]
    by_pattern = dataclasses.replace(again, only=frozenset([b"b.tif"]), grouping=Grouping("(a)\\..*"))
    assert [item.key for item in find_inputs(by_pattern)[0]] == [b"b.tif"], "one that the pattern does not match"


def test_groups_of_another_size_fail_and_no_host_is_asked(tmp_path: Path, folder: Folder) -> None:
    write_tree(tmp_path / "src", (b"a.tif", b"b.tif"))
    request = RunRequest(str(tmp_path / "src"), str(tmp_path / "dst"), grouping=Grouping("stem", 2))
    context = RunContext(request, FLEET, IMAGE)
    connections = FakeConnections(folder)
    check_writable(request.dst)
    with hold_destination(context):
        ledger = Ledger(ledger_path(request.dst))
        report = Run(context, connections, Board()).execute(ledger, find_inputs(request)[0], dict)
        assert ledger.failures().keys() == {b"a.tif", b"b.tif"}
        ledger.close()
    assert connections.opened == []
    assert (report.inputs, report.done, report.left) == (2, 0, 0)
    reason = "its group has 1 file, and --group-size says 2"
    assert [(item.path, item.reason, item.tries) for item in report.failed] == [
        ("a.tif", reason, 0),
        ("b.tif", reason, 0),
    ]


def test_a_share_gives_no_more_files_than_a_batch_may_have() -> None:
    half = tuple(Input(b"%d" % number, 1) for number in range(MAX_INPUTS // 2))
    shares = Shares()
    shares.add("w", [Input(b"a", 1, half), Input(b"b", 1, half), Input(b"c", 1), Input(b"d", 2 * MAX_BYTES, half)])
    taken = [[item.key for item in shares.take("w", 10**15, from_end=False)] for _ in range(3)]
    assert taken == [[b"a", b"b"], [b"c"], [b"d"]]


class Sent(Link):
    """A link that notes what was sent, and changes a file while it is."""

    def __init__(self, home: Path, changes: Path | None = None) -> None:
        super().__init__(Folder(home, "default"), "worker-1", "test", threading.Semaphore())
        self.keys: list[bytes] = []
        self.changes = changes

    def push(self, src: str, place: BatchFolder, keys: Sequence[bytes]) -> CommandResult:
        self.keys = list(keys)
        if self.changes:
            self.changes.write_bytes(b"another content")
        return CommandResult(0, b"", "")


@pytest.mark.parametrize(("changes", "hashed"), [("", 2), ("a.tfw", 1), ("a.tif", 1), ("b.tif", 1)])
def test_all_files_of_a_group_are_sent(tmp_path: Path, world: World, changes: str, hashed: int) -> None:
    """A group of which a file changes meanwhile is not known to be done."""
    made = CommitWorld(tmp_path, ())
    attempt = Attempt(Batch("b", tuple(inputs(world))), "worker-1")
    link = Sent(tmp_path / "home", world.src / changes if changes else None)
    Transfer(link, str(world.src), made.destination).send(attempt, BatchFolder("r", "b"))
    assert link.keys == list(SCANS)
    assert len(attempt.hashes) == hashed
    made.ledger.close()
    made.joblog.close()
