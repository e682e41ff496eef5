"""What all workers of a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fanrun.fanout.commands import LogLimits
from fanrun.fanout.program import Program
from fanrun.fanout.results.destination import Destination
from fanrun.fanout.results.faults import Blame
from fanrun.fanout.schedule.scheduler import Scheduler
from fanrun.fanout.workers.link import Link
from fanrun.fleet.progress import Board


@dataclass(frozen=True)
class Job:
    """One run as its workers see it; `run` and `fleet` are names, `src` is an absolute path.

    `deliver` brings to a worker what it needs before its first batch; it raises HostUnreachable if that fails.
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
    deliver: Callable[[Link], None] = lambda link: None
