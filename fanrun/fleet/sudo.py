"""How commands get root's rights on a host, and the password that sudo asks for, which is kept in memory alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, get_args

from fanrun.fleet.errors import HostError

Sudo = Literal["free", "password", "none"]
"""What sudo does for the login: it asks for no password, it asks for one, or it is not used."""
KINDS: tuple[Sudo, ...] = get_args(Sudo)
NO_SUDO = (
    "sudo asks for a password there, or does not allow the login anything; --ask-sudo-password asks you for it, "
    "--no-sudo uses machines without sudo"
)
NOT_INSTALLED = "sudo is not installed there; install it, or use the machine without: --no-sudo"
ASKING = ["env", "LC_ALL=C", "sudo", "-k", "-S", "-p", "", "--"]
"""sudo as it is called where it asks: each time, for a line of standard input, without a prompt."""


def root_argv(sudo: Sudo, argv: list[str]) -> list[str]:
    """Return the command that runs argv as root, or as the login where sudo is not used."""
    return {"free": ["sudo", "-n"], "password": ASKING, "none": []}[sudo] + argv


def explain_refusal(said: str) -> str:
    """Say in words what sudo's last words were when it was given a password."""
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    if "incorrect password" in said or "try again" in said:
        return "sudo does not take this password; it was tried once"
    if "not found" in said or "No such file" in said:
        return NOT_INSTALLED
    if "sudoers" in said or "not allowed" in said or "may not run" in said:
        return "sudo does not allow the login anything there; --no-sudo uses machines without sudo"
    return f"sudo refuses ({last})"


class SudoPassword:
    """The password for sudo on a fleet's hosts, if a person has given one.

    Each host gets it once to check it. One that refuses it never gets it again: accounts may be locked.
    """

    def __init__(self) -> None:
        self._line: bytes | None = None
        self._checked: dict[str, str] = {}
        self._locks: dict[str, threading.Lock] = {}

    def __repr__(self) -> str:
        """Show whether there is a password, and nothing of it."""
        return f"SudoPassword({'given' if self.is_given else 'not given'})"

    @property
    def is_given(self) -> bool:
        """Whether a person has given one."""
        return self._line is not None

    def give(self, password: str) -> None:
        """Keep a password for as long as this process lives."""
        self._line = f"{password}\n".encode("utf-8", "surrogateescape")

    def line(self, place: str, check: Callable[[bytes], str]) -> bytes:
        """Return the line that sudo reads on the host at this place; HostError where there is none that it takes.

        `check` is called once for each host, with the line; it returns why the host refuses it, "" if it takes it.
        """
        if self._line is None:
            raise HostError(NO_SUDO, host=place)
        with self._locks.setdefault(place, threading.Lock()):
            if place not in self._checked:
                self._checked[place] = check(self._line)
        if refusal := self._checked[place]:
            raise HostError(refusal, host=place)
        return self._line
