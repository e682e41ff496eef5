"""The options of `fab run` that it gets as one object: what limits a program, which inputs belong together, mounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from fanrun.fanout.grouping import Grouping
from fanrun.fanout.reference import Mount, mounts
from fanrun.fanout.request import RunLimits
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


class RunOptions(NamedTuple):
    """What limits the program of a run, which of its inputs belong together, and its reference data."""

    limits: RunLimits
    grouping: Grouping
    mounts: tuple[Mount, ...]


def _chosen(given: Mapping[str, object]) -> RunOptions:
    """Return what the options say; UsageError for one that can't be meant."""
    limits = {name: value for name, value in given.items() if name in LIMITS.flags}
    folders = cast(Sequence[str], given["mount"] or ())
    return RunOptions(LIMITS.make(limits), chosen_grouping(given), mounts(folders))


RUN_OPTIONS = OptionGroup({**LIMITS.flags, **GROUP_FLAGS, **MOUNT_FLAGS}, _chosen)
