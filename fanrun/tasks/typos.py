"""What to say where the command line is not understood: what is wrong, and what to type instead."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

UNKNOWN = re.compile(r"No idea what (.*) is!", re.DOTALL)
NO_VALUE = re.compile(r"Flag <Argument: ([^ >(]+).*needed value")
TASK_SYNONYMS = {
    "create": "up",
    "delete": "down",
    "destroy": "down",
    "help": "--help",
    "launch": "up",
    "list": "--list",
    "log": "logs",
    "ls": "status",
    "process": "run",
    "ps": "status",
    "remove": "down",
    "resume": "run",
    "rm": "down",
    "scale": "up",
    "shell": "ssh",
    "start": "up",
    "stop": "down",
    "terminate": "down",
    "version": "--version",
}
"""What other tools call things, and the task or option here."""
OPTION_SYNONYMS = {
    "--cmd": "--command",
    "--destination": "--dst",
    "--force": "--yes",
    "--in": "--src",
    "--input": "--src",
    "--inputs": "--src",
    "--name": "--fleet",
    "--nodes": "--hosts",
    "--out": "--dst",
    "--output": "--dst",
    "--parallel": "--jobs",
    "--source": "--src",
    "--target": "--dst",
    "--workers": "--hosts",
}
VALUES = {
    "down": "--fleet",
    "drain": "--host",
    "exec": "--command",
    "init": "--dir",
    "logs": "--dst",
    "retry": "--dst",
    "sample": "--dst",
    "serve": "--replicas",
    "ssh": "--host",
    "status": "--fleet",
    "up": "--hosts",
    "verify": "--dst",
}
"""The option of each task that a value without an option is most likely meant for."""
DASHES = "\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"
"""What word processors make of two hyphens."""


@dataclass(frozen=True)
class Grammar:
    """What the command line may hold; all options are written with their dashes.

    `tasks` has the options of each task, `switches` those that take no value, `lists` are options that are repeatable,
    `general` are those that stand before the task as well.
    """

    tasks: Mapping[str, Sequence[str]]
    switches: Mapping[str, Sequence[str]]
    general: Sequence[str]
    lists: frozenset[str] = frozenset()


def explain(problem: str, task: str, argv: Sequence[str], grammar: Grammar) -> str:
    """Return what to say of an error of the parser's; `task` is the one that was being read, "" before the first.

    `problem` is the parser's own text, `argv` are the words that a person typed.
    """
    if found := NO_VALUE.match(problem):
        where = f"`fab --help {task}` shows all it takes" if task else "`fab --help` shows all options"
        return f"--{found[1].replace('_', '-')} needs a value; {where}"
    if not (found := UNKNOWN.match(problem)):
        return f"the command line can't be read: {problem}; `fab --help` shows what it takes"
    word = found[1][1:-1]
    if word.startswith("-") or word[:1] in DASHES:
        return _unknown_option(word, task, argv, grammar)
    if not task:
        return _unknown_task(word, argv, grammar)
    return _unknown_value(word, task, argv, grammar)


def _unknown_option(option: str, task: str, argv: Sequence[str], grammar: Grammar) -> str:
    typed = next((word.partition("=")[0] for word in argv if _is_split(word, option)), option.partition("=")[0])
    name = f"--{typed.lstrip('-' + DASHES)}"
    owner = "" if task else next((word for word in argv if word in grammar.tasks), "")
    if owner and (near := _near(name, grammar.tasks[owner])):
        return f"{typed} stands before the task; write `fab {owner} {near} …`"
    subject, help_of = task or "fab", f"`fab --help {task}`" if task else "`fab --help`"
    known = [*(grammar.tasks[task] if task else ()), *grammar.general]
    near = meant if (meant := OPTION_SYNONYMS.get(name, "")) in known else _near(name, known)
    if near and len(name) > len("--x"):
        return f"{subject} has no {typed}; did you mean {near}?"
    owners = ", ".join(each for each, options in grammar.tasks.items() if name in options)
    whose = f", which is an option of {owners}" if owners else ""
    return f"{subject} has no {typed}{whose}; {help_of} shows what it takes"


def _is_split(word: str, option: str) -> bool:
    """Whether the parser took a word such as -src apart, into -s, -r and -c, and did not know that option."""
    return not word.startswith("--") and len(word) > len(option) == 2 and word.startswith("-") and option[1] in word


def _unknown_task(word: str, argv: Sequence[str], grammar: Grammar) -> str:
    near = _near(word, [*grammar.tasks, *TASK_SYNONYMS], cutoff=0.6)
    meant = TASK_SYNONYMS.get(near, near)
    rest = argv[argv.index(word) + 1 :] if word in argv else []
    if meant == "--help" and rest and rest[0] in grammar.tasks:
        return f"there is no task {word!r}; did you mean `fab --help {rest[0]}`?"
    if meant:
        return f"there is no task {word!r}; did you mean {meant}?"
    if os.sep in word or "." in word:
        return f"there is no task {word!r}; give folders as `fab run --src A --dst B`"
    return f"there is no task {word!r}; `fab --list` shows those that there are"


def _unknown_value(word: str, task: str, argv: Sequence[str], grammar: Grammar) -> str:
    if switch := next((each for each in grammar.switches[task] if f"{each}={word}" in argv), ""):
        return f"{switch} takes no value; leave out ={word}"
    if f"--{word.partition('=')[0]}" in grammar.tasks[task]:
        return f"{task} takes no {word!r} by itself; did you mean --{word}?"
    if "--src" in grammar.tasks[task]:
        return f"{task} takes no {word!r} by itself; give folders as `--src A --dst B`"
    if task in VALUES and (task != "up" or word.isdecimal()):
        return f"{task} takes no {word!r} by itself; did you mean {VALUES[task]}={shlex.quote(word)}?"
    return f"{task} takes no {word!r} by itself; `fab --help {task}` shows what it takes"


def without_value(argv: Sequence[str], grammar: Grammar) -> str:
    """Return the first repeatable option that stands without its value, "" if none does.

    The parser would ignore it.
    """
    flags = {flag for options in grammar.tasks.values() for flag in options} | set(grammar.general)
    for word, following in zip_longest(argv, argv[1:], fillvalue=""):
        if word in grammar.lists and (not following or following in flags):
            return word
    return ""


def _near(word: str, known: Sequence[str], cutoff: float = 0.75) -> str:
    """Return the name that was meant, "" if none is like it."""
    lower = word.lower()
    squeezed = {name.replace("-", ""): name for name in known}
    if same := squeezed.get(lower.replace("-", "").replace("_", ""), ""):
        return same
    return next(iter(difflib.get_close_matches(lower, known, n=1, cutoff=cutoff)), "")
