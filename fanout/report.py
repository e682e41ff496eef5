"""What a run came to: for people as a summary, for programs as report.json."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

SHOWN = 20


@dataclass(frozen=True)
class Failure:
    """An input without a result: its key as text (os.fsdecode), the reason, the worker that found it."""

    path: str
    reason: str
    worker: str


@dataclass(frozen=True)
class WorkerReport:
    """One worker's part; `seconds` are those its push, process and pull were busy, `lost` says why it was given up."""

    name: str
    done: int
    failed: int
    bytes_in: int
    bytes_out: int
    seconds: dict[str, float]
    lost: str = ""


@dataclass(frozen=True)
class Report:
    """A run; bytes are those of inputs that are done and of their results, `left` counts inputs without a fate."""

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
    left: int
    results: int
    extra: int
    bytes_in: int
    bytes_out: int
    failed: list[Failure] = field(default_factory=list)
    workers: list[WorkerReport] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Inputs done per second."""
        return self.done / self.seconds if self.seconds else 0.0


def to_json(report: Report) -> str:
    """The report as JSON; a byte of a path that is no UTF-8 stands as its surrogate escape, \\udc80 to \\udcff."""
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
    speed = f"{report.seconds:.1f} s ({report.rate:.1f} images/s)"
    data = f"{amount(report.bytes_in)} in, {amount(report.bytes_out)} out"
    lines = [f"{report.done} of {report.inputs} inputs done in {speed}, {data}"]
    for worker in report.workers:
        busy = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in worker.seconds.items())
        failed = f", {worker.failed} failed" if worker.failed else ""
        lost = f", lost: {shown(worker.lost)}" if worker.lost else ""
        rate = worker.done / report.seconds if report.seconds else 0.0
        lines.append(f"  {worker.name:<10} {worker.done} done{failed} ({rate:.1f}/s): {busy}{lost}")
    if report.extra:
        lines.append(f"{report.extra} results belong to no input; they are in DST too")
    if report.failed:
        lines.append(f"{len(report.failed)} failed:")
        lines += [f"  {shown(item.path)}: {shown(item.reason)} ({item.worker})" for item in report.failed[:SHOWN]]
        if len(report.failed) > SHOWN:
            lines.append(f"  … and {len(report.failed) - SHOWN} more, all in report.json")
    if report.left:
        lines.append(f"{report.left} inputs are left; run the same command again")
    return "\n".join(lines)
