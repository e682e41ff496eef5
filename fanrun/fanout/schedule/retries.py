"""Retries: inputs that were tried and have to be tried once more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from fanrun.fanout.plan import Input, weight, within_bounds

Filter = Callable[[Iterable[Input]], list[Input]]
"""Returns those inputs that still have to be tried."""


@dataclass
class Group:
    """Inputs that are tried once more together.

    Workers in `avoid` get them only if there is no other worker; with `alone` the batch holds nothing else, and with
    `exclusive` no other container runs beside it.
    """

    inputs: list[Input]
    avoid: frozenset[str] = frozenset()
    alone: bool = False
    exclusive: bool = False


class Retries:
    """The groups that wait, the earliest first."""

    def __init__(self) -> None:
        self._groups: list[Group] = []

    def add(self, group: Group) -> None:
        """Add a group, unless it is empty."""
        if group.inputs:
            self._groups.append(group)

    @property
    def weight(self) -> int:
        """The weight of all inputs that wait."""
        return sum(weight(item) for group in self._groups for item in group.inputs)

    def inputs(self) -> list[Input]:
        """Return the inputs of all groups."""
        return [item for group in self._groups for item in group.inputs]

    def refresh(self, still_open: Filter) -> None:
        """Drop what need not be tried any more, as a copy may have settled it."""
        for group in self._groups:
            group.inputs = still_open(group.inputs)
        self._groups = [group for group in self._groups if group.inputs]

    def drop(self, keys: Collection[bytes]) -> None:
        """Drop these inputs."""
        self.refresh(lambda inputs: [item for item in inputs if item.key not in keys])

    def take(self, worker: str, max_weight: int, live: Collection[str] | None = None) -> Group:
        """Take the inputs of the first group that must stand alone, else of as many groups as `max_weight` allows.

        Groups that the worker is to avoid stay.  With `live`, the workers there are, only groups that all of these are
        to avoid are taken.  Returns them as one group, which may be empty.
        """
        if live is None:
            eligible = [group for group in self._groups if worker not in group.avoid]
        else:
            eligible = [group for group in self._groups if group.avoid.issuperset(live)]
        chosen = [group for group in eligible if group.alone][:1] or eligible[:1]
        if not chosen:
            return Group([])
        first = chosen[0]
        inputs = list(first.inputs)
        for group in [] if first.alone else eligible[1:]:
            both = [*inputs, *group.inputs]
            if sum(map(weight, both)) <= max_weight and within_bounds(both):
                chosen.append(group)
                inputs = both
        self._groups = [group for group in self._groups if not any(group is each for each in chosen)]
        return Group(inputs, first.avoid, first.alone, first.exclusive)


def halves(inputs: list[Input]) -> list[list[Input]]:
    """Return the inputs in two lists, the first of which may be empty."""
    middle = len(inputs) // 2
    return [inputs[:middle], inputs[middle:]]
