"""The options of `fab run` that say which inputs belong together."""

from __future__ import annotations

from collections.abc import Mapping

from fanrun.fanout.grouping import Grouping, grouping
from fanrun.fanout.plan import MAX_INPUTS
from fanrun.fleet import values
from provision.options import Flag

GROUP_FLAGS = {
    "group_by": Flag(
        "process inputs as one that have these in common: stem, folder, or the groups of a regular expression, as "
        r"'(.*)_R[12]\.fastq\.gz'"
    ),
    "group_size": Flag("how many files a group has to have; others are not processed (default: any number)"),
}


def chosen_grouping(given: Mapping[str, object]) -> Grouping:
    """Return what the options say; UsageError for one that can't be meant."""
    by, size = (None if given[name] is None else str(given[name]) for name in GROUP_FLAGS)
    number = 0 if size is None else values.whole_number("group-size", size, 2, MAX_INPUTS)
    return grouping(by, number)
