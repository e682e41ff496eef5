"""Which workers a fleet has now: some join while a run is at work, others are drained."""

from __future__ import annotations

import time
from collections.abc import Callable

from fanrun.fleet.errors import FleetError
from fanrun.fleet.store import Folder

LOOK_SECONDS = 2.0
"""Seconds between two looks at the fleet's folder."""


class Roster:
    """The workers of a fleet by what its folder says, read now and then."""

    def __init__(self, folder: Folder, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._next = 0.0

    def read(self) -> frozenset[str] | None:
        """Return the workers that may take part; None if it is not yet time to look again."""
        if self._clock() < self._next:
            return None
        self._next = self._clock() + LOOK_SECONDS
        try:
            return frozenset(host.name for host in self._folder.load().workers) - self._folder.drained()
        except FleetError:  # it is being changed, or has gone: what works goes on
            return None
