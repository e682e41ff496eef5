"""What a resume plan tells while it is made, and how it is interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout.plan import walk
from fanrun.fanout.resume import INPUTS_PER_TASK, plan_resume
from tests.unit.resume_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.close()


def test_a_ledger_that_does_not_know_the_program_asks_for_no_input(world: World) -> None:
    """Not even their hashes: a first run begins at once."""
    world.do((b"a",))
    steps: list[int] = []
    inputs, _ = walk(str(world.src))
    found = plan_resume(world.source(program="another"), inputs, steps.append)
    assert (found.todo, steps) == (inputs, [])
    plan_resume(world.source(), inputs, steps.append)
    assert steps == [0]


def test_ctrl_c_ends_the_hashing_of_a_large_file(world: World) -> None:
    """A hole takes no room on the disk, and hours to be read."""
    world.do(tuple(b"%03d.jpg" % number for number in range(INPUTS_PER_TASK)))
    with (world.src / "z.jpg").open("wb") as large:
        large.truncate(10**12)

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    inputs, _ = walk(str(world.src))
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        plan_resume(world.source(), inputs, interrupt)
    assert time.monotonic() - begun < 60


def test_it_is_known_early_that_an_input_is_to_do(world: World) -> None:
    """Before a file that takes hours to be hashed; one whose results may be elsewhere in DST is not known yet."""
    world.do((b"a.jpg", b"b.jpg"))
    (world.src / "a.jpg").rename(world.src / "c.jpg")
    (world.src / "b.jpg").write_bytes(b"changed")
    inputs, _ = walk(str(world.src))
    events = list[str]()
    source = world.source(by_content=True)
    plan_resume(source, inputs, lambda count: events.append(f"step {count}"), lambda: events.append("todo"))
    assert events[:3] == ["step 0", "todo", "step 1"]


@pytest.mark.parametrize("lost", [False, True])
def test_nothing_is_told_to_do_unless_it_is(world: World, lost: bool) -> None:
    world.do((b"a.jpg",))
    (world.src / "a.jpg").rename(world.src / "b.jpg")
    if lost:
        (world.dst / "a.jpg").unlink()
    told = list[str]()
    inputs, _ = walk(str(world.src))
    found = plan_resume(world.source(by_content=True), inputs, on_todo=lambda: told.append("todo"))
    assert bool(found.todo) == bool(told) == lost
