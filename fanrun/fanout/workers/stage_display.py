"""A worker's line of progress: what each of its stages has in hand, and what is done."""

from __future__ import annotations

import threading
import time
from collections import Counter

from fanrun.fanout.results.report import amount
from fanrun.fanout.results.stats import WorkerStats
from fanrun.fleet.progress import Board

STAGES = ("push", "process", "pull")


class StageDisplay:
    """Counts the inputs in each stage and shows them; safe to use from many threads."""

    def __init__(self, board: Board, worker: str, stats: WorkerStats) -> None:
        self._board, self._worker, self._stats = board, worker, stats
        self._inputs: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._begun = time.monotonic()

    def add(self, stage: str, count: int) -> None:
        """Note that so many inputs more, or fewer, are in a stage."""
        with self._lock:
            self._inputs[stage] += count

    def show(self) -> None:
        """Write the worker's line."""
        failed = f", {len(self._stats.failed)} failed" if self._stats.failed else ""
        busy = "".join(f", {stage} {self._inputs[stage]}" for stage in STAGES if self._inputs[stage])
        seconds = max(time.monotonic() - self._begun, 0.001)
        speed = f", {amount(self._stats.bytes_in / seconds)}/s" if self._stats.bytes_in else ""
        self._board.step(self._worker, f"{self._stats.done} done{failed}{busy}{speed}")
