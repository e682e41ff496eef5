"""Waiting without sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def wait_until(true: Callable[[], object], timeout: float = 60) -> None:
    """Poll until it is so; fails after `timeout` seconds.

    The pause is long enough for what is waited for to get the processor, as many conditions start a program.
    """
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.05)
