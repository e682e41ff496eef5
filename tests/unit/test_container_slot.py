"""The container's turn."""

from __future__ import annotations

from fanrun.fanout.plan import Batch
from fanrun.fanout.workers.container_slot import ContainerSlot

FIRST, SECOND = Batch("first", ()), Batch("second", ())


def test_batches_have_their_turn_in_the_order_in_which_they_came() -> None:
    now, begun = [0.0], list[Batch]()
    slot = ContainerSlot(begun.append, lambda: now[0])
    slot.enter(FIRST)
    now[0] = 1.0
    slot.enter(SECOND)
    assert (slot.batch, begun) == (FIRST, [FIRST])
    now[0] = 3.0
    assert slot.leave(FIRST) == 3.0
    assert (slot.batch, begun) == (SECOND, [FIRST, SECOND])
    now[0] = 7.0
    assert slot.leave(SECOND) == 4.0, "its seconds begin with its turn"


def test_an_empty_slot_has_no_batch() -> None:
    slot = ContainerSlot(lambda batch: None)
    assert slot.batch is None
    slot.enter(FIRST)
    slot.leave(FIRST)
    assert slot.batch is None


def test_a_batch_that_leaves_before_its_turn_has_no_seconds() -> None:
    slot = ContainerSlot(lambda batch: None)
    slot.enter(FIRST)
    slot.enter(SECOND)
    assert slot.leave(SECOND) is None
    assert slot.batch is FIRST


def test_it_is_known_which_batch_was_processed_when_the_worker_failed() -> None:
    slot = ContainerSlot(lambda batch: None)
    slot.enter(FIRST)
    slot.enter(SECOND)
    slot.interrupt()
    slot.leave(FIRST)
    slot.leave(SECOND)
    assert slot.batch is FIRST
