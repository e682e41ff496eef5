"""Which providers there are, and which options they have.

A provider is a package in provision/providers/: its module `provider` has the class `PROVIDER`, its module `options`
the class `OPTIONS`.  A module in provision/providers/ that has both is a provider as well.  `options` imports nothing
that may not be installed, so the options of every provider are known.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType

import provision.providers
from fanrun.fleet.config import OptionNames
from fanrun.fleet.errors import ToolMissing, UsageError
from fanrun.fleet.store import Folder
from provision import options as provider_options
from provision.options import Flag, ProviderOptions
from provision.providers.base import Provider


def names() -> list[str]:
    """Return the names of the providers there are."""
    return sorted(_packages())


def load(name: str, folder: Folder, options: ProviderOptions | None = None, fleet_id: str = "") -> Provider:
    """Return the provider of that name for a fleet, or for other hosts with `fleet_id`.

    `options` are of its own class.  Raises UsageError naming the providers there are.
    """
    _check_name(name)
    return kind(name)(folder, options or options_class(name)(), fleet_id)


def kind(name: str) -> type[Provider]:
    """Return the class of a provider that there is; ToolMissing where it needs a package that is not installed."""
    provider: type[Provider] = _import(name, "provider").PROVIDER
    return provider


def options_class(name: str) -> type[ProviderOptions]:
    """Return the class of a provider's options; ToolMissing where its module can't be imported."""
    options: type[ProviderOptions] = _import(name, "options").OPTIONS
    return options


def parse(name: str, texts: Mapping[str, str]) -> ProviderOptions:
    """Return a provider's options in these texts, by name.

    Raises UsageError for a text that can't be used, whichever provider it is for, and where there is no such provider.
    """
    parsed = {each: provider_options.parse(options, texts) for each, options in _options().items()}
    _check_name(name)
    return parsed.get(name) or provider_options.parse(options_class(name), texts)


def flags(task: str) -> dict[str, Flag]:
    """Return the flags that providers have in a task, by parameter; one of several providers has all help texts."""
    found: dict[str, Flag] = {}
    for options in _options().values():
        for name, flag in provider_options.flags_of(options, task).items():
            texts = dict.fromkeys([*([found[name].help_text] if name in found else []), flag.help_text])
            found[name] = Flag("; ".join(texts), flag.default, flag.is_list)
    return found


def takes(name: str, option: str) -> bool:
    """Return whether a provider has an option, as `min_hosts`; ToolMissing where its options can't be imported."""
    return option in provider_options.fields_of(options_class(name))


def owners(option: str) -> list[str]:
    """Return the names of the providers that have an option, as `min_hosts`."""
    return [name for name, options in _options().items() if option in provider_options.fields_of(options)]


def setting_names() -> OptionNames:
    """Return the options of providers that are settings, and which of them are files."""
    found = {name: each for name, each in _fields().items() if each.is_setting}
    return OptionNames(tuple(found), frozenset(name for name, each in found.items() if each.kind.is_file))


def placing() -> list[str]:
    """Return the options without which the hosts of a fleet would not be found any more."""
    return [name for name, each in _fields().items() if each.places_fleet]


def _fields() -> dict[str, provider_options.Option]:
    return {name: each for options in _options().values() for name, each in provider_options.fields_of(options).items()}


def _options() -> dict[str, type[ProviderOptions]]:
    """Return the class of options of each provider; a provider that can't be imported does not disturb the others."""
    found = {}
    for name in names():
        with contextlib.suppress(ToolMissing):
            found[name] = options_class(name)
    return found


def _check_name(name: str) -> None:
    if name not in names():
        raise UsageError(f"there is no provider {name!r}; choose one of: {', '.join(names())}")


def _packages() -> dict[str, bool]:
    """Return whether each provider is a package, by its name."""
    found = pkgutil.iter_modules(provision.providers.__path__)
    return {each.name: each.ispkg for each in found if each.name != "base"}


def _import(name: str, part: str) -> ModuleType:
    """Return the module of a provider that has one of its parts."""
    path = f"{provision.providers.__name__}.{name}"
    try:
        return importlib.import_module(f"{path}.{part}" if _packages()[name] else path)
    except ImportError as error:
        raise ToolMissing(
            f"provider {name} needs a Python package that can't be imported ({error}); script/setup installs it",
            tool=error.name or name,
        ) from error
