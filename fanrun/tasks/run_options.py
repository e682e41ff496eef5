"""Options of `fab run` and `fab retry` besides those that are declared in run.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from fanrun.fanout.grouping import Grouping
from fanrun.fanout.plan import MAX_INPUTS
from fanrun.fanout.program import DockerOptions
from fanrun.fanout.reference import Mount, mounts
from fanrun.fanout.request import RunLimits
from fanrun.fanout.variables import Variables
from fanrun.fleet import values
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
TRY_FLAGS = {"try_": Flag("process only the first so many inputs, in this machine's Docker: no fleet is needed")}


class RunOptions(NamedTuple):
    """What limits the program of a run, which inputs belong together, and what it gets.

    `tries` is the number of inputs that are tried on this machine, 0 for a run on a fleet.
    """

    limits: RunLimits
    grouping: Grouping
    mounts: tuple[Mount, ...]
    variables: Variables
    docker: DockerOptions
    exclude: tuple[str, ...]
    tries: int = 0

    @property
    def of_request(self) -> dict[str, Any]:
        """Return the options that are fields of a RunRequest."""
        return {name: value for name, value in self._asdict().items() if name != "tries"}


class RetryOptions(NamedTuple):
    """What limits the program of a retry, and its environment variables."""

    limits: RunLimits
    variables: Variables


def _chosen(given: Mapping[str, object]) -> RunOptions:
    """Return what the options of `fab run` say; UsageError for one that can't be meant."""
    folders = cast(Sequence[str], given["mount"] or ())
    tries = 0 if given["try_"] is None else values.whole_number("try", str(given["try_"]), 1, MAX_INPUTS)
    limits, variables = _chosen_again(given)
    program = mounts(folders), variables, chosen_docker(given), chosen_exclude(given)
    return RunOptions(limits, chosen_grouping(given), *program, tries)


def _chosen_again(given: Mapping[str, object]) -> RetryOptions:
    """Return what the options of `fab retry` say; UsageError for one that can't be meant."""
    limits = {name: value for name, value in given.items() if name in LIMITS.flags}
    return RetryOptions(LIMITS.make(limits), chosen_variables(given))


FLAGS = {**GROUP_FLAGS, **MOUNT_FLAGS, **VARIABLE_FLAGS, **DOCKER_FLAGS, **EXCLUDE_FLAGS, **TRY_FLAGS}
RUN_OPTIONS = OptionGroup({**LIMITS.flags, **FLAGS}, _chosen)
RETRY_OPTIONS = OptionGroup({**LIMITS.flags, **VARIABLE_FLAGS}, _chosen_again)
