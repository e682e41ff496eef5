"""The report of a run, made from the records of its destination."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Collection, Set
from typing import Any

from fanrun.fanout.context import RunContext
from fanrun.fanout.plan import count_files
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.report import Failure, Report, WorkerReport
from fanrun.fanout.resume import ResumePlan
from fanrun.fleet.exit_codes import ExitCode
from fanrun.fleet.model import number

SUMS = ("results", "extra", "bytes_in", "bytes_out", "cached", "cached_bytes")
"""What is added up of all workers."""


def summarize(
    context: RunContext, resume: ResumePlan, destination: Destination, away: Collection[str], gone: Set[bytes]
) -> Report:
    """Return the report: inputs whose results are `gone` are left, and workers that are `away` did not come back."""
    every, failed = list(destination.stats.values()), _failures(destination, resume)
    kept = count_files(item for item in resume.before if item.key not in gone)
    lost = count_files(item for item in resume.todo if item.key in gone)
    done, inputs = sum(stats.done for stats in every) - lost, resume.files
    report = Report(
        **_asked(context),
        seconds=round(time.monotonic() - context.began, 3),
        inputs=inputs,
        done=done,
        kept=kept,
        left=inputs - kept - done - len(failed),
        **{name: sum(getattr(stats, name) for stats in every) for name in SUMS},
        failed=failed,
        stopped=destination.reasons.stop,
        workers=_workers(destination, away),
    )
    return dataclasses.replace(report, exit_code=_exit_code(report))


def _asked(context: RunContext) -> dict[str, Any]:
    """Return the fields that say what was asked for."""
    request, image = context.request, context.image
    return {
        "run": context.name,
        "fleet": context.fleet.name,
        "src": request.src,
        "dst": request.dst,
        "image": image.ref,
        "image_name": image.name,
        "args": list(request.args),
        **request.start,
        "started": context.started.isoformat(timespec="seconds"),
        "junk": context.junk,
        "mounts": {each.name: each.digest for each in context.mounts},
        "variables": request.variables.names,
    }


def _exit_code(report: Report) -> int:
    """Return the exit code of a run whose records could all be written."""
    return int(ExitCode.UNFINISHED if report.left else ExitCode.FAILED if report.failed else ExitCode.DONE)


def _failures(destination: Destination, resume: ResumePlan) -> list[Failure]:
    """Return the inputs that failed, were given up or refused, sorted by path."""
    failed = [failure for stats in destination.stats.values() for failure in stats.failed.values()]
    refused = [Failure(os.fsdecode(path), reason, "", 0) for path, reason in resume.refused.items()]
    return sorted([*failed, *_given_up(destination), *refused], key=lambda item: item.path)


def _given_up(destination: Destination) -> list[Failure]:
    """Return the inputs that were given up when the run was stopped."""
    reasons = destination.reasons
    return [
        Failure(os.fsdecode(file.key), reasons.of(item.key), "", 1 if item.key in reasons.failed else 0)
        for item in destination.given_up
        for file in item.files
    ]


def _workers(destination: Destination, away: Collection[str]) -> list[WorkerReport]:
    return [
        WorkerReport(
            name,
            stats.done,
            len(stats.failed),
            stats.bytes_in,
            stats.bytes_out,
            {stage: round(seconds, 3) for stage, seconds in stats.seconds.items()},
            stats.lost,
            name in away,
            stats.containers,
            round(stats.cores, 3),
            stats.containers_reason,
        )
        for name, stats in sorted(destination.stats.items(), key=lambda item: number(item[0]))
    ]
