"""What all workers of a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fanrun.fanout.commands import LogLimits
from fanrun.fanout.program import Program
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.faults import Blame
from fanrun.fanout.schedule.scheduler import Scheduler
from fanrun.fanout.workers.input_cache import InputCache
from fanrun.fanout.workers.link import Link
from fanrun.fleet.probe import Probe
from fanrun.fleet.progress import Board


@dataclass(frozen=True)
class Job:
    """One run as its workers see it; `run` and `fleet` are names, `src` is an absolute path.

    `prepare` gets a worker ready for its first batch; it raises HostUnreachable if that fails.  `cache` knows what
    workers have of earlier runs.  `check` is called again and again; it raises RunUnfinished to end the work.
    """

    run: str
    src: str
    program: Program
    scheduler: Scheduler
    destination: Destination
    board: Board
    blame: Blame = field(default_factory=Blame)
    fleet: str = "default"
    logs: LogLimits = field(default_factory=LogLimits)
    cache: InputCache | None = None
    prepare: Callable[[Link, Probe], None] = lambda link, probe: None
    check: Callable[[], None] = lambda: None
