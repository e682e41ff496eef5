"""Retries: inputs that were tried and have to be tried once more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from fanrun.fanout.plan import Input, weight, within_bounds

Filter = Callable[[Iterable[Input]], list[Input]]
"""Returns those inputs that still have to be tried."""


@dataclass
class Retry:
    """Inputs that are tried once more together.

    Workers in `avoid` get them only if there is no other worker; with `alone` the batch holds nothing else, and with
    `exclusive` no other container runs beside it.
    """

    inputs: list[Input]
    avoid: frozenset[str] = frozenset()
    alone: bool = False
    exclusive: bool = False


class Retries:
    """The retries that wait, the earliest first."""

    def __init__(self) -> None:
        self._waiting: list[Retry] = []

    def add(self, retry: Retry) -> None:
        """Add a retry, unless it is empty."""
        if retry.inputs:
            self._waiting.append(retry)

    @property
    def weight(self) -> int:
        """The weight of all inputs that wait."""
        return sum(weight(item) for retry in self._waiting for item in retry.inputs)

    def inputs(self) -> list[Input]:
        """Return the inputs of all retries."""
        return [item for retry in self._waiting for item in retry.inputs]

    def refresh(self, still_open: Filter) -> None:
        """Drop what need not be tried any more, as a copy may have settled it."""
        for retry in self._waiting:
            retry.inputs = still_open(retry.inputs)
        self._waiting = [retry for retry in self._waiting if retry.inputs]

    def drop(self, keys: Collection[bytes]) -> None:
        """Drop these inputs."""
        self.refresh(lambda inputs: [item for item in inputs if item.key not in keys])

    def take(self, worker: str, max_weight: int, live: Collection[str] | None = None) -> Retry:
        """Take the inputs of the first retry that must stand alone, else of as many retries as `max_weight` allows.

        Retries that the worker is to avoid stay.  With `live`, the workers there are, only those that all of these are
        to avoid are taken.  Returns them as one retry, which may be empty.
        """
        if live is None:
            eligible = [retry for retry in self._waiting if worker not in retry.avoid]
        else:
            eligible = [retry for retry in self._waiting if retry.avoid.issuperset(live)]
        chosen = [retry for retry in eligible if retry.alone][:1] or eligible[:1]
        if not chosen:
            return Retry([])
        first = chosen[0]
        inputs = list(first.inputs)
        for retry in [] if first.alone else eligible[1:]:
            both = [*inputs, *retry.inputs]
            if sum(map(weight, both)) <= max_weight and within_bounds(both):
                chosen.append(retry)
                inputs = both
        self._waiting = [retry for retry in self._waiting if not any(retry is each for each in chosen)]
        return Retry(inputs, first.avoid, first.alone, first.exclusive)


def halves(inputs: list[Input]) -> list[list[Input]]:
    """Return the inputs in two lists, the first of which may be empty."""
    middle = len(inputs) // 2
    return [inputs[:middle], inputs[middle:]]
