"""What a task works with: its settings, the fleet's folder, and the provider of its hosts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass

from fanrun.fanout.commands import LogLimits
from fanrun.fleet import config
from fanrun.fleet.errors import FleetDamaged, UsageError
from fanrun.fleet.model import ID, Fleet
from fanrun.fleet.store import Folder
from fanrun.tasks import options
from fanrun.tasks.boundary import ROOT
from fanrun.tasks.console import Console
from provision.providers import base as providers

PLACE = ("account", "region", "profile", "owner")
"""The settings without which a fleet's hosts would not be found any more."""


@dataclass(frozen=True)
class Target:
    """The settings of a task that works with a provider, the folder of its fleet, and the provider."""

    settings: config.Settings
    folder: Folder
    provider: providers.Provider


def settings(console: Console, **flags: object) -> config.Settings:
    """Return the settings of a task with these flags; from now on the console's texts name the fleet.

    Raises UsageError for a setting that can't be meant.
    """
    found = console.config.get("fanrun")
    if found is not None and not hasattr(found, "items"):
        raise UsageError("fabric.yaml: `fanrun:` holds settings, a line `name: value` each")
    file = dict(found or {})
    made = config.settings(ROOT, file, os.environ, {name: options.setting(value) for name, value in flags.items()})
    usual = config.usual_fleet(file, os.environ)
    console.fleet = "" if made.fleet == usual == config.Settings.fleet else made.fleet
    console.home = made.home
    return made


def folder(console: Console, fleet: str | None) -> Folder:
    """Return the folder of the fleet that a task works with."""
    made = settings(console, fleet=fleet)
    return Folder(made.home, made.fleet)


def log_limits(console: Console, fleet: str | None) -> LogLimits:
    """Return how many bytes of logs a run keeps."""
    logs = settings(console, fleet=fleet).logs
    return LogLimits(logs.batch, logs.spool)


def provider(console: Console, fleet: str | None) -> providers.Provider:
    """Return the provider of a fleet, for a task that has no options of providers."""
    return target(console, None, fleet, {}).provider


def target(
    console: Console,
    name: str | None,
    fleet: str | None,
    flags: Mapping[str, object],
    *,
    hosts: str | None = None,
    vector: str | None = None,
) -> Target:
    """Return what a task works with where --provider is `name` and the options of providers are `flags`.

    Raises UsageError for an option that belongs to another provider.
    """
    made = settings(console, provider=name, fleet=fleet, hosts=hosts, vector=vector, **flags)
    place = Folder(made.home, made.fleet)
    known, provider_options = _known(place, made, name)
    chosen = known or name or made.provider
    if chosen in providers.names():
        options.check(options.given(flags), chosen, made.fleet if known else "")
    return Target(made, place, providers.load(chosen, place, config.provider_options(provider_options)))


def other(console: Console, name: str | None, fleet: str | None, flags: Mapping[str, object], fleet_id: str) -> Target:
    """Return what a task works with to end the hosts with that id, wherever the fleet of the folder is."""
    made = settings(console, provider=name, fleet=fleet, **flags)
    place = Folder(made.home, made.fleet)
    chosen, provider_options = name or made.provider, made.provider_options
    known = _load(place, name)
    if known and name in (None, known.provider):
        chosen, provider_options = known.provider, {**known.provider_options, **provider_options}
    if chosen in providers.names():
        options.check(options.given(flags), chosen)
    return with_id(
        Target(made, place, providers.load(chosen, place, config.provider_options(provider_options))), fleet_id
    )


def named(console: Console, name: str, fleet: str | None, flags: Mapping[str, object]) -> Target:
    """Return what a task works with that is about a provider, and not about the fleet of the folder."""
    made = settings(console, provider=name, fleet=fleet, **flags)
    place = Folder(made.home, made.fleet)
    return Target(made, place, providers.load(name, place, config.provider_options(made.provider_options)))


def with_id(aim: Target, fleet_id: str) -> Target:
    """Return the same target, whose provider works with the hosts that have that id."""
    _check_id(aim, fleet_id)
    chosen = providers.load(aim.provider.name, aim.folder, aim.provider.options, fleet_id)
    return dataclasses.replace(aim, provider=chosen)


def _check_id(aim: Target, fleet_id: str) -> None:
    """Raise UsageError for what is not an id, or is the fleet's own: its folder would stay without its hosts."""
    if not ID.fullmatch(fleet_id):
        raise UsageError(f"--take-over {fleet_id!r} is not an id; `fab down` and `fab up` show the ids there are")
    # A fleet of an older version has an id that its provider must be asked for.
    own = aim.provider.ids if aim.folder.outdated else aim.folder.ids
    if fleet_id in own:
        raise UsageError(f"--take-over {fleet_id} is the id of fleet {aim.folder.name} itself; `fab down` ends it")


def _known(place: Folder, made: config.Settings, name: str | None) -> tuple[str, dict[str, str]]:
    """The provider of the fleet if it was begun, else "", and what hosts shall be like."""
    fleet = _load(place, name)
    if fleet is None:
        return "", made.provider_options
    provider_options = {**fleet.provider_options, **made.provider_options}
    for option in PLACE:
        if fleet.provider_options.get(option, provider_options.get(option)) != provider_options.get(option):
            raise UsageError(
                f"fleet {made.fleet} was begun with {option} {fleet.provider_options[option]!r}, not "
                f"{provider_options[option]!r}; `fab down` ends it, --fleet names another"
            )
    if name not in (None, fleet.provider):
        raise UsageError(
            f"fleet {made.fleet} was begun with provider {fleet.provider}, not {name}; "
            "`fab down` ends it, --fleet names another"
        )
    return fleet.provider, provider_options


def _load(place: Folder, name: str | None) -> Fleet | None:
    """Return the fleet that the folder describes; None if there is no fleet.json.

    A damaged fleet.json is None as well if `name`, the value of --provider, says which provider has the hosts.
    Raises FleetError for a fleet of a newer version, and for a folder that was renamed.
    """
    if not place.fleet_json.exists():  # where it is lost, `up` refuses, and `down` ends what it can find
        return None
    try:
        return place.load()
    except FleetDamaged:
        if name is None:
            raise
        return None
