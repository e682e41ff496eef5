"""A run: DST held, the resume plan beside the connections, which workers take part, and what a retry does."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest

from fanrun.fanout.context import RunContext
from fanrun.fanout.preflight import check_writable, dry_run, find_inputs
from fanrun.fanout.program import MIB, USUAL, Program, Scratch
from fanrun.fanout.request import RunLimits, RunRequest, again_text, retry_request
from fanrun.fanout.results.holding import hold_destination
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.run import Run
from fanrun.fanout.verify import ledger_path
from fanrun.fanout.workers.fitness import SPARE_BYTES, unfit
from fanrun.fleet.errors import UsageError
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from tests.unit.run_world import IMAGE, FakeConnections, record
from tests.unit.samples import FLEET, PROBE, read_tree, write_tree

PROGRAM = Program("image")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder with an input in `src`."""
    write_tree(tmp_path, (b"src/a",))
    return tmp_path


def test_a_dst_is_held_by_one_run(top: Path) -> None:
    request = RunRequest(str(top / "src"), str(top / "dst"))
    check_writable(request.dst)
    first, second = (RunContext(request, FLEET, IMAGE) for _ in range(2))
    assert first.name != second.name
    with hold_destination(first):
        assert (top / "dst" / ".fanrun" / "staging").is_dir()
        with (
            pytest.raises(UsageError, match=f"is in use by run {first.name} .*; wait for it, or give another"),
            hold_destination(second),
        ):
            pass
    assert sorted(path.name for path in (top / "dst" / ".fanrun").iterdir()) == ["lock", "runs"]
    with hold_destination(second):
        assert Path(second.home).is_dir()


def test_what_a_killed_run_left_is_cleared(top: Path) -> None:
    write_tree(top, (b"dst/.fanrun/staging/worker-1-b/data/a",))
    context = RunContext(RunRequest(str(top / "src"), str(top / "dst")), FLEET, IMAGE)
    with hold_destination(context):
        assert read_tree(top / "dst" / ".fanrun" / "staging") == {}
        assert [path.name for path in (top / "dst" / ".fanrun" / "staging").iterdir()] == [context.name]


def test_workers_without_room_or_docker_take_no_part() -> None:
    needed = 4 * 1000 + SPARE_BYTES
    assert unfit(1000, PROGRAM, dataclasses.replace(PROBE, disk_free=needed)) == ""
    assert unfit(1000, PROGRAM, dataclasses.replace(PROBE, disk_free=needed - 1)).startswith(
        "67 MB free, 67 MB needed; "
    )
    assert unfit(0, PROGRAM, dataclasses.replace(PROBE, docker="")).startswith("its Docker does not answer; ")


def test_workers_without_an_image_that_can_not_be_pulled_take_no_part() -> None:
    program = Program("fanrun.invalid/fanrun/image:0123-aa")
    assert unfit(0, program, PROBE).startswith("it has not the container image; ")
    assert unfit(0, program, dataclasses.replace(PROBE, images=(program.ref,))) == ""


@pytest.mark.parametrize(
    ("memory", "scratch", "words"),
    [
        (0, USUAL, ""),  # what nobody asked for keeps no small worker out
        (0, Scratch(tmp=900 * MIB), ""),
        (0, Scratch(tmp=901 * MIB), "its containers may have 900 MB of memory, and --tmp wants 901 MB of that; "),
        (0, Scratch(shm=1024 * MIB), "its containers may have 900 MB of memory, and --shm wants 1024 MB of that; "),
        (2048 * MIB, Scratch(tmp=1024 * MIB, shm=1024 * MIB), ""),
    ],
)
def test_workers_whose_memory_is_less_than_the_scratch_asked_for_take_no_part(
    memory: int, scratch: Scratch, words: str
) -> None:
    found = unfit(0, Program("image", memory=memory, scratch=scratch), dataclasses.replace(PROBE, memory=1000 * MIB))
    assert found.startswith(words)
    assert bool(found) == bool(words)
    assert unfit(0, PROGRAM, PROBE) == ""


@pytest.mark.parametrize(("source", "by_content"), [("made of our Dockerfile", False), ("", True)])
def test_a_run_sorts_out_unless_it_is_forced(top: Path, folder: Folder, source: str, by_content: bool) -> None:
    write_tree(top / "src", (b"a", b"b"))
    image = dataclasses.replace(IMAGE, source=source)
    ledger = record(top / "dst", (), b"a", image=image)
    (top / "src" / "a").rename(top / "src" / "renamed")
    stream = io.StringIO()
    request = RunRequest(str(top / "src"), str(top / "dst"))
    inputs, _ = find_inputs(request)
    asked = dataclasses.replace(request, by_content=by_content)
    current = Run(
        RunContext(asked, FLEET, image), FakeConnections(folder), Board(total=len(inputs), stream=stream, pause=0)
    )
    forced_context = RunContext(dataclasses.replace(request, force=True), FLEET, IMAGE)
    forced = Run(forced_context, FakeConnections(folder), Board())
    others = Run(RunContext(request, FLEET, IMAGE), FakeConnections(folder), Board())
    rebuilt = dataclasses.replace(image, id="sha256:22")
    with hold_destination(current.context):
        assert others.plan_resume(ledger, inputs).todo == inputs, "what others built may depend on names"
        assert forced.plan_resume(ledger, inputs).todo == inputs
        found = current.plan_resume(ledger, inputs)
    assert dry_run(asked, FLEET, rebuilt).kept == (1 if source else 0), "a build of the same sources has another id"
    assert [item.key for item in found.todo] == [b"b"]
    assert [item.key for item in found.copied] == [b"renamed"]
    assert found.kept == []
    assert "1 of 2 done before, 1 under another name" in stream.getvalue()
    assert (top / "dst" / "renamed").read_bytes() == (top / "src" / "renamed").read_bytes()
    ledger.close()


@pytest.mark.parametrize(
    ("force", "words"),
    [(False, "the same command again goes on from here"), (True, "the same command without --force does those that")],
)
def test_what_the_next_command_does_is_true_of_a_forced_run_as_well(force: bool, words: str) -> None:
    assert again_text(force).startswith(words)


def test_a_retry_is_the_last_run_with_what_failed_in_it(tmp_path: Path) -> None:
    dst = str(tmp_path)
    with pytest.raises(UsageError, match="has no ledger; give a folder that `fab run` brought results to"):
        retry_request(dst, RunLimits())
    check_writable(dst)
    ledger = Ledger(ledger_path(dst))
    with pytest.raises(UsageError, match="no run has begun there yet"):
        retry_request(dst, RunLimits())
    for name, args in (("r1", ("--other",)), ("r2", ("--op", "rotate 90"))):
        request = RunRequest("/src", dst, args, ("*.jpg",), ("b*", "d/*"), RunLimits(9, 9, 9), entrypoint="/x")
        ledger.begin(name, "p", request.remembered("another:1"))
    ledger.fail([(b"a\xff.jpg", "dark")])
    expected = RunRequest(
        "/src",
        dst,
        ("--op", "rotate 90"),
        ("*.jpg",),
        ("b*", "d/*"),
        RunLimits(retries=0),
        only=frozenset([b"a\xff.jpg"]),
        keep_going=True,
        entrypoint="/x",
    )
    assert retry_request(dst, RunLimits(retries=0)) == (expected, "another:1")
    ledger.close()
