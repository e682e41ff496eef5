"""What a run came to: for people as a summary, for programs as report.json."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from fanrun.fanout.plan import Input, count_files
from fanrun.fanout.reference import Version
from fanrun.fleet.text import counted

SHOWN = 20


@dataclass(frozen=True)
class Plan:
    """What a run would do: how many inputs there are, of which `kept` are done, and each worker's share by name.

    `junk` is the number of files that are skipped, `remarks` are lines about groups, `mounts` is the reference data.
    `variables` are the names of environment variables.
    """

    inputs: int
    kept: int
    shares: dict[str, list[Input]]
    junk: int = 0
    remarks: list[str] = field(default_factory=list)
    mounts: list[Version] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the inputs that are to do."""
        return sum(item.size for share in self.shares.values() for item in share)

    @property
    def groups(self) -> list[list[str]]:
        """The groups of files that are to do, each file's key as text."""
        todo = sorted(item for share in self.shares.values() for item in share if item.members)
        return [[os.fsdecode(file.key) for file in item.members] for item in todo]


@dataclass(frozen=True)
class Failure:
    """An input without a result: its key as text (os.fsdecode), the reason, the worker that tried it last.

    `tries` is how often it was tried, `words` the last lines that the program wrote then.
    """

    path: str
    reason: str
    worker: str
    tries: int = 1
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class WorkerReport:
    """One worker's part; `seconds` are those its push, process and pull were busy, `lost` says why it was given up.

    A worker that came back may have been given up more than once; one that is `away` did not.  `containers` ran at the
    same time at the end, for the reason that is given ("": one was asked for), and used `cores` each (0: not measured).
    """

    name: str
    done: int
    failed: int
    bytes_in: int
    bytes_out: int
    seconds: dict[str, float]
    lost: list[str] = field(default_factory=list)
    away: bool = False
    containers: int = 1
    cores: float = 0.0
    containers_reason: str = ""


@dataclass(frozen=True)
class Report:
    """A run; bytes are those of inputs that are done and of their results, `left` counts inputs without a fate.

    `kept` are inputs whose results were there before it.  `stopped` says why inputs of `failed` were not tried (their
    `tries` are 0), "" if all were; `junk` is the number of files that were skipped.  `cached` files, of `cached_bytes`,
    were not sent, because they were in the caches of the workers.  `entrypoint` and `each` are those of the request,
    `mounts` has the hash of each folder of reference data by its name, `variables` the names of environment variables.
    """

    run: str
    fleet: str
    src: str
    dst: str
    image: str
    args: list[str]
    started: str
    seconds: float
    inputs: int
    done: int
    kept: int
    left: int
    results: int
    extra: int
    bytes_in: int
    bytes_out: int
    failed: list[Failure] = field(default_factory=list)
    workers: list[WorkerReport] = field(default_factory=list)
    stopped: str = ""
    junk: int = 0
    cached: int = 0
    cached_bytes: int = 0
    entrypoint: str | None = None
    each: list[str] = field(default_factory=list)
    mounts: dict[str, str] = field(default_factory=dict)
    variables: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Inputs done per second."""
        return self.done / self.seconds if self.seconds else 0.0


def to_json(report: Report) -> str:
    """Return the report as JSON; a byte of a path that is no UTF-8 is a lone surrogate, U+DC80 to U+DCFF."""
    return json.dumps(dataclasses.asdict(report), indent=2)


def write(report: Report, path: Path) -> None:
    """Write report.json, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(to_json(report) + "\n", "ascii")
    os.replace(temporary, path)


def shown(path: str) -> str:
    """A path fit for a terminal: what is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in path)


def amount(count: float) -> str:
    """Bytes for people: 3.8 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def summary(report: Report) -> str:
    """The lines that a person reads at the end of a run."""
    speed = f"{report.seconds:.1f} s ({report.rate:.1f} files/s)"
    data = f"{amount(report.bytes_in)} in, {amount(report.bytes_out)} out"
    kept = f"; {report.kept} were done before" if report.kept else ""
    lines = [f"{report.done} of {counted(report.inputs, 'input')} done in {speed}, {data}{kept}"]
    if report.cached:
        lines.append(
            f"  {counted(report.cached, 'file')}, {amount(report.cached_bytes)}, had been sent by earlier runs"
        )
    lines += [_worker_line(worker, report.seconds) for worker in report.workers]
    lines += [_containers_line(worker) for worker in report.workers if worker.containers_reason]
    if report.extra:
        files = "1 file that belongs" if report.extra == 1 else f"{report.extra} files that belong"
        lines.append(f"{files} to no input: in {os.path.join(report.dst, '.fanrun', 'runs', report.run, 'extra')}")
    if report.failed:
        lines += _failure_lines(report)
    lines += _skipped(report.junk)
    if report.left:
        lines.append(f"{counted(report.left, 'input')} {'is' if report.left == 1 else 'are'} left")
    return "\n".join(lines)


