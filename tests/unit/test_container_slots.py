"""Whose turn it is in a worker's containers."""

from __future__ import annotations

import queue
import threading

from fanrun.fanout.plan import Batch
from fanrun.fanout.workers.container_slots import ContainerSlots, Processed

FIRST, SECOND = Batch("first", ()), Batch("second", ())


def test_batches_have_their_turn_in_the_order_in_which_they_came() -> None:
    now, begun = [0.0], list[Batch]()
    slot = ContainerSlots(begun.append, clock=lambda: now[0])
    slot.enter(FIRST)
    now[0] = 1.0
    slot.enter(SECOND)
    assert (slot.batches, begun) == ([FIRST], [FIRST])
    now[0] = 3.0
    assert slot.leave(FIRST) == Processed(3.0, 1)
    assert (slot.batches, begun) == ([SECOND], [FIRST, SECOND])
    now[0] = 7.0
    assert slot.leave(SECOND) == Processed(4.0, 1), "its seconds begin with its turn"


def test_an_empty_slot_has_no_batch() -> None:
    slot = ContainerSlots(lambda batch: None)
    assert slot.batches == []
    slot.enter(FIRST)
    slot.leave(FIRST)
    assert slot.batches == []


def test_a_batch_that_leaves_before_its_turn_has_no_seconds() -> None:
    slot = ContainerSlots(lambda batch: None)
    slot.enter(FIRST)
    slot.enter(SECOND)
    assert slot.leave(SECOND) is None
    assert slot.batches == [FIRST]


def test_it_is_known_which_batch_was_processed_when_the_worker_failed() -> None:
    slot = ContainerSlots(lambda batch: None)
    slot.enter(FIRST)
    slot.enter(SECOND)
    slot.interrupt()
    slot.leave(FIRST)
    slot.leave(SECOND)
    assert slot.batches == [FIRST]


def test_a_batch_goes_to_the_slot_that_is_free_first() -> None:
    now = [10.0]
    slots = ContainerSlots(lambda batch: None, 2, lambda: now[0])
    batches = [Batch(f"{number}", ()) for number in range(5)]
    assert slots.enter(batches[0], expected=9.0) == 0
    now[0] = 12.0
    assert slots.enter(batches[1], expected=3.0) == 1, "it is empty"
    assert slots.enter(batches[2], expected=8.0) == 1, "it should be free at 15, the other one at 19"
    assert slots.enter(batches[3], expected=1.0) == 0
    assert slots.batches == batches[:2]
    assert slots.leave(batches[0]) == Processed(2.0, 2)
    assert slots.enter(batches[4]) == 0, "it should be free at 13"


def test_more_slots_are_used_at_once_and_fewer_when_those_before_have_left() -> None:
    slots = ContainerSlots(lambda batch: None, 1)
    batches = [Batch(f"{number}", ()) for number in range(4)]
    slots.enter(batches[0])
    slots.resize(3)
    assert [slots.enter(batch) for batch in batches[1:3]] == [1, 2]
    processed = slots.leave(batches[0])
    assert processed is not None
    assert not processed.containers, "their number has changed meanwhile"
    slots.resize(1)
    assert slots.batches == batches[1:3]
    assert slots.enter(batches[3]) == 0


def test_an_exclusive_batch_has_no_other_beside_it() -> None:
    began: queue.Queue[Batch] = queue.Queue()
    slots = ContainerSlots(began.put, 2)
    exclusive = Batch("exclusive", (), exclusive=True)
    slots.enter(FIRST)
    threads = [threading.Thread(target=slots.enter, args=(batch,), daemon=True) for batch in (exclusive, SECOND)]
    assert began.get(timeout=20) is FIRST
    for thread in threads:
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    slots.leave(FIRST)
    assert began.get(timeout=20) is exclusive
    threads[1].join(0.1)
    assert threads[1].is_alive()
    slots.leave(exclusive)
    assert began.get(timeout=20) is SECOND
