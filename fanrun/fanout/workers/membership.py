"""Which workers take part in a run: they join and are drained while it is at work."""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

from fanrun.fanout.workers.roster import Roster


class Changes(NamedTuple):
    """Workers whose part in the run changes: those that are new, that work again, and that are to be drained."""

    joining: frozenset[str] = frozenset()
    back: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()


class Membership:
    """Decides who joins, who is drained, and who works again.

    `joining` are new workers that have not begun, `drained` get nothing more to do, and `freed` are those of them
    that have finished what they had.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._ending: set[str] = set()
        self.joining: set[str] = set()
        self.drained: set[str] = set()
        self.freed: set[str] = set()

    def end(self, name: str) -> bool:
        """Drain a worker that its provider will end; return whether it was not drained before."""
        is_new = name not in self.drained
        self._ending.add(name)
        self.drained.add(name)
        return is_new

    def look(self, working: Set[str], lost: Set[str]) -> Changes:
        """Return what has changed since the last look; nothing if it is not yet time to look at the roster.

        `working` are the workers that have begun, `lost` are those that are lost.
        """
        if (names := self._roster.read()) is None:
            return Changes()
        names -= self._ending
        new, back = names - working - lost, names & self.freed
        drained = working - lost - names - self.drained
        self.joining |= new
        self.drained |= drained
        self.drained -= back
        self.freed -= back
        return Changes(frozenset(new), frozenset(back), frozenset(drained))
