"""Leases that are extended while a task works with the hosts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

from fanrun.fleet.errors import (
    FanrunError,
)
from fanrun.fleet.model import Host
from fanrun.fleet.parallel import on_hosts
from fanrun.fleet.store import Folder
from provision.hosts import lease
from provision.providers.base import Provider

KEEP = 120.0
"""Seconds between two times that hosts are told."""
SOON = 15.0
"""Seconds that a short task waits until hosts were told that they are worked with."""


@contextlib.contextmanager
def keep(folder: Folder, provider: Provider, hosts: Sequence[Host], *, wait: float = 0) -> Iterator[None]:
    """Tell these hosts that they are worked with, where hosts end themselves: after `wait` seconds, and now and then.

    All the time that a task takes, whatever it does meanwhile: a host that can't be told now is told the next time.
    """
    if not provider.lease:
        yield
        return
    over, told = threading.Event(), threading.Event()

    def tell() -> None:
        over.wait(wait)
        while not over.is_set():
            on_hosts(folder, hosts, lease.extend_host)  # hosts that can't be reached are reported elsewhere
            told.set()
            over.wait(KEEP)

    threading.Thread(target=tell, daemon=True).start()
    try:
        yield
    except FanrunError:
        told.set()  # an error is told at once
        raise
    finally:
        over.set()
        if not wait:
            told.wait(SOON)
