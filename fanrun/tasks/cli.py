"""The command line: Fabric's, with help and messages of our own."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator
from typing import Any, NoReturn

import fabric.main
from invoke.exceptions import Exit, ParseError
from invoke.util import helpline

from fanrun.fleet import places
from fanrun.fleet.exit_codes import ExitCode
from fanrun.fleet.release import RELEASE
from fanrun.tasks import typos
from fanrun.tasks.collection import GROUPS, TASKS
from fanrun.tasks.console import Console

ABOUT = "Run a program in a container image over a folder of files, on many machines by SSH."
EXAMPLES = (
    ("fab up --hosts=2", "make a fleet of two workers and a hub"),
    ("fab run --src ./dataset --dst ./output", "process all files of a folder"),
    ("fab down", "end the fleet"),
)
SHOWN = ("help", "version", "list", "config", "print-completion-script")
"""The general options that the help shows; Fabric has more, which tasks refuse."""


class Messages(fabric.main.Fab):  # type: ignore[misc]  # Fabric has no types
    """Fabric's program with Fanrun's help, and with messages that name what was meant."""

    def parse_tasks(self) -> None:
        """Parse the words behind the general options."""
        with self._explained():
            super().parse_tasks()
        if option := typos.without_value(self.argv[1:], self._grammar()):
            self._refuse(f"{option} needs a value")

    def parse_cleanup(self) -> None:
        """Answer --help, --list and --complete."""
        if isinstance(name := self.args.list.value, str):
            self._refuse(f"--list takes no {name!r}; `fab --help {name}` shows the options of a task")
        with self._explained():
            super().parse_cleanup()

    def print_version(self) -> None:
        """Print Fanrun's version."""
        print(f"fanrun {RELEASE}")

    def print_help(self) -> None:
        """Print the tasks in groups, examples, and the general options."""
        console = Console()
        print(console.word(f"Usage: fab TASK [options]\n\n{ABOUT}\n"))
        names = {task: name for name, task in TASKS.tasks.items()}
        width = max(map(len, names.values()))
        for title, tasks in GROUPS.items():
            print(f"{title}:")
            self.print_columns([(f"{names[task]:{width}}", helpline(task)) for task in tasks])
        print("Examples:")
        self.print_columns([(console.word(command), text) for command, text in EXAMPLES])
        print("Options:")
        shown = [each for each in self.initial_context.args.values() if each.name in SHOWN]
        self.print_columns([self.initial_context.help_for(f"--{each.name}") for each in shown])
        print(console.word("`fab --help TASK` shows the options of a task."), end="\n\n")

    def print_task_help(self, name: str) -> None:
        """Print what a task does, and its options."""
        print(f"Usage: {Console().word(f'fab {name}')} [options]\n")
        print(f"{inspect.getdoc(self.collection[name])}\n\nOptions:")
        self.print_columns(self.parser.contexts[name].help_tuples())

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what is wrong with the command line, and what to type instead."""
        try:
            yield
        except ParseError as error:
            task = str(error.context.name) if error.context and error.context.name else ""
            self._refuse(typos.explain(str(error), task, self.argv[1:], self._grammar()))

    def _refuse(self, text: str) -> NoReturn:
        Console().error(text)
        raise Exit(code=ExitCode.USAGE)

    def _grammar(self) -> typos.Grammar:
        """Return the options of all tasks."""
        flags = {name: context.flags for name, context in self.parser.contexts.items()}
        options = {name: list(each) for name, each in flags.items()}
        switches = {name: [flag for flag in each if not each[flag].takes_value] for name, each in flags.items()}
        lists = frozenset(flag for each in flags.values() for flag in each if each[flag].kind is list)
        return typos.Grammar(options, switches, [f"--{name}" for name in SHOWN], lists)


class Command(Messages):
    """The command `fanrun`, which knows its tasks without a fabfile."""

    def task_args(self) -> list[Any]:
        """Return nothing: there is no fabfile to be looked for."""
        return []

    def load_collection(self) -> None:
        """Take Fanrun's own tasks, and the settings of fabric.yaml."""
        self.config.set_project_location(places.settings_folder(os.environ))
        self.config.load_project()
        self.collection = TASKS


def adopt(kind: type[Messages]) -> Messages:
    """Let Fabric's program, which may have parsed a part of the command line by now, be one of that kind.

    Fabric's `fab` makes its program before it reads a fabfile.
    """
    fabric.main.program.__class__ = kind
    program: Messages = fabric.main.program
    return program


def run() -> None:
    """Run `fanrun` with the process's command line."""
    adopt(Command).run()
