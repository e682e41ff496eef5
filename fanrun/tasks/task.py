"""The one way to declare a task."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import fabric

from fanrun.fleet.errors import UsageError
from fanrun.fleet.log_setup import log_to_terminal
from fanrun.tasks import boundary, core
from fanrun.tasks.console import Console
from provision.options import Flag

Body = Callable[..., None]
T = TypeVar("T")


SHORT = {"dry_run": "n", "follow": "f", "jobs": "j", "yes": "y"}
"""The options that have a short form, by the names of their parameters."""


class Task(fabric.Task):  # type: ignore[misc]  # Fabric has no types
    """A task with the short forms of its options."""

    def arg_opts(self, name: str, default: object, taken_names: set[str]) -> dict[str, Any]:
        """Return what Fabric makes an option of."""
        found: dict[str, Any] = super().arg_opts(name, default, taken_names)
        found["names"] += [SHORT[name]] if name in SHORT else []
        return found


@dataclass(frozen=True)
class OptionGroup(Generic[T]):
    """Options that a task gets as one object: `make` builds it from their values by name."""

    flags: Mapping[str, Flag]
    make: Callable[[Mapping[str, object]], T]


def task(
    *,
    help: Mapping[str, str],  # noqa: A002 - as Fabric names it
    iterable: Iterable[str] = (),
    name: str | None = None,
    code: int = 1,
    group: OptionGroup[Any] | None = None,
) -> Callable[[Body], object]:
    """Declare a function as a task of Fabric's; it gets a Console, the object of `group` if there is one, its options.

    `help` has a text for every option, `iterable` names those that can be given more than once, `code` is the exit code
    of errors that are neither usage nor an unfinished run.  Few options have short forms: most letters are Fabric's.
    """
    flags = group.flags if group else {}
    texts = {**help, **{core.flag(each): flag.help_text for each, flag in flags.items()}}
    lists = [*iterable, *(each for each, flag in flags.items() if flag.is_list)]

    def declare(body: Body) -> object:
        run = _fabric_body(body, name or body.__name__, code, group)
        own = {"klass": Task, "auto_shortflags": False, "positional": []}
        return fabric.task(name=name, iterable=lists, help=texts, **own)(run)

    return declare


def _fabric_body(body: Body, title: str, code: int, group: OptionGroup[Any] | None) -> Callable[..., None]:
    """Return the function that Fabric calls for a task: it checks the options, and turns errors into exit codes."""
    flags = group.flags if group else {}
    signature = _signature(body, flags if group else None)
    options = {core.flag(each) for each in list(signature.parameters)[1:]}

    @functools.wraps(body)
    def run(context: fabric.Connection, **values: object) -> None:
        console = Console(context.config)
        console.task = title
        with boundary.exit_codes(console, code):
            log_to_terminal(console.log)
            _check(title, options, values)
            made = [group.make({each: values.pop(each) for each in flags})] if group else []
            body(console, *made, **values)

    vars(run)["__signature__"] = signature  # Fabric reads it by inspect.signature
    return run


def _signature(body: Body, flags: Mapping[str, Flag] | None) -> inspect.Signature:
    """Return the parameters of a task; flags of a group stand in place of the parameter that gets their object."""
    signature = inspect.signature(body)
    if flags is None:
        return signature
    console, _, *own = signature.parameters.values()
    grouped = [inspect.Parameter(each, console.kind, default=flag.default) for each, flag in flags.items()]
    return signature.replace(parameters=[console, *own, *grouped])


def _check(title: str, options: set[str], values: Mapping[str, object]) -> None:
    """Raise UsageError for flags of Fabric's that the task does not take."""
    line = core.command_line()
    if why := core.refusal(title, options, line) or core.missing_value(title, values):
        raise UsageError(why)
    if line.config and not Path(line.config).exists():
        raise UsageError(f"--config {line.config!r} does not exist; name a file of settings, or leave it out")
