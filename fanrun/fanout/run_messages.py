"""What run.log tells of a run at level INFO, besides its failures, and at level ERROR."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence

from loguru import logger

from fanrun.fanout import grouping
from fanrun.fanout.context import RunContext
from fanrun.fanout.plan import Input, count_files
from fanrun.fanout.reference_content import Content
from fanrun.fanout.request import RunRequest, again_text
from fanrun.fanout.results import report_text
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.report import Report, amount, shown
from fanrun.fanout.resume import ResumePlan
from fanrun.fleet.errors import FanrunError, RunUnfinished
from fanrun.fleet.exit_codes import ExitCode, explain
from fanrun.fleet.model import Fleet, known_as
from fanrun.fleet.probe import Probe
from fanrun.fleet.redaction import redact_command
from fanrun.fleet.release import RELEASE
from fanrun.fleet.text import counted


def log_request(context: RunContext, inputs: Sequence[Input], argv: Sequence[str] | None = None) -> None:
    """Log what a person asked for; `argv` is the command as it was typed, that of this process by default."""
    logger.info("command: {}", shown(redact_command(sys.argv if argv is None else argv)))
    logger.info("Fanrun {}, Python {}, {}", RELEASE, platform.python_version(), platform.platform())
    logger.info("run {} on fleet {}, by provider {}", context.name, context.fleet.name, context.fleet.provider)
    logger.info("container image {}: {}", context.image.name, context.image.ref)
    logger.info("SRC {}: {}", shown(context.request.src), _amount_of(inputs))
    logger.info("DST {}", shown(context.request.dst))


def warn_of_groups(request: RunRequest, inputs: Sequence[Input]) -> None:
    """Warn of what a person should know of the groups; once, so not where only failed inputs are tried again."""
    if request.only is None:
        for line in grouping.remarks(inputs, request.grouping):
            logger.warning("{}", line)


def warn_of_changed(reference: Sequence[Content]) -> None:
    """Warn of reference data that changed while the run was at work: its results are of what they were before."""
    for content in reference:
        if content.changed():
            path = shown(content.mount.path)
            logger.warning("--mount {} changed during the run; results are of what it held at its beginning", path)


def log_resume(plan: ResumePlan) -> None:
    """Log how much is left to do."""
    copied = f", {len(plan.copied)} of them under another name" if plan.copied else ""
    logger.info("left to do: {}; done before: {}{}", _amount_of(plan.todo), count_files(plan.before), copied)


def log_hosts(fleet: Fleet, probes: Mapping[str, Probe]) -> None:
    """Log the hosts of a run: the hub, and the workers that take part with what they have; `probes` are by name."""
    for host in fleet.hosts:
        address = known_as(host.address, host.port)
        if host.role == "hub":
            logger.info("host {}: {}", host.name, address)
        elif probe := probes.get(host.name):
            cores = counted(probe.cpus, "core")
            logger.info("host {}: {}, {}, {} of memory", host.name, address, cores, amount(probe.memory))


def warn_of_unfit(errors: Mapping[str, FanrunError]) -> None:
    """Warn of each worker that can't take part."""
    for name, error in sorted(errors.items()):
        logger.warning("{} can't take part: {}", name, error)


def log_summary(report: Report) -> None:
    """Log the summary that a person reads at the end, without the list of failures: each was logged as it happened."""
    for line in report_text.summary(dataclasses.replace(report, failed=[])).splitlines():
        logger.info("{}", line)
    if report.failed:
        logger.info("{} failed", counted(len(report.failed), "input"))


def log_end(report: Report) -> None:
    """Log the exit code of a run that finished."""
    logger.info("exit code {}", int(ExitCode.FAILED if report.failed else ExitCode.DONE))


@contextlib.contextmanager
def logged_error() -> Iterator[None]:
    """Log the error that ends a run, if there is one, and its exit code."""
    try:
        yield
    except BaseException as error:
        text, code = explain(error, None, ExitCode.USAGE)
        logger.error("{}", shown(text or f"unexpected {type(error).__name__}: {error}"))
        logger.info("exit code {}", int(code))
        raise


def why_left(destination: Destination, vanished: int) -> str:
    """Return why inputs are left in a run that was not stopped."""
    if vanished:
        inputs = counted(vanished, "input")
        return f"results of {inputs} were removed from DST during the run"
    lost = "; ".join(f"{name}: {stats.lost[-1]}" for name, stats in destination.stats.items() if stats.lost)
    if not lost:
        return "all workers were drained; `fab drain --undo --host NAME` lets one work again"
    return f"the workers were lost ({lost}); `fab up` repairs the fleet"


def _amount_of(inputs: Sequence[Input]) -> str:
    groups = sum(bool(item.members) for item in inputs)
    grouped = f" ({counted(groups, 'group')})" if groups else ""
    return f"{counted(count_files(inputs), 'input')}{grouped}, {amount(sum(item.size for item in inputs))}"


def check_finished(report: Report, why: str, unwritten: str, *, force: bool) -> None:
    """Raise RunUnfinished if inputs are left, with the reason `why`, or if records are `unwritten`."""
    if report.left:
        left = f"{report.left} of {report.inputs} inputs are left"
        raise RunUnfinished(f"{why}; {left}, and {again_text(force)}")
    if unwritten:
        raise RunUnfinished(f"{unwritten}; all inputs are settled, and `fab verify` shows what is done")