def _worker_line(worker: WorkerReport, seconds: float) -> str:
    """Return the line of a worker in a run of so many seconds."""
    busy = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in worker.seconds.items())
    failed = f", {worker.failed} failed" if worker.failed else ""
    back = "" if worker.away else "; it came back"
    lost = f", lost: {'; '.join(map(shown, worker.lost))}{back}" if worker.lost else ""
    rate = worker.done / seconds if seconds else 0.0
    return f"  {worker.name:<10} {worker.done} done{failed} ({rate:.1f}/s): {busy}{lost}"


def _containers_line(worker: WorkerReport) -> str:
    """Return how many containers a worker ran at the same time, and why."""
    cores = f"{worker.cores:.2f} cores{' each' if worker.containers > 1 else ''}, " if worker.cores else ""
    return f"  {counted(worker.containers, 'container')} on {worker.name}: {cores}{worker.containers_reason}"


def _failure_lines(report: Report) -> list[str]:
    """Return the lines about failed inputs, with the command that tries them again."""
    if report.stopped:  # `fab retry` would try every input, and all would fail once more
        again = "correct the program or its arguments, and type the command again"
    else:
        them = "it" if len(report.failed) == 1 else "them"
        given = "".join(f" --env {shlex.quote(name)}" for name in report.variables)
        again = f"`fab retry --dst {shlex.quote(shown(report.dst))}{given}` tries {them} again"
    tried = [item for item in report.failed if not report.stopped or item.tries]
    lines = [f"{len(report.failed)} failed; {again}:"]
    for item in tried[:SHOWN]:
        times = f"{item.tries} tries, the last on {item.worker}" if item.tries > 1 else item.worker
        lines.append(f"  {shown(item.path)}: {shown(item.reason)}{f' ({times})' if times else ''}")
        lines += [f"    | {shown(line)}" for line in item.words if line not in item.reason]
    lines += more(len(tried))
    if untried := len(report.failed) - len(tried):
        lines.append(f"{untried} were not tried: {shown(report.stopped)}")
    return lines


def _skipped(junk: int) -> list[str]:
    """What is said of files that are no inputs."""
    return [f"{junk} skipped (.DS_Store, *~ and the like); --junk takes them"] if junk else []


def more(count: int) -> list[str]:
    """What follows a list of which SHOWN items were shown."""
    return [f"  … and {count - SHOWN} more, all in report.json and --json"] if count > SHOWN else []


def plan_json(todo: Plan, image: str) -> str:
    """A plan as JSON."""
    mounts = [mount._asdict() for mount in todo.mounts]
    data = {"image": image, "inputs": todo.inputs, "kept": todo.kept, "junk": todo.junk, "bytes": todo.size}
    more = {"workers": _shares(todo), "groups": todo.groups, "remarks": todo.remarks, "mounts": mounts}
    more["variables"] = todo.variables
    return json.dumps({**data, **more}, indent=2)


def plan_text(todo: Plan, image: str) -> str:
    """A plan for people."""
    kept = f" ({todo.kept} are done already)" if todo.kept else ""
    lines = [f"{counted(todo.inputs - todo.kept, 'input')}{kept}, {amount(todo.size)}, image {image}; nothing was done"]
    for name, share in _shares(todo).items():
        lines.append(f"  {name:<10} {counted(share['inputs'], 'input')}, {amount(share['bytes'])}")
    lines += [f"  /{each.name:<9} reference data, {amount(each.size)}, {each.digest[:12]}" for each in todo.mounts]
    lines += [f"  environment variables: {', '.join(map(shown, todo.variables))}"] if todo.variables else []
    groups = [", ".join(map(shown, group)) for group in todo.groups]
    lines += [f"{counted(len(groups), 'group')} of inputs that are processed as one:"] if groups else []
    lines += [f"  {group}" for group in groups[:SHOWN]]
    lines += [f"  … and {len(groups) - SHOWN} more, all in --json"] if len(groups) > SHOWN else []
    lines += [*todo.remarks, *_skipped(todo.junk)]
    return "\n".join(lines)


def _shares(todo: Plan) -> dict[str, dict[str, int]]:
    return {
        name: {"inputs": count_files(share), "bytes": sum(item.size for item in share)}
        for name, share in todo.shares.items()
    }
