"""A fleet from ready to gone."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fanrun.fleet.errors import (
    FanrunError,
    FleetDamaged,
    FleetError,
    ProviderError,
    UsageError,
)
from fanrun.fleet.model import Host, number
from fanrun.fleet.store import Folder
from provision.connections import disconnect
from provision.providers.base import OtherFleet, Provider, Say
from provision.registry import local_images


@dataclass(frozen=True)
class Ended:
    """What `down` did: the hosts that it ended, and what carries the fleet's name and was left alone.

    `kept` says why the fleet's folder was not deleted; "" if it was.  `in_use` are the images on this machine that
    containers use, and so are still there.
    """

    hosts: tuple[str, ...]
    others: tuple[OtherFleet, ...] = ()
    kept: str = ""
    in_use: tuple[str, ...] = ()


def down(folder: Folder, provider: Provider, say: Say) -> Ended:
    """End every host that carries the fleet's id, then forget the fleet.

    Of hosts that should be there and are not it is said what became of them.  Where no host carries its id, the fleet
    is forgotten only if nothing can be left of it: others that carry its name may be its hosts, and where fleet.json
    can't be read its hosts may be with another provider.  Only a person can tell.
    """
    provider.check()
    with folder.lock():
        disconnect(folder)
        with contextlib.suppress(FleetDamaged):  # without an id that can be read no host is known to be the fleet's
            if folder.outdated and (ids := provider.adoptable()):
                folder.adopt(ids)
        names = sorted((item.host.name for item in provider.find()), key=number)
        others, kept = look_around(folder, provider, names)
        for host, reason in _missing(folder, provider, names).items():
            say(host.name, reason or f"was not there any more (it had {host.address}), and nobody knows why")
        _end(provider, names, say)
        if kept:
            return Ended(tuple(names), others, kept)
        in_use = local_images.remove_all(local_images.tags_of(folder.name, folder.ids))
        folder.remove()
    return Ended(tuple(names), others, in_use=tuple(in_use))


def look_around(folder: Folder, provider: Provider, names: Sequence[str]) -> tuple[tuple[OtherFleet, ...], str]:
    """Return what else carries the fleet's name, where `names` are its hosts, and why `down` keeps its folder.

    That is "" where no host of the fleet can be left.
    """
    others = tuple(provider.others(everywhere=not names))
    return others, _why_kept(folder, provider, names, others)


def _why_kept(folder: Folder, provider: Provider, names: Sequence[str], others: Sequence[OtherFleet]) -> str:
    if not folder.exists():
        if names or not others:
            return ""
        return (
            f"no fleet {folder.name} is known in {folder.path.parent}, and the hosts above carry its name; if they are "
            "yours, their command ends them"
        )
    if any(other.id in folder.ids for other in others):
        return "hosts of the fleet are elsewhere; the command above ends them"
    forget = f"`rm -r {shlex.quote(str(folder.path))}` forgets the fleet"
    if not folder.complete:
        return _why_unreadable_is_kept(folder, provider, names, forget)
    if names:
        return ""
    if others and not folder.id:
        return f"the fleet's id is lost; if hosts above are its own, their command ends them; then {forget}"
    if others:
        return (
            f"no host is left with the id {folder.id}, and those above carry the same name; if none of them is yours, "
            f"{forget}"
        )
    return _why_missing_are_kept(folder, provider, forget)


def _why_unreadable_is_kept(folder: Folder, provider: Provider, names: Sequence[str], forget: str) -> str:
    """Return why a folder is kept whose fleet.json can't be read; "" if all its hosts were found."""
    if names and not (places := provider.unnamed_hosts()):
        return ""
    where = f"on {', '.join(places)}, which known_hosts names" if names else "elsewhere"
    found = "" if names else f"no host of the fleet is in {provider.search_scope()}; "
    return (
        f"{folder.fleet_json} is missing or can't be read; {found}if the fleet has hosts {where}, "
        f"`fab down --provider=…` with the options that name them ends them; if not, {forget}"
    )


def _why_missing_are_kept(folder: Folder, provider: Provider, forget: str) -> str:
    """Return why a folder is kept of whose hosts none was found; "" if they are known to be gone."""
    missing = _missing(folder, provider, ())
    if not missing or provider.is_placed or any(missing.values()):
        return ""
    hosts = ", ".join(host.name for host in missing)
    return (
        f"an older Fanrun did not note where {hosts} are, and they are not in {provider.search_scope()}; "
        f"look where they may be, for example with DOCKER_HOST or AWS_PROFILE; if they are gone, {forget}"
    )


def take_over(folder: Folder, provider: Provider, say: Say) -> Ended:
    """End every host that carries the id that `provider` was loaded with; UsageError if there is none.

    The fleet in the folder is another, and stays as it is.
    """
    provider.check()
    with folder.lock():
        names = sorted((item.host.name for item in provider.find()), key=number)
        removed: list[str] = []

        def note(host: str, what: str) -> None:
            removed.append(what)
            say(host, what)

        _end(provider, names, note)
    if not removed:
        raise UsageError(
            f"nothing of a fleet {folder.name} has the id {provider.ids[0]}; `fab down` shows what there is"
        )
    in_use = local_images.remove_all(local_images.tags_of(folder.name, provider.ids))
    return Ended(tuple(names), in_use=tuple(in_use))


def _end(provider: Provider, names: Sequence[str], say: Say) -> None:
    """End these hosts and remove what belongs to their fleet; raises FanrunError naming what is left."""
    failed: list[str] = []
    steps: list[Callable[[], None]] = [lambda: provider.terminate(names, say), lambda: provider.clean(say)]
    for step in steps:
        try:
            step()
        except ProviderError as error:  # what can be removed is removed all the same
            failed.append(str(error))
    if failed:
        raise FanrunError("; ".join(dict.fromkeys(failed)))
    left = [provider.describe_remaining(item.host.name) for item in provider.find()]
    if left:
        raise FanrunError(f"still there: {', '.join(left)}; run `fab down` again")


def _missing(folder: Folder, provider: Provider, names: Sequence[str]) -> dict[Host, str]:
    """Return why hosts that the folder knows no longer exist at the provider; "" where the reason is unknown."""
    hosts: tuple[Host, ...] = ()
    with contextlib.suppress(FleetError):
        hosts = folder.load().hosts
    gone = [host for host in hosts if host.name not in names]
    reasons = provider.termination_reasons() if gone else {}
    return {host: reasons.get(host.name, "") for host in gone}
