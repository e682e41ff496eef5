"""A worker that is lost, or not there yet: when the run tries to connect to it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fanrun.fleet.probe import Probe


@dataclass
class LostWorker:
    """A worker that is lost, or joins a run that is at work.

    `retry_at` is when the run tries next to connect to it, on the monotonic clock; `connecting` is whether it does so
    now, `tried` whether it has, and `probe` is set once the worker is back.  `thread` closes the worker's old
    connection, and later makes new ones.
    """

    retry_at: float
    connecting: bool = False
    tried: bool = False
    thread: threading.Thread | None = None
    probe: Probe | None = None
    strikes: int = 0
