"""The options that tasks share: their help texts, and which provider takes which."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from fanrun.fanout.expect import UNFINISHED
from fanrun.fleet import values
from fanrun.fleet.errors import UsageError
from fanrun.tasks.core import flag
from provision import catalog

FLEET = "the fleet's name (default: default)"
ASK_SUDO = "ask for the password that sudo wants on the hosts"
YES = "do not ask at a terminal"
TAKE_OVER = "end the hosts that have this id (their folder is lost, or they belong to another fleet)"
RESULTS = {
    "expect": "the results that each input must have, as '{stem}.txt,{stem}.pdf'; also {name} and {folder}",
    "ignore-results": f"names of files that are no results, with commas (default: {','.join(UNFINISHED)})",
}


def given(flags: Mapping[str, object]) -> list[str]:
    """Return the names of the options that stand on the command line; what was not given is None, False or []."""
    return [name for name, value in flags.items() if value is not None and value is not False and value != []]


def check(names: Sequence[str], provider: str, fleet: str = "") -> None:
    """Raise UsageError for the first of these options that another provider takes and this one does not.

    `fleet` is the name of the fleet where it exists already, and so has its provider.
    """
    for name in names:
        if catalog.takes(provider, name):
            continue
        if fleet:
            raise UsageError(f"fleet {fleet} is of provider {provider}, which has no --{flag(name)}; leave it out")
        meant = " or ".join(f"--provider={owner}" for owner in catalog.owners(name))
        raise UsageError(f"provider {provider} has no --{flag(name)}; did you mean {meant}?")


def refuse(flags: Mapping[str, object], why: str) -> None:
    """Raise UsageError for the first of these options that is given; `why` says what is in its way."""
    for name in given(flags):
        raise UsageError(f"{why}; leave out --{flag(name)}")


def setting(value: object) -> str | None:
    """Return the value of a flag as a setting, a list with commas between its items; None if it was not given."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or None
    if isinstance(value, bool):
        return "true" if value else None
    return None if value is None else str(value)


def words(args: str) -> tuple[str, ...]:
    """Return the arguments in a text, as a shell splits it; UsageError for a quote that does not end."""
    try:
        return tuple(shlex.split(args))
    except ValueError as error:
        raise UsageError(f"--args {args!r}: {error}") from error


def path(name: str, given: str) -> str:
    """Return the absolute path in the option of that name; `~` is a home, which shells leave alone in `--dst=~/x`."""
    return os.path.abspath(values.path(f"--{name}", given))


def text(name: str, given: str | None) -> str | None:
    """Return what the file in an option holds, or None and "" as they are; UsageError if it can't be read."""
    if not given:
        return given
    try:
        return Path(path(name, given)).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{given} can't be read: {getattr(error, 'strerror', None) or error}") from error
