"""Waiting without sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def wait_until(true: Callable[[], object], timeout: float = 60) -> None:
    """Poll until it is so; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.02)
