"""When a run ends though inputs are left: once some inputs have failed, or are done."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from fanrun.fanout.results.stats import WorkerStats
from fanrun.fleet.errors import RunUnfinished, UsageError

FORM = re.compile(r"(?P<when>soon|now),(?P<what>fail|success|done)=(?P<number>[0-9]+)(?P<percent>%?)")
MIN_FAILED = 3
"""A percentage of failed inputs counts only if this many have failed: the first to fail may be one of few."""
WORDS = {"fail": "have failed", "success": "have results", "done": "have failed or have results"}


class Halted(RunUnfinished):
    """The condition of --halt is met; with `now` what runs is ended, else it is finished."""

    def __init__(self, text: str, *, now: bool) -> None:
        super().__init__(text)
        self.now = now


@dataclass(frozen=True)
class Halt:
    """The value of --halt as GNU parallel writes it: `text`, such as soon,fail=10%."""

    text: str
    now: bool
    what: str
    number: int
    is_percent: bool

    def check(self, stats: Collection[WorkerStats], total: int) -> None:
        """Raise Halted if the condition is met by what workers have done of `total` inputs."""
        failed, succeeded = sum(len(each.failed) for each in stats), sum(each.done for each in stats)
        count = {"fail": failed, "success": succeeded, "done": failed + succeeded}[self.what]
        limit = self.number * total / 100 if self.is_percent else self.number
        if self.is_percent and self.what == "fail":
            limit = max(limit, MIN_FAILED)
        if count >= max(limit, 1):
            raise Halted(f"halted: {count} of {total} inputs {WORDS[self.what]} (--halt {self.text})", now=self.now)


def parse_halt(text: str) -> Halt | None:
    """Return what --halt asks for, None for never; UsageError for another text."""
    if text == "never":
        return None
    found = FORM.fullmatch(text)
    number = int(found["number"]) if found else 0
    if found is None or number < 1 or (found["percent"] and number > 100):
        raise UsageError(
            f"--halt={text!r}: give soon or now, and fail=, success= or done= with a number or a percentage, as "
            "soon,fail=10% or now,fail=3; or never"
        )
    return Halt(text, found["when"] == "now", found["what"], number, bool(found["percent"]))
