"""What a run came to, or would come to, in lines for people."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

from fanrun.fanout.results.report import Failure, Plan, Report, WorkerReport, amount, shares, shown
from fanrun.fleet.text import counted

SHOWN = 20
"""So many items of a list are shown."""
EXAMPLES = 3
"""So many inputs are shown of those that failed for the same reason."""


def summary(report: Report) -> str:
    """Return the lines that a person reads at the end of a run."""
    lines = [_first_line(report)]
    if report.cached:
        lines.append(
            f"  {counted(report.cached, 'file')}, {amount(report.cached_bytes)}, had been sent by earlier runs"
        )
    lines += [_worker_line(worker, report.seconds) for worker in report.workers]
    lines += [_containers_line(worker) for worker in report.workers if worker.containers_reason]
    if report.extra:
        files = "1 file that belongs" if report.extra == 1 else f"{report.extra} files that belong"
        lines.append(f"{files} to no input: in {shown(os.path.join(run_folder(report), 'extra'))}")
    lines += _skipped(report.junk)
    if report.failed:
        lines += _failure_lines(report)
    if report.left:
        lines.append(f"{counted(report.left, 'input')} {'is' if report.left == 1 else 'are'} left")
    return "\n".join(lines)


def run_folder(report: Report) -> str:
    """Return the folder with the records of the run."""
    return os.path.join(report.dst, ".fanrun", "runs", report.run)


def _first_line(report: Report) -> str:
    if report.kept == report.inputs and not report.failed:
        there = "its result is there" if report.inputs == 1 else f"all {report.inputs} results are there"
        return f"nothing to do: {there}"
    speed = f"{report.seconds:.1f} s ({report.rate:.1f} files/s)"
    data = f"{amount(report.bytes_in)} in, {amount(report.bytes_out)} out"
    kept = f"; {report.kept} were done before" if report.kept else ""
    return f"{report.done} of {counted(report.inputs, 'input')} done in {speed}, {data}{kept}"


def _worker_line(worker: WorkerReport, seconds: float) -> str:
    """Return the line of a worker in a run of so many seconds."""
    busy = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in worker.seconds.items())
    failed = f", {worker.failed} failed" if worker.failed else ""
    back = "" if worker.away else "; it came back"
    lost = f", lost: {'; '.join(map(shown, worker.lost))}{back}" if worker.lost else ""
    rate = worker.done / seconds if seconds else 0.0
    return f"  {worker.name:<10} {worker.done} done{failed} ({rate:.1f} files/s): {busy}{lost}"


def _containers_line(worker: WorkerReport) -> str:
    """Return how many containers a worker ran at the same time, and why."""
    cores = f"{worker.cores:.2f} cores{' each' if worker.containers > 1 else ''}, " if worker.cores else ""
    return f"  {counted(worker.containers, 'container')} on {worker.name}: {cores}{worker.containers_reason}"


def _failure_lines(report: Report) -> list[str]:
    """Return the lines about failed inputs, by reason, the most frequent first; the total and what to do come last."""
    tried = [item for item in report.failed if not report.stopped or item.tries]
    lines = failures_by_reason(tried)
    if untried := len(report.failed) - len(tried):
        lines.append(f"  {untried} were not tried: {shown(report.stopped)}")
    if report.stopped:  # `fab retry` would try every input, and all would fail once more
        again = "correct the program or its arguments, and type the command again"
    else:
        them = "it" if len(report.failed) == 1 else "them"
        given = "".join(f" --env {shlex.quote(name)}" for name in report.variables)
        again = f"`fab retry --dst {shlex.quote(shown(report.dst))}{given}` tries {them} again"
    lines.append(f"{len(report.failed)} of {counted(report.inputs, 'input')} failed; {again}")
    if is_cut(tried):
        lines.append(f"all of them are in {shown(os.path.join(run_folder(report), 'report.json'))}")
    return lines


def failures_by_reason(failures: Sequence[Failure]) -> list[str]:
    """Return lines about failed inputs: for each reason how many there are, and some of them."""
    reasons = by_reason(failures)
    lines = [line for reason, items in reasons[:SHOWN] for line in _reason_lines(reason, items)]
    return [*lines, f"  … and {len(reasons) - SHOWN} more reasons"] if len(reasons) > SHOWN else lines


def is_cut(failures: Sequence[Failure]) -> bool:
    """Return whether failures_by_reason leaves out some of them."""
    reasons = by_reason(failures)
    return len(reasons) > SHOWN or any(len(items) > EXAMPLES for _, items in reasons)


def by_reason(failures: Sequence[Failure]) -> list[tuple[str, list[Failure]]]:
    """Return the failures by reason, the most frequent reason first.

    A reason that names its own input counts as the same for all of them: their names are replaced by {name}.
    """
    found: dict[str, list[Failure]] = {}
    for item in failures:
        found.setdefault(_without_name(item), []).append(item)
    named = [(reason if len(items) > 1 else items[0].reason, items) for reason, items in found.items()]
    return sorted(named, key=lambda pair: -len(pair[1]))


def _without_name(item: Failure) -> str:
    reason = item.reason
    for name in (item.path, os.path.basename(item.path)):
        if len(name) > EXAMPLES:  # a name of one letter is a part of any word
            reason = reason.replace(name, "{name}")
    return reason


def _reason_lines(reason: str, items: Sequence[Failure]) -> Iterator[str]:
    """Yield the lines about one reason: how many inputs, examples, what the program said of the first."""
    if len(items) == 1:
        yield f"  {shown(items[0].path)}: {shown(reason)}{_tries(items[0])}"
    else:
        yield f"  {len(items)} inputs: {shown(reason)}"
        yield from (f"    {shown(item.path)}{_tries(item)}" for item in items[:EXAMPLES])
    if len(items) > EXAMPLES:
        yield f"    … and {len(items) - EXAMPLES} more"
    for line in items[0].words:
        if line not in items[0].reason and items[0].reason not in line:
            yield f"    | {shown(line)}"


def _tries(item: Failure) -> str:
    """Return where an input was tried, and how often, in parentheses."""
    tries = f"{item.tries} tries, the last on {item.worker}" if item.tries > 1 else item.worker
    return f" ({tries})" if tries else ""


def _skipped(junk: int) -> list[str]:
    """Return what is said of files that are no inputs."""
    return [f"{junk} skipped (.DS_Store, *~ and the like); --junk takes them"] if junk else []


def more(count: int) -> list[str]:
    """Return what follows a list of which SHOWN items were shown."""
    return [f"  … and {count - SHOWN} more, all in --json"] if count > SHOWN else []


def plan_text(todo: Plan, image: str) -> str:
    """Return a plan for people."""
    kept = f" ({todo.kept} are done already)" if todo.kept else ""
    lines = [f"{counted(todo.inputs - todo.kept, 'input')}{kept}, {amount(todo.size)}, image {image}; nothing was done"]
    for name, share in shares(todo).items():
        lines.append(f"  {name:<10} {counted(share['inputs'], 'input')}, {amount(share['bytes'])}")
    lines += [f"  /{each.name:<9} reference data, {amount(each.size)}, {each.digest[:12]}" for each in todo.mounts]
    lines += [f"  environment variables: {', '.join(map(shown, todo.variables))}"] if todo.variables else []
    groups = [", ".join(map(shown, group)) for group in todo.groups]
    lines += [f"{counted(len(groups), 'group')} of inputs that are processed as one:"] if groups else []
    lines += [f"  {group}" for group in groups[:SHOWN]]
    lines += more(len(groups))
    lines += [*todo.remarks, *_skipped(todo.junk)]
    return "\n".join(lines)
