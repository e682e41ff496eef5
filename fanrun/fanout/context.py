"""A run's name, and what follows from it: folders in DST, its program in the ledger."""

from __future__ import annotations

import datetime
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanrun.fanout import plan
from fanrun.fanout.caller import TASK, Caller
from fanrun.fanout.program import AUTO
from fanrun.fanout.reference import Version
from fanrun.fanout.reference_content import Content
from fanrun.fanout.request import RunRequest
from fanrun.fanout.variables import remembered
from fanrun.fleet.model import Fleet, Image


def _name(started: datetime.datetime) -> str:
    """Return the time in UTC, its last four digits being the fraction of the second, so that later runs sort last.

    Runs of two clients have the same name as rarely as if these digits were random: they started in the same 15 µs.
    """
    return f"{started:%Y%m%d-%H%M%S}-{started.microsecond * 16**4 // 10**6:04x}"


@dataclass(frozen=True)
class RunContext:
    """One run: what was asked, of which fleet, with which container image; `junk` files of SRC are skipped.

    `reference` is what the folders of --mount hold, `variables` the keyed hash of the environment variables.
    `caller` is told of inputs.
    """

    request: RunRequest
    fleet: Fleet
    image: Image
    junk: int = 0
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc))
    began: float = field(default_factory=time.monotonic)
    name: str = ""
    reference: tuple[Content, ...] = ()
    variables: str = ""
    caller: Caller = TASK

    def __post_init__(self) -> None:
        """Name the run by the time when it started."""
        object.__setattr__(self, "name", self.name or _name(self.started))

    @property
    def state(self) -> Path:
        """The folder in DST where runs keep their own things."""
        return Path(self.request.dst) / os.fsdecode(plan.STATE)

    @property
    def home(self) -> Path:
        """The folder of this run's records."""
        return self.state / "runs" / self.name

    @property
    def staging(self) -> Path:
        """The folder where results arrive; the run's name in it tells whether DST is still the same folder."""
        return self.state / "staging" / self.name

    @property
    def program(self) -> str:
        """The name of the program with its arguments in the ledger."""
        return self.request.program_name(self.image.program_id, self.mounts, self.variables)

    @property
    def remembered(self) -> dict[str, Any]:
        """What `fab retry` and `fab verify` need of the run later, fit for JSON."""
        return {**self.request.remembered(self.image.name), **remembered(self.request.variables, self.variables)}

    @property
    def mounts(self) -> tuple[Version, ...]:
        """The reference data that containers see."""
        return tuple(content.version for content in self.reference)

    @property
    def jobs(self) -> int:
        """How many containers run on a worker at the same time; AUTO for as many as it has room for."""
        asked = self.request.limits.jobs
        return asked if asked is not None else 1 if self.image.source else AUTO

    @property
    def by_content(self) -> bool:
        """Whether equal inputs have equal results, as with the program of the container image that Fanrun built."""
        return self.request.by_content or bool(self.image.source and not self.request.start)
