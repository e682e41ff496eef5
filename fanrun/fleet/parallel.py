"""Calls for many hosts at once: each is waited for, and each result kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from fanrun.fleet.errors import FanrunError
from fanrun.fleet.model import Host
from fanrun.fleet.ssh import Remote, T
from fanrun.fleet.store import Folder

# Sixteen SSH starts at once stay clear of what one client's CPU and a NAT box take well.
FAN_OUT = 16


def fan_out(
    names: Iterable[str], work: Callable[[str], T], *, most: int = FAN_OUT
) -> tuple[dict[str, T], dict[str, FanrunError]]:
    """Call work(name) for every name, `most` at once, and wait for all of them.

    Returns (results, errors) by name; an error of ours is kept, any other is raised after
    the rest ended.  Threads are daemons, so that Ctrl-C need not wait for a stuck host.
    """
    results: dict[str, T] = {}
    errors: dict[str, FanrunError] = {}
    crashes: list[BaseException] = []
    slots = threading.BoundedSemaphore(most)

    def call(name: str) -> None:
        with slots:
            try:
                results[name] = work(name)
            except FanrunError as error:
                errors[name] = error
            except BaseException as error:  # raised below, in the caller's thread
                crashes.append(error)

    threads = [threading.Thread(target=call, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if crashes:
        raise crashes[0]
    return results, errors


def on_hosts(
    folder: Folder, hosts: Iterable[Host], work: Callable[[Remote], T]
) -> tuple[dict[str, T], dict[str, FanrunError]]:
    """Call work(remote) for every host at the same time: (results, errors) by name."""
    by_name = {host.name: host for host in hosts}

    def one(name: str) -> T:
        remote = Remote(folder, by_name[name])
        try:
            return work(remote)
        finally:
            remote.close()

    return fan_out(by_name, one)
