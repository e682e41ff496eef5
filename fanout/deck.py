"""The batches of a run that are not settled: whose they are, and whose they become."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence

from fanout.plan import Batch


class Deck:
    """Hands out batches to workers until every one is settled; safe to use from many threads.

    A worker gets its own batches first, then the last one of whoever has most waiting.  What
    a lost worker had, waiting or in hand, is dealt to the others.
    """

    def __init__(self, dealt: Mapping[str, Sequence[Batch]]) -> None:
        self._waiting = {name: deque(batches) for name, batches in dealt.items()}
        self._in_hand: dict[str, list[Batch]] = {name: [] for name in dealt}
        self._change = threading.Condition()
        self._stopped = False

    def take(self, worker: str) -> Batch | None:
        """The worker's next batch; waits while others might yet give some back.

        None when there is nothing left to wait for, or the worker is out.
        """
        with self._change:
            while True:
                if self._stopped or worker not in self._waiting:
                    return None
                batch = self._next(worker)
                if batch is not None:
                    self._in_hand[worker].append(batch)
                    return batch
                if not any(self._in_hand.values()):
                    return None
                self._change.wait()

    def settle(self, worker: str, batch: Batch, again: Sequence[Batch] = ()) -> bool:
        """The worker is done with a batch, of which parts may be to do `again`.

        False if the batch had been taken from it: whatever came of it does not count.
        """
        with self._change:
            if batch not in self._in_hand.get(worker, ()):
                return False
            self._in_hand[worker].remove(batch)
            self._waiting[worker].extendleft(reversed(again))
            self._change.notify_all()
            return True

    def lose(self, worker: str) -> int:
        """Take a worker out and deal what it had to the others; returns how many batches that were."""
        with self._change:
            left = [*self._in_hand.pop(worker, ()), *self._waiting.pop(worker, ())]
            others = list(self._waiting.values())
            for place, batch in enumerate(left if others else ()):
                others[place % len(others)].append(batch)
            self._change.notify_all()
            return len(left)

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def _next(self, worker: str) -> Batch | None:
        if self._waiting[worker]:
            return self._waiting[worker].popleft()
        richest = max(self._waiting.values(), key=len)
        return richest.pop() if richest else None
