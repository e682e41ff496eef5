"""Give workers nothing more to do, and wait until they have finished what they had."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fanrun.fleet.layout import USUAL, Layout
from fanrun.fleet.model import Host
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.poll import SYSTEM_CLOCK, Clock, RetryPolicy, poll
from fanrun.fleet.probe import EXPIRY
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder

POLICY = RetryPolicy(timeout=math.inf, pause=2.0)


def runs_argv(layout: Layout = USUAL) -> list[str]:
    """List the runs that are at work on a worker: each has a folder there, and touches it every few seconds."""
    depth = ["-mindepth", "1", "-maxdepth", "1"]
    return ["find", layout.runs, *depth, "-name", "[0-9]*", "-mmin", f"-{EXPIRY}", "-printf", "%f\\n"]


def drain(folder: Folder, workers: Sequence[Host], say: Callable[[str, str], None]) -> None:
    """Give these workers nothing more to do, and wait until each has finished; one that does not answer has."""
    folder.set_drained(folder.drained() | {host.name for host in workers})
    hosts = {host.name: host for host in workers}

    def wait(name: str) -> None:
        wait_until_free(folder, hosts[name], lambda text: say(name, text))

    for name, error in fan_out(hosts, wait)[1].items():
        say(name, f"does not answer ({error}), so it is not waited for")


def wait_until_free(folder: Folder, worker: Host, say: Callable[[str], None], clock: Clock = SYSTEM_CLOCK) -> None:
    """Wait until no run has anything on a worker; `say` is called with the runs whenever these change.

    Raises HostUnreachable when the worker does not answer.
    """
    remote = Remote(folder, worker)
    told: list[str] = []

    def read() -> list[str]:
        runs = sorted(remote.run(runs_argv(worker.layout), check=False).stdout.split())
        if runs and runs != told:
            say(f"waiting for {', '.join(runs)}")
        told[:] = runs
        return runs

    try:
        poll(read, lambda runs: not runs, POLICY, clock)
    finally:
        remote.close()
