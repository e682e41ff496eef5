"""Lines of batches that did not come home themselves: they are fetched from their worker when the run ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from loguru import logger

from fanrun.fanout import commands
from fanrun.fanout.results.logs import RunLogs
from fanrun.fanout.workers.executor import SSH_FAILED
from fanrun.fanout.workers.job import Job
from fanrun.fanout.workers.link import Link
from fanrun.fleet.ssh import TIMED_OUT

LONGEST = 60.0
"""Seconds that the end of a run waits for the lines of one worker."""


def fetch_rest(link: Link, run: str, logs: RunLogs, most: int, clock: Callable[[], float] = time.monotonic) -> str:
    """Fetch the lines of a worker's missing batches, each if it has less than `most` bytes.

    Returns why lines stay on the worker, "" if none do.
    """
    end, why = clock() + LONGEST, ""
    for batch in logs.missing(link.host):
        if (left := end - clock()) <= 0:
            return f"it takes longer than {LONGEST:.0f} s"
        done = link.last(commands.rest_argv(run, [batch], most, link.layout), timeout=left)
        if done.exit_code == SSH_FAILED:
            return done.reason
        if done.exit_code == TIMED_OUT:
            why = f"it takes longer than {LONGEST:.0f} s"
        elif done.exit_code:
            why = done.reason
        elif len(done.output) >= most:
            why = f"a batch has more than {most} bytes of them"
        else:
            logs.keep_rest(link.host, batch, done.output)
            why = why or ("DST does not take them" if batch in logs.missing(link.host) else "")
    return why


def bring_rest(link: Link, job: Job, *, is_there: bool) -> None:
    """Bring home the lines of batches that did not come home themselves, and say where some stay on the host."""
    logs, why = job.destination.logs, "it does not answer"
    if is_there:
        why = fetch_rest(link, job.run, logs, 2 * job.logs.batch)
    if count := len(logs.missing(link.host)):
        batches = "a batch" if count == 1 else f"{count} batches"
        text = "{}: what the containers of {} printed stays there ({}); `fab logs` can read it for a day"
        logger.warning(text, link.host, batches, why)
