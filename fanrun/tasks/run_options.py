"""The options that `fab run` and `fab retry` get as one object: limits, groups, mounts, variables, a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from fanrun.fanout.grouping import Grouping
from fanrun.fanout.program import DockerOptions
from fanrun.fanout.reference import Mount, mounts
from fanrun.fanout.request import RunLimits
from fanrun.fanout.variables import Variables
from fanrun.tasks.docker_options import DOCKER_FLAGS, chosen_docker
from fanrun.tasks.exclude_options import EXCLUDE_FLAGS, chosen_exclude
from fanrun.tasks.group_options import GROUP_FLAGS, chosen_grouping
from fanrun.tasks.limit_options import LIMITS
from fanrun.tasks.task import OptionGroup
from fanrun.tasks.variable_options import VARIABLE_FLAGS, chosen_variables
from provision.options import Flag

MOUNT_FLAGS = {
    "mount": Flag(
        "a folder that the program sees read-only as /NAME, as ./model:model; sent once and kept there; repeatable",
        is_list=True,
    )
}


class RunOptions(NamedTuple):
    """What limits the program of a run, which inputs belong together, and what it gets: fields of a RunRequest."""

    limits: RunLimits
    grouping: Grouping
    mounts: tuple[Mount, ...]
    variables: Variables
    docker: DockerOptions
    exclude: tuple[str, ...]


class RetryOptions(NamedTuple):
    """What limits the program of a retry, and its environment variables."""

    limits: RunLimits
    variables: Variables


def _chosen(given: Mapping[str, object]) -> RunOptions:
    """Return what the options of `fab run` say; UsageError for one that can't be meant."""
    folders = cast(Sequence[str], given["mount"] or ())
    limits, variables = _chosen_again(given)
    return RunOptions(
        limits, chosen_grouping(given), mounts(folders), variables, chosen_docker(given), chosen_exclude(given)
    )


def _chosen_again(given: Mapping[str, object]) -> RetryOptions:
    """Return what the options of `fab retry` say; UsageError for one that can't be meant."""
    limits = {name: value for name, value in given.items() if name in LIMITS.flags}
    return RetryOptions(LIMITS.make(limits), chosen_variables(given))


RUN_OPTIONS = OptionGroup(
    {**LIMITS.flags, **GROUP_FLAGS, **MOUNT_FLAGS, **VARIABLE_FLAGS, **DOCKER_FLAGS, **EXCLUDE_FLAGS}, _chosen
)
RETRY_OPTIONS = OptionGroup({**LIMITS.flags, **VARIABLE_FLAGS}, _chosen_again)
