"""What is known of each input: whether it is settled, how often it was tried and where it failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from fanrun.fanout.plan import Input


class InputHistory:
    """The states of a run's inputs by their keys.

    An input is settled once it is done or given up; it is `held` while its result waits for another input.  Nothing
    more is handed out of either.
    """

    def __init__(self) -> None:
        self.left = 0
        self._settled: set[bytes] = set()
        self._held: set[bytes] = set()
        self._tries: Counter[bytes] = Counter()
        self._failed_at: dict[bytes, set[str]] = {}
        self._suspected_at: dict[bytes, set[str]] = {}

    def is_settled(self, key: bytes) -> bool:
        """Return whether an input is done or given up."""
        return key in self._settled

    def is_over(self, key: bytes) -> bool:
        """Return whether nothing more is to be done about an input."""
        return key in self._settled or key in self._held

    def still_open(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return those inputs on which something is still to be done."""
        settled, held = self._settled, self._held
        return [key for key in keys if key not in settled and key not in held]

    def settle(self, keys: Iterable[bytes]) -> None:
        """Note that inputs are done or given up, each once."""
        before = len(self._settled)
        self._settled.update(keys)
        self.left -= len(self._settled) - before

    def hold(self, keys: Iterable[bytes]) -> None:
        """Note that the results of inputs wait."""
        self._held.update(keys)

    def held(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return those inputs whose results wait."""
        return [key for key in keys if key in self._held and key not in self._settled]

    def failed(self, key: bytes, worker: str, *, is_suspect: bool) -> None:
        """Count a try of an input that failed, or that is suspected to be the reason why its batch did.

        One of many suspects is as likely to be done there as elsewhere.
        """
        self._tries[key] += 1
        where = self._suspected_at if is_suspect else self._failed_at
        where.setdefault(key, set()).add(worker)

    def tries(self, key: bytes) -> int:
        """Return how often an input has failed."""
        return self._tries[key]

    def failed_at(self, inputs: Iterable[Input]) -> frozenset[str]:
        """Return the workers where any of the inputs has failed."""
        return frozenset().union(*(self._failed_at.get(item.key, ()) for item in inputs))

    def has_failed_elsewhere(self, key: bytes, worker: str, live: Collection[str]) -> bool:
        """Return whether an input has failed, or was suspected, on another worker; on any if no other one is live."""
        where = self._failed_at.get(key, set()) | self._suspected_at.get(key, set())
        return bool(where - {worker} if set(live) - {worker} else where)
