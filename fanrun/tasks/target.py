"""What a task works with: its settings, the fleet's folder, and the provider of its hosts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass

from fanrun.fanout.commands import LogLimits
from fanrun.fleet import config, places
from fanrun.fleet.errors import FleetDamaged, UsageError
from fanrun.fleet.model import ID, Fleet
from fanrun.fleet.store import Folder
from fanrun.tasks import options
from fanrun.tasks.console import Console
from fanrun.tasks.fleet_choice import FleetChoice
from provision import catalog
from provision.options import ProviderOptions
from provision.providers.base import Provider


@dataclass(frozen=True)
class Target:
    """The settings of a task that works with a provider, the folder of its fleet, and the provider."""

    settings: config.Settings
    folder: Folder
    provider: Provider


def settings(console: Console, **flags: object) -> config.Settings:
    """Return the settings of a task with these flags; from now on the console's texts name the fleet.

    Raises UsageError for a setting that can't be meant.
    """
    found = console.config.get("fanrun")
    if found is not None and not hasattr(found, "items"):
        raise UsageError("fabric.yaml: `fanrun:` holds settings, a line `name: value` each")
    given = {name: value for name, value in dict(found or {}).items() if value is not None}
    file = {"home": str(places.state_folder(os.environ)), **given}
    texts = {name: options.setting(value) for name, value in flags.items()}
    made = config.settings(places.settings_folder(os.environ), file, os.environ, texts, catalog.setting_names())
    usual = config.usual_fleet(file, os.environ)
    console.fleet = "" if made.fleet == usual == config.Settings.fleet else made.fleet
    console.home = made.home
    return made


def folder(console: Console, fleet: str | None) -> Folder:
    """Return the folder of the fleet that a task works with."""
    made = settings(console, fleet=fleet)
    return Folder(made.home, made.fleet)


def undrained(folder: Folder, fleet: Fleet) -> Fleet:
    """Return the fleet without its drained workers; UsageError if there is no other one."""
    drained = folder.drained()
    hosts = tuple(host for host in fleet.hosts if host.name not in drained)
    if fleet.workers and len(hosts) == len(fleet.hosts) - len(fleet.workers):
        name = fleet.workers[0].name
        raise UsageError(f"all workers are drained; `fab drain --undo --host {name}` lets one work again")
    return dataclasses.replace(fleet, hosts=hosts)


def limits(console: Console, fleet: str | None) -> tuple[LogLimits, int | None]:
    """Return the limits of a run's logs, and the maximum bytes of inputs that each worker keeps for later runs."""
    made = settings(console, fleet=fleet)
    return LogLimits(made.logs.batch, made.logs.spool), made.cache


def provider(console: Console, fleet: str | None) -> Provider:
    """Return the provider of a fleet, for a task that has no options of providers."""
    return target(console, FleetChoice(fleet)).provider


def target(console: Console, choice: FleetChoice, *, hosts: str | None = None, vector: str | None = None) -> Target:
    """Return what a task works with; `hosts` and `vector` are the values of --hosts and --vector.

    Raises UsageError for an option that belongs to another provider.
    """
    made, place = _chosen(console, choice, hosts=hosts, vector=vector)
    known, provider_options = _known(place, made, choice.provider)
    name = known or choice.provider or made.provider
    if name in catalog.names():
        options.check(options.given(choice.flags), name, made.fleet if known else "")
    return Target(made, place, catalog.load(name, place, _parse(name, provider_options, choice)))


def ask_sudo_password(console: Console, folder: Folder) -> None:
    """Ask a person for the password that sudo wants on the fleet's hosts; the folder has it in memory alone."""
    folder.sudo.give(console.ask_password(f"sudo password on the hosts of fleet {folder.name}: "))


def ask_if_wanted(console: Console, aim: Target, *, launches: bool = False) -> None:
    """Ask for the password of sudo where --ask-sudo-password was given; `launches` is whether hosts may be launched.

    Raises UsageError for options about sudo that can't be meant.
    """
    aim.provider.check_sudo(launches=launches)
    if aim.provider.asks_sudo_password:
        ask_sudo_password(console, aim.folder)


def with_sudo(console: Console, folder: Folder, *, is_asked: bool) -> Folder:
    """Return the fleet's folder with what sudo needs; `is_asked` is whether --ask-sudo-password was given.

    Raises UsageError where the fleet was made without sudo, or where a password is needed and was not asked for.
    """
    hosts = folder.load().hosts
    if any(host.sudo == "none" for host in hosts):
        raise UsageError(f"fleet {folder.name} was made with --no-sudo, and this needs sudo on its hosts")
    if is_asked:
        ask_sudo_password(console, folder)
    elif any(host.sudo == "password" for host in hosts):
        raise UsageError(f"sudo asks for a password on the hosts of fleet {folder.name}; give --ask-sudo-password")
    return folder


def other(console: Console, choice: FleetChoice, fleet_id: str) -> Target:
    """Return what a task works with to end the hosts with that id, wherever the fleet of the folder is."""
    made, place = _chosen(console, choice)
    name, provider_options = choice.provider or made.provider, made.provider_options
    known = _load(place, choice.provider)
    if known and choice.provider in (None, known.provider):
        name, provider_options = known.provider, {**known.provider_options, **provider_options}
    if name in catalog.names():
        options.check(options.given(choice.flags), name)
    provider = catalog.load(name, place, _parse(name, provider_options, choice))
    return with_id(Target(made, place, provider), fleet_id)


def named(console: Console, choice: FleetChoice, name: str) -> Target:
    """Return what a task works with that is about the provider of that name, and not about the fleet of the folder."""
    made, place = _chosen(console, choice)
    return Target(made, place, catalog.load(name, place, _parse(name, made.provider_options, choice)))


def _chosen(console: Console, choice: FleetChoice, **flags: object) -> tuple[config.Settings, Folder]:
    """Return the settings of a task, and the folder of its fleet; `flags` are given besides the choice."""
    made = settings(console, provider=choice.provider, fleet=choice.fleet, **flags, **choice.flags)
    return made, Folder(made.home, made.fleet)


def _parse(name: str, texts: Mapping[str, str], choice: FleetChoice) -> ProviderOptions:
    """Return the options of a provider from the settings and from the flags that are no settings."""
    flags = {each: given for each, value in choice.flags.items() if (given := options.setting(value)) is not None}
    return catalog.parse(name, {**flags, **texts})


def with_id(aim: Target, fleet_id: str) -> Target:
    """Return the same target, whose provider works with the hosts that have that id."""
    _check_id(aim, fleet_id)
    chosen = catalog.load(aim.provider.name, aim.folder, aim.provider.options, fleet_id)
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
    """Return the provider of the fleet if it was begun, else "", and the options of providers as texts."""
    fleet = _load(place, name)
    if fleet is None:
        return "", made.provider_options
    provider_options = {**fleet.provider_options, **made.provider_options}
    for option in catalog.placing():
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
