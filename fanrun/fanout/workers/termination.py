"""What became of workers that were lost, asked beside the run: it waits for no answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from fanrun.fleet.errors import FanrunError

ReasonSource = Callable[[], Mapping[str, str]]
"""Tells why hosts are gone, by name, of those that are known to be."""
MAX_ANSWER_SECONDS = 5.0
"""Seconds that the end of a run waits for an answer about a worker that was lost just before."""


class TerminationReasons:
    """Asks for all workers that were lost meanwhile at once, one question at a time; and once more at the end."""

    def __init__(self, ask: ReasonSource, tell: Callable[[str, str], None]) -> None:
        """`tell(name, why)` is called from a thread of its own, once for each loss that is explained."""
        self._ask, self._tell = ask, tell
        self._new: set[str] = set()
        self._unexplained: set[str] = set()
        self._over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def lost(self, name: str) -> None:
        """ReasonSource for this worker as well; returns at once."""
        with self._changed:
            self._new.add(name)
            self._changed.notify_all()
            if self._thread.ident is None:
                self._thread.start()

    def close(self) -> None:
        """ReasonSource a last time for those of whom nothing is known, and wait a little for the answer."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(MAX_ANSWER_SECONDS)

    def _work(self) -> None:
        over = False
        while not over:
            with self._changed:
                self._changed.wait_for(lambda: self._new or self._over)
                over = self._over
                self._unexplained |= self._new
                self._new.clear()
            if self._unexplained:
                self._explain()

    def _explain(self) -> None:
        try:
            known = self._ask()
        except FanrunError:  # the run goes on without
            return
        for name in sorted(self._unexplained & known.keys()):
            self._tell(name, known[name])
        self._unexplained -= known.keys()
