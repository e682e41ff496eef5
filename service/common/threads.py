"""Blocking calls away from the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def call_in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Start `work` in a thread of its own; return the future of its result.

    The thread is a daemon: unlike one of an executor it does not hold up the end of the process, however long the
    call hangs. To cancel the future does not end the call: use asyncio.shield or asyncio.wait to give up waiting.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type]

    def call() -> None:
        value, problem = None, None
        try:
            value = work()
        except Exception as error:
            problem = error
        with suppress(RuntimeError):  # the event loop has ended, so nobody waits any more
            loop.call_soon_threadsafe(settle, value, problem)

    threading.Thread(target=call, daemon=True).start()
    return future
