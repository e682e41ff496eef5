"""Ending hosts: what a person is asked before, and told afterwards."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence

from fanrun.tasks.console import Console
from fanrun.tasks.target import Target
from provision import lifecycle
from provision.errors import FanrunError
from provision.fleet import number
from provision.providers.base import OtherFleet, SearchIncomplete


def plan(console: Console, aim: Target, *, others: bool) -> None:
    """Print what `fab down` ends and, with `others`, which other fleets of the name it leaves alone."""
    aim.provider.check()
    hosts = _hosts(aim)
    console.show(f"end {', '.join(hosts)}" if hosts else "there are no hosts to end")
    if others:
        with _telling_found(console, aim):
            tell_others(console, aim, aim.provider.others(everywhere=not hosts))


def down(console: Console, aim: Target, yes: bool, *, chosen: bool) -> None:
    """End the fleet; FanrunError where it may have hosts that were not found.

    `chosen` is whether the provider was named, by a person or by the fleet's folder.
    """
    _confirm(console, aim, f"fleet {aim.settings.fleet}, by provider {aim.provider.name}", yes)
    board = console.board()
    with _telling_found(console, aim), contextlib.closing(board):
        ended = lifecycle.down(aim.folder, aim.provider, board.say)
    tell_others(console, aim, ended.others)
    if not ended.forgotten:
        raise FanrunError(f"nothing was ended: {_why_kept(aim, ended)}")
    told = f"fleet {aim.folder.name} is gone: "
    if ended.hosts:
        console.say(told + ", ".join(ended.hosts))
    else:
        elsewhere = "" if chosen else "; use --provider to look elsewhere"
        console.say(f"{told}there were no hosts in {aim.provider.looked()}{elsewhere}")


def take_over(console: Console, aim: Target, yes: bool) -> None:
    """End the hosts with the id that the provider of `aim` was loaded with."""
    fleet_id = aim.provider.ids[0]
    _confirm(console, aim, f"hosts with id {fleet_id}", yes)
    board = console.board()
    with contextlib.closing(board):
        ended = lifecycle.take_over(aim.folder, aim.provider, board.say)
    console.say(f"ended what has id {fleet_id}: {', '.join(ended.hosts) or 'there were no hosts'}")


def tell_others(console: Console, aim: Target, others: Sequence[OtherFleet]) -> None:
    """Tell of hosts that carry the fleet's name and are left alone, and how each of these fleets is ended."""
    for other in others:
        own = [] if other.id in aim.folder.ids else [f"--take-over={other.id}"]
        command = shlex.join(["fab", "down", *other.options, f"--fleet={aim.folder.name}", *own])
        console.say(f"left alone: {lifecycle.describe(other)}; `{command}` ends it")


def _hosts(aim: Target) -> list[str]:
    return sorted((item.host.name for item in aim.provider.find()), key=number)


def _confirm(console: Console, aim: Target, whose: str, yes: bool) -> None:
    """Ask a person at a terminal before hosts are ended, if there are any."""
    if console.asks(yes):
        aim.provider.check()
        if hosts := _hosts(aim):
            console.confirm(f"{whose}: this will end {', '.join(hosts)}", yes=yes)


def _why_kept(aim: Target, ended: lifecycle.Ended) -> str:
    """Say why the fleet was not forgotten though no host of it was found, and what to do."""
    folder = aim.folder
    forget = f"`rm -r {shlex.quote(str(folder.path))}` forgets the fleet"
    if not folder.path.exists():
        return (
            f"no fleet {folder.name} is known in {folder.path.parent}, and the hosts above carry its name; if they are "
            "yours, their command ends them"
        )
    if not ended.others:
        return (
            f"{folder.fleet_json} is missing or can't be read, and no host of the fleet is in {aim.provider.looked()}; "
            f"if it has hosts elsewhere, `fab down --provider=…` ends them; if not, {forget}"
        )
    if any(other.id in folder.ids for other in ended.others):
        return "hosts of the fleet are elsewhere; the command above ends them"
    if not folder.id:
        return f"the fleet's id is lost; if hosts above are its own, their command ends them; then {forget}"
    return (
        f"no host is left with the id {folder.id}, and those above carry the same name; if none of them is yours, "
        f"{forget}"
    )


@contextlib.contextmanager
def _telling_found(console: Console, aim: Target) -> Iterator[None]:
    """Where a search for other fleets is incomplete, tell of those that it found before the error is told."""
    try:
        yield
    except SearchIncomplete as error:
        tell_others(console, aim, error.found)
        raise
