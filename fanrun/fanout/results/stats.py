"""What each worker has done in a run."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from fanrun.fanout.results.report import Failure


class WorkerStats:
    """What one worker has done; `seconds` are those its stages were busy, bytes are those of inputs and results.

    `cached` is the number of input files that were in its cache, `cached_bytes` their bytes.
    `containers` run at the same time, for the reason that is given, and use so many `cores` each (0: not measured).
    """

    def __init__(self) -> None:
        self.done = self.bytes_in = self.bytes_out = self.results = self.extra = 0
        self.cached = self.cached_bytes = 0
        self.failed: dict[bytes, Failure] = {}
        self.seconds: dict[str, float] = {"push": 0.0, "process": 0.0, "pull": 0.0}
        self.lost: list[str] = []
        self.containers, self.cores, self.containers_reason = 1, 0.0, ""
        self.lock = threading.Lock()

    def note_cached(self, sizes: Iterable[int]) -> None:
        """Add files that were in the worker's cache; `sizes` are their bytes."""
        with self.lock:
            for size in sizes:
                self.cached, self.cached_bytes = self.cached + 1, self.cached_bytes + size

    def busy(self, stage: str, seconds: float) -> None:
        """Note that a stage was at work for so long."""
        with self.lock:
            self.seconds[stage] += seconds
