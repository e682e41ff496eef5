"""Taking batches from a deck at once, for its tests."""

from __future__ import annotations

from collections.abc import Callable

from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.schedule.scheduler import Deck, Flight

WORKERS = ["worker-1", "worker-2", "worker-3"]
ALL = 10**15
ONE = 1
"""The weight of a batch of one input: the next one would be too much."""


class Waits(Exception):
    """The worker found nothing, and would wait."""


def make(worker: str, count: int, size: int = 1) -> list[Input]:
    return [Input(f"{worker}.{n}".encode(), size) for n in range(count)]


def take(deck: Deck, worker: str, most: int = ALL, worth: Callable[[Flight], bool] = lambda flight: False) -> Batch:
    """Take what must be there, at once; raises Waits, and AssertionError when it gets None."""
    batch = ask(deck, worker, most, worth)
    assert batch is not None
    return batch


def ask(
    deck: Deck, worker: str, most: int = ALL, worth: Callable[[Flight], bool] = lambda flight: False, tries: int = 1
) -> Batch | None:
    """Take, but raise Waits after so many looks at the deck instead of waiting."""
    looks = 0

    def heaviest(waiting: int) -> int:
        nonlocal looks
        looks += 1
        if looks > tries:
            raise Waits
        return most

    return deck.take(worker, heaviest, lambda flight, flights: worth(flight))


def keys(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [item.key.decode() for item in batch.inputs]


def dealt(counts: dict[str, int], *, retries: int = 0) -> Deck:
    deck = Deck(retries=retries)
    deck.deal({worker: make(worker, count) for worker, count in counts.items()})
    return deck
