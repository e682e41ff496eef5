"""The terminal: lines for a person, results, questions."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanrun.fleet.errors import FanrunError, UsageError
from fanrun.fleet.progress import Board

RED, GREEN = 31, 32
WITHOUT_FLEET = ("doctor", "init", "sample", "verify")
"""The tasks that have no --fleet."""
HINT = re.compile(r"`fab ([a-z]+)([^`\n]*)`")
COMMAND = re.compile(r"(?<![\w./-])fab (?=(?:--)?[a-zA-Z])")
"""Where a text names the command."""


def called_as() -> str:
    """Return the name of the command that a person typed: fab or fanrun."""
    path = Path(sys.argv[0])
    return "fanrun" if path.name == "fanrun" or path.parts[-2:] == ("fanrun", "__main__.py") else "fab"


def name_fleet(text: str, fleet: str) -> str:
    """Return the text with `--fleet` in every command of Fanrun's that it quotes; "" leaves it as it is."""

    def named(found: re.Match[str]) -> str:
        task, rest = found.groups()
        if task in WITHOUT_FLEET or "--fleet" in rest:
            return found.group()
        return f"`fab {task}{rest} --fleet {fleet}`"

    return HINT.sub(named, text) if fleet else text


def one_line(text: str) -> str:
    """Return the text with its line ends replaced by spaces."""
    return " ".join(part.strip() for part in text.splitlines() if part.strip())


class Console:
    """Where one task tells a person of its work.

    `config` is Fabric's.  `fleet` is the name that quoted commands need (see `name_fleet`), `home` the folder with the
    fleets' folders; both are empty until the settings are known.  `task` is the name of the task.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = config or {}
        self.fleet = self.task = ""
        self.home: Path | None = None

    def word(self, text: str) -> str:
        """Return a text as this task tells it: it names the command that was typed, and the fleet."""
        text = name_fleet(text, self.fleet)
        return text if called_as() == "fab" else COMMAND.sub("fanrun ", text)

    def say(self, text: str) -> None:
        """Print a line for a person, on stderr."""
        print(self.word(text), file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """Print a result for a person, on stdout."""
        print(self.word(text))

    def log(self, text: str) -> None:
        """Print a line of the log."""
        self.say(text.rstrip("\n"))

    def error(self, text: str) -> None:
        """Print one line that says what is wrong."""
        self.say(f"{self.paint('error:', RED)} {one_line(text)}")

    def paint(self, text: str, colour: int) -> str:
        """Return the text in a colour where stderr is a terminal that wants colours."""
        plain = not sys.stderr.isatty() or bool(os.environ.get("NO_COLOR"))
        return text if plain else f"\033[{colour}m{text}\033[0m"

    def board(self, total: int | None = None, unit: str = "it") -> Board:
        """Return a board of progress that words its texts as this task does."""
        board = Board(total=total, unit=unit, title=self.task)
        board.word = self.word
        return board

    def ask(self, question: str) -> bool:
        """Return whether a person at the terminal answers with yes; the end of input is a no."""
        self.say(question)
        try:
            answer = sys.stdin.readline()
        except UnicodeError:
            return False
        return answer.strip().lower() in ("y", "yes")

    def ask_about_keys(self, text: str) -> bool:
        """Return whether a person confirms host keys; UsageError where there is no terminal."""
        if not sys.stdin.isatty():
            raise UsageError("--scan asks a person: run it in a terminal, or name a file with --known-hosts")
        return self.ask(f"{text} [yes/no]")

    def ask_password(self, question: str) -> str:
        """Return the password that a person types, which is not shown; UsageError where nobody gives one."""
        if not sys.stdin.isatty():
            raise UsageError("--ask-sudo-password asks a person: run it in a terminal")
        try:
            answer = getpass.getpass(question)
        except (EOFError, UnicodeError):
            answer = ""
        if not answer:
            raise UsageError("no password was given; nothing was changed")
        return answer

    def asks(self, yes: bool) -> bool:
        """Return whether a person is asked before something is ended: at a terminal, without --yes."""
        return sys.stdin.isatty() and not yes

    def confirm(self, what: str, *, yes: bool) -> None:
        """Ask a person before `what` is done, where one is asked at all; FanrunError if the answer is not yes."""
        if self.asks(yes) and not self.ask(f"{what}. Go on? [y/N]"):
            raise FanrunError("not confirmed, so nothing was changed; --yes answers the question")
