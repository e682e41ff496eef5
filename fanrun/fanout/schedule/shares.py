"""Shares: the inputs that nobody has tried yet, dealt to the workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from fanrun.fanout.plan import MAX_BYTES, MAX_INPUTS, Input, weight

SMALL_REST = 1.5
"""A share is taken whole if it weighs at most so many times what was asked for: a rest is not worth a container."""


class Shares:
    """A queue of inputs for each worker, and the weight of each queue."""

    def __init__(self) -> None:
        self._inputs: dict[str, deque[Input]] = {}
        self._weights: dict[str, int] = {}

    def add(self, worker: str, inputs: Sequence[Input] = ()) -> None:
        """Give a worker a share; a worker that has one keeps it."""
        if worker not in self._inputs:
            self._inputs[worker] = deque(inputs)
            self._weights[worker] = sum(map(weight, inputs))

    @property
    def weight(self) -> int:
        """The weight of all shares."""
        return sum(self._weights.values())

    def __bool__(self) -> bool:
        """Whether any input is left in a share."""
        return any(self._inputs.values())

    def has(self, worker: str) -> bool:
        """Return whether the worker's own share has inputs."""
        return bool(self._inputs[worker])

    def heaviest(self) -> str:
        """Return the worker whose share weighs most."""
        return max(self._weights, key=self._weights.__getitem__)

    def weight_of(self, worker: str) -> int:
        """Return the weight of a worker's share."""
        return self._weights[worker]

    def inputs(self) -> list[Input]:
        """Return the inputs of all shares."""
        return [item for share in self._inputs.values() for item in share]

    def put_back(self, worker: str, inputs: Sequence[Input], *, to_end: bool = False) -> None:
        """Put inputs back to the front of a share, or `to_end` if they were taken from its end."""
        if to_end:
            self._inputs[worker].extend(reversed(inputs))
        else:
            self._inputs[worker].extendleft(reversed(inputs))
        self._weights[worker] += sum(map(weight, inputs))

    def take(self, owner: str, max_weight: int, *, from_end: bool) -> list[Input]:
        """Take inputs of about that weight, and no more than a batch may have, from the front of a share or its end."""
        share = self._inputs[owner]
        if self._weights[owner] <= SMALL_REST * max_weight:
            max_weight = self._weights[owner]
        taken: list[Input] = []
        total = size = files = 0
        while share and total < max_weight:
            item = share[-1] if from_end else share[0]
            total_size, total_files = size + item.size, files + len(item.files)
            if taken and (total_size > MAX_BYTES or total_files > MAX_INPUTS):
                break
            taken.append(share.pop() if from_end else share.popleft())
            total, size, files = total + weight(item), total_size, total_files
        self._weights[owner] -= total
        return taken
