"""What a run came to, and what one would do; report_text.py has the lines for people."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from fanrun.fanout.plan import Input, count_files
from fanrun.fanout.reference import Version
from fanrun.fleet.release import RELEASE


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
    `mounts` has the hash of each folder of reference data by its name.  `image` is the reference by which workers pull
    the container image, `image_name` the name that a person gave; `exit_code` is that of the command.
    `variables` are the names of environment variables.
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
    version: str = RELEASE
    image_name: str = ""
    exit_code: int = 0
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


def plan_json(todo: Plan, image: str) -> str:
    """A plan as JSON."""
    mounts = [mount._asdict() for mount in todo.mounts]
    data = {"image": image, "inputs": todo.inputs, "kept": todo.kept, "junk": todo.junk, "bytes": todo.size}
    more = {"workers": shares(todo), "groups": todo.groups, "remarks": todo.remarks, "mounts": mounts}
    more["variables"] = todo.variables
    return json.dumps({**data, **more}, indent=2)


def shares(todo: Plan) -> dict[str, dict[str, int]]:
    """Return how many inputs each worker would get, and of how many bytes."""
    return {
        name: {"inputs": count_files(share), "bytes": sum(item.size for item in share)}
        for name, share in todo.shares.items()
    }
