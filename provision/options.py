"""Options of providers: one field of a dataclass makes a flag, a setting, its help text and its check.

Each provider has a class that derives from `ProviderOptions`.  A field that is made with `option` is

- a flag of the tasks that it names: `min_hosts` is `--min-hosts`,
- a setting in fabric.yaml and a variable of the environment: `min_hosts` and `FANRUN_MIN_HOSTS`,
- an attribute of the provider's `options`, with its value checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

from fanrun.fleet import values
from fanrun.fleet.errors import UsageError

T = TypeVar("T")
KEY = "option"
"""Where the metadata of a dataclass field holds its Option."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """Say which values an option has.

    `parse` gets the option's name on the command line and a text; it returns the value or raises UsageError.
    `is_switch` is for a flag without a value, `is_list` for one that can be repeated (its text has commas between the
    items), `is_file` for a path: in fabric.yaml it is relative to the folder of fabric.yaml.
    """

    default: T
    parse: Callable[[str, str], T]
    is_switch: bool = False
    is_list: bool = False
    is_file: bool = False


@dataclass(frozen=True)
class Option:
    """Describe an option: see `option` for the attributes."""

    kind: Kind[Any]
    help_text: str
    tasks: Collection[str]
    places_fleet: bool
    is_setting: bool


@dataclass(frozen=True)
class Flag:
    """Describe an option of a task for the command line; `default` is its value where it is not given."""

    help_text: str
    default: object = None
    is_list: bool = False


def option(
    kind: Kind[T],
    help_text: str,
    *,
    tasks: Collection[str] = ("up",),
    places_fleet: bool = False,
    is_setting: bool = True,
) -> T:
    """Return a field for an option of this kind.

    `tasks` are those that have it as a flag.  `places_fleet` says that the hosts of a fleet can't be found with another
    value.  An option that is no setting counts for one command only.
    """
    return field(default=kind.default, metadata={KEY: Option(kind, help_text, tasks, places_fleet, is_setting)})


def text() -> Kind[str]:
    """Return the kind of any text; "" leaves the choice to the provider."""
    return Kind("", lambda _, given: given)


def text_list() -> Kind[str]:
    """Return the kind of a list of texts, with commas between them."""
    return Kind("", lambda _, given: given, is_list=True)


def file() -> Kind[str]:
    """Return the kind of a path of a file; "" is none."""
    return Kind("", lambda _, given: given, is_file=True)


def pattern(expression: str, example: str) -> Kind[str]:
    """Return the kind of a text that matches a regular expression as a whole; "" leaves the choice to the provider."""

    def parse_pattern(name: str, given: str) -> str:
        if given and not re.fullmatch(expression, given):
            raise UsageError(f"--{name} {given!r} is none; they look like {example}")
        return given

    return Kind("", parse_pattern)


def whole_number(default: int, minimum: int, maximum: int) -> Kind[int]:
    """Return the kind of a whole number with bounds, which the default need not keep."""
    return Kind(default, lambda name, given: values.whole_number(name, given, minimum, maximum))


def duration(default: int, minimum: int) -> Kind[int]:
    """Return the kind of a time span in seconds."""
    return Kind(default, lambda name, given: values.duration(name, given, minimum))


def switch() -> Kind[bool]:
    """Return the kind of what is on or off."""

    def parse_switch(name: str, given: str) -> bool:
        if given.lower() not in ("true", "false", ""):
            raise UsageError(f"--{name}={given}: give true or false")
        return given.lower() == "true"

    return Kind(False, parse_switch, is_switch=True)


@dataclass(frozen=True)
class ProviderOptions:
    """Hold the options that every provider has."""

    owner: str = option(
        text(), "who the hosts are marked as belonging to (default: user@machine)", tasks=(), places_fleet=True
    )


OptionsT = TypeVar("OptionsT", bound=ProviderOptions)


def fields_of(options: type[ProviderOptions]) -> dict[str, Option]:
    """Return the options that a class has, by name."""
    return {each.name: each.metadata[KEY] for each in fields(options)}


def flags_of(options: type[ProviderOptions], task: str) -> dict[str, Flag]:
    """Return the flags that a class gives to a task, by the names of its fields."""
    return {
        name: Flag(each.help_text, False if each.kind.is_switch else None, each.kind.is_list)
        for name, each in fields_of(options).items()
        if task in each.tasks
    }


def parse(options: type[OptionsT], texts: Mapping[str, str]) -> OptionsT:
    """Return the options in these texts, by name; UsageError names the one that can't be used.

    Names of no option of this class are ignored.
    """
    known = fields_of(options)
    return options(
        **{
            name: known[name].kind.parse(name.replace("_", "-"), given.strip())
            for name, given in texts.items()
            if name in known
        }
    )
