"""Fabric's own flags: those that a task would ignore, or that would change what it does, are refused."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

USED = ("collection", "config", "debug", "search-root", "write-pyc")
"""The flags of Fabric that work together with a task.  Others end before a task begins: --help, --list, --version."""
USED_LATE = ("config",)
"""Those of them that work behind the task's name, too."""
HELP = ("-h", "--help")
FREE_TEXT = ("args", "command")
"""Options whose value is meant for another program."""


@dataclass(frozen=True)
class CommandLine:
    """What Fabric's parser found besides the tasks and their options.

    `task` is the first task, "" before the tasks are parsed.  `flags` are Fabric's own that were given, by their long
    names without dashes, `late` those behind a task's name.  `remainder` is what stands behind `--`, `config` the file
    that --config names, "" without one.
    """

    task: str = ""
    flags: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    remainder: str = ""
    config: str = ""


def command_line() -> CommandLine:
    """Return what Fabric's program has parsed by now."""
    program = getattr(sys.modules.get("fabric.main"), "program", None)
    core = getattr(program, "core", None)
    if not core:
        return CommandLine()
    arguments, behind = core[0].args, getattr(program, "core_via_tasks", None)
    tasks = [str(each.name) for each in getattr(program, "tasks", [])]
    return CommandLine(
        task=tasks[0] if tasks else "",
        flags=_given(arguments.values()),
        late=_given(behind.args.values()) if behind else (),
        remainder=core.remainder or "",
        config=arguments["config"].value or "",
    )


def _given(arguments: Iterable[Any]) -> tuple[str, ...]:
    return tuple(max(each.names, key=len) for each in arguments if each.got_value)


def refusal(task: str, options: Collection[str], line: CommandLine) -> str:
    """Return why a task does not run with this command line, "" if it does; `options` are its own, as `dry-run`."""
    if line.remainder:
        return f'fab {task} takes nothing behind `--`; `fab exec --command "…"` runs a command on every worker'
    ignored = [name for name in line.flags if name not in (USED_LATE if name in line.late else USED)]
    if not ignored:
        return ""
    flags = " and ".join(f"--{name}" for name in ignored)
    return f"fab {task} does not take {flags} of Fabric's; {_advice(task, options, ignored)}"


def missing_value(task: str, values: Mapping[str, object]) -> str:
    """Return what to say where a flag for help was taken as the value of an option, "" where none was."""
    for name, value in values.items():
        found = value if isinstance(value, list) else [value]
        if name not in FREE_TEXT and any(item in HELP for item in found):
            return f"--{flag(name)} needs a value; `fab --help {task}` shows all it takes"
    return ""


def flag(name: str) -> str:
    """Return the option that a parameter of a task is on the command line: dry_run -> dry-run, json_ -> json."""
    return name.strip("_").replace("_", "-")


def _advice(task: str, options: Collection[str], ignored: Sequence[str]) -> str:
    if "hosts" in ignored and "hosts" in options:
        return f"for the number of workers write `fab {task} --hosts=8`, with --hosts after the task's name"
    if own := [name for name in ignored if name in options]:
        return f"--{own[0]} of this task stands after its name: `fab {task} --{own[0]} …`"
    if "dry" in ignored and "dry-run" in options:
        return f"`fab {task} --dry-run` says what would be done"
    if "hosts" in ignored and "fleet" in options:
        return "it works on the hosts of one fleet, which --fleet names"
    return f"`fab --help {task}` shows what it takes"
