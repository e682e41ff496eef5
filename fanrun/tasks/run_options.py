"""The options of `fab run` that it gets as one object: what limits a program, which inputs belong together, mounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from fanrun.fanout.grouping import Grouping
from fanrun.fanout.plan import MAX_INPUTS
from fanrun.fanout.reference import Mount, mounts
from fanrun.fanout.request import RunLimits
from fanrun.fleet import values
from fanrun.tasks.group_options import GROUP_FLAGS, chosen_grouping
from fanrun.tasks.limit_options import LIMITS
from fanrun.tasks.task import OptionGroup
from provision.options import Flag

MOUNT_FLAGS = {
    "mount": Flag(
        "a folder that the program sees read-only as /NAME, as ./model:model; sent once and kept there; repeatable",
        is_list=True,
    )
}


TRY_FLAGS = {"try_": Flag("process only the first so many inputs, in this machine's Docker: no fleet is needed")}


class RunOptions(NamedTuple):
    """What limits the program of a run, which of its inputs belong together, and its reference data.

    `tries` is the number of inputs that are tried on this machine, 0 for a run on a fleet.
    """

    limits: RunLimits
    grouping: Grouping
    mounts: tuple[Mount, ...]
    tries: int = 0


def _chosen(given: Mapping[str, object]) -> RunOptions:
    """Return what the options say; UsageError for one that can't be meant."""
    limits = {name: value for name, value in given.items() if name in LIMITS.flags}
    folders = cast(Sequence[str], given["mount"] or ())
    tries = 0 if given["try_"] is None else values.whole_number("try", str(given["try_"]), 1, MAX_INPUTS)
    return RunOptions(LIMITS.make(limits), chosen_grouping(given), mounts(folders), tries)


RUN_OPTIONS = OptionGroup({**LIMITS.flags, **GROUP_FLAGS, **MOUNT_FLAGS, **TRY_FLAGS}, _chosen)
