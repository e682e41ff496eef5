"""The one way to declare a task."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import fabric

from fanrun.fleet.errors import UsageError
from fanrun.fleet.log_setup import log_to_terminal
from fanrun.tasks import boundary, core
from fanrun.tasks.console import Console

Body = Callable[..., None]


def task(
    *,
    help: Mapping[str, str],  # noqa: A002 - as Fabric names it
    iterable: Iterable[str] = (),
    name: str | None = None,
    code: int = 1,
) -> Callable[[Body], object]:
    """Declare a function as a task of Fabric's; it gets a Console and its options.

    `help` has a text for every option, `iterable` names those that can be given more than once, `code` is the exit code
    of errors that are neither usage nor an unfinished run.  Options have no short forms: those are Fabric's.
    """

    def declare(body: Body) -> object:
        title = name or body.__name__
        options = {core.flag(each) for each in list(inspect.signature(body).parameters)[1:]}

        @functools.wraps(body)
        def run(context: fabric.Connection, **values: object) -> None:
            console = Console(context.config)
            with boundary.exit_codes(console, code):
                log_to_terminal(console.log)
                _check(title, options, values)
                body(console, **values)

        return fabric.task(name=name, iterable=list(iterable), help=dict(help), auto_shortflags=False, positional=[])(
            run
        )

    return declare


def _check(title: str, options: set[str], values: Mapping[str, object]) -> None:
    """Raise UsageError for flags of Fabric's that the task does not take."""
    line = core.command_line()
    if why := core.refusal(title, options, line) or core.missing_value(title, values):
        raise UsageError(why)
    if line.config and not Path(line.config).exists():
        raise UsageError(f"--config {line.config!r} does not exist; name a file of settings, or leave it out")
