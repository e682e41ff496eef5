"""The options that say which inputs belong together; `fab run` takes them beside those that limit the program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fanrun.fanout.grouping import Grouping, grouping
from fanrun.fanout.plan import MAX_INPUTS
from fanrun.fanout.request import RunLimits
from fanrun.fleet import values
from fanrun.tasks.limit_options import LIMITS
from fanrun.tasks.task import OptionGroup
from provision.options import Flag

GROUP_FLAGS = {
    "group_by": Flag(
        "process inputs as one that have these in common: stem, folder, or the groups of a regular expression, as "
        r"'(.*)_R[12]\.fastq\.gz'"
    ),
    "group_size": Flag("how many files a group has to have; others are not processed (default: any number)"),
}


class LimitsAndGrouping(NamedTuple):
    """What limits the program of a run, and which of its inputs belong together."""

    limits: RunLimits
    grouping: Grouping


def _chosen(given: Mapping[str, object]) -> LimitsAndGrouping:
    """Return what the options say; UsageError for one that can't be meant."""
    by, size = (None if given[name] is None else str(given[name]) for name in GROUP_FLAGS)
    number = 0 if size is None else values.whole_number("group-size", size, 2, MAX_INPUTS)
    limits = {name: value for name, value in given.items() if name in LIMITS.flags}
    return LimitsAndGrouping(LIMITS.make(limits), grouping(by, number))


LIMITS_AND_GROUPING = OptionGroup({**LIMITS.flags, **GROUP_FLAGS}, _chosen)
