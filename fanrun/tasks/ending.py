"""Ending hosts: what a person is asked before, and told afterwards."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence

from fanrun.fanout.drain import drain
from fanrun.fleet.errors import FanrunError
from fanrun.fleet.known_fleets import list_fleets
from fanrun.fleet.model import number
from fanrun.fleet.text import counted
from fanrun.tasks.console import Console
from fanrun.tasks.target import Target
from provision import keepalive, other_fleets, teardown
from provision import shrink as shrinking
from provision.providers.base import OtherFleet, SearchIncomplete
from provision.registry import local_images as own


def plan(console: Console, aim: Target) -> None:
    """Print what `fab down` would end, and what it would leave; FanrunError where it would end nothing and say so."""
    aim.provider.check()
    hosts = _hosts(aim)
    console.show(f"end {', '.join(hosts)}" if hosts else "there are no hosts to end")
    with _telling_found(console, aim):
        others, kept = teardown.look_around(aim.folder, aim.provider, hosts)
    tell_others(console, aim, others)
    if kept:
        raise FanrunError(kept)
    if images := sorted(own.tags_of(aim.folder.name, aim.folder.ids)):
        console.show(f"remove from this machine's Docker {', '.join(images)}")


def plan_take_over(console: Console, aim: Target) -> None:
    """Print which hosts have the id that the provider of `aim` was loaded with."""
    aim.provider.check()
    hosts, fleet_id = _hosts(aim), aim.provider.ids[0]
    console.show(f"end {', '.join(hosts)}, which have id {fleet_id}" if hosts else f"no host has id {fleet_id}")


def down(console: Console, aim: Target, yes: bool, *, chosen: bool) -> None:
    """End the fleet; FanrunError where it may have hosts that were not found.

    `chosen` is whether the provider was named, by a person or by the fleet's folder.
    """
    known = aim.folder.exists()
    _confirm(console, aim, f"fleet {aim.settings.fleet}, by provider {aim.provider.name}", yes)
    board = console.board()
    with _telling_found(console, aim), contextlib.closing(board):
        ended = teardown.down(aim.folder, aim.provider, board.say)
    tell_others(console, aim, ended.others)
    hosts = ", ".join(ended.hosts)
    _tell_in_use(console, ended)
    if ended.kept:
        raise FanrunError(f"{f'ended {hosts}' if hosts else 'nothing was ended'}: {ended.kept}")
    if hosts:
        console.say(f"fleet {aim.folder.name} is gone: {hosts}")
        return
    elsewhere = "" if chosen else "; use --provider to look elsewhere"
    others = f" ({listed})" if (listed := list_fleets(aim.folder.path.parent)) else ""
    unknown = f"no fleet {aim.folder.name} is known here{others}, and"
    what = f"fleet {aim.folder.name} is gone:" if known else unknown
    console.say(f"{what} there were no hosts in {aim.provider.search_scope()}{elsewhere}")


def shrink(console: Console, aim: Target, *, yes: bool, dry_run: bool) -> None:
    """Drain the workers that are more than --hosts says, and end them; UsageError where the provider can't."""
    fleet = aim.folder.load()
    workers = aim.provider.workers(aim.settings.hosts) or fleet.size
    surplus = shrinking.surplus(fleet, workers)
    names = ", ".join(host.name for host in surplus)
    if not surplus:
        console.say(f"nothing to end: the fleet has no more than {counted(workers, 'worker')}")
        return
    if dry_run:
        console.show(f"drain {names}, wait until they are free, and end them")
        return
    if console.asks(yes):
        console.confirm(f"this will end {names}, once they have finished what they have", yes=yes)
    board = console.board()
    try:
        with keepalive.keep(aim.folder, aim.provider, aim.folder.load().hosts):
            drain(aim.folder, surplus, board.say)
        shrinking.shrink(aim.folder, aim.provider, workers, board.say)
    except (FanrunError, KeyboardInterrupt):
        board.close()
        console.say(f"drained and not ended: {names}; the same command again goes on from here")
        raise
    finally:
        board.close()
    console.say(f"ended {names}; left: {counted(workers, 'worker')}")


def take_over(console: Console, aim: Target, yes: bool) -> None:
    """End the hosts with the id that the provider of `aim` was loaded with."""
    fleet_id = aim.provider.ids[0]
    _confirm(console, aim, f"hosts with id {fleet_id}", yes)
    board = console.board()
    with contextlib.closing(board):
        ended = teardown.take_over(aim.folder, aim.provider, board.say)
    _tell_in_use(console, ended)
    console.say(f"ended what has id {fleet_id}: {', '.join(ended.hosts) or 'there were no hosts'}")


def tell_others(console: Console, aim: Target, others: Sequence[OtherFleet]) -> None:
    """Tell of hosts that carry the fleet's name and are left alone, and how each of these fleets is ended."""
    for other in others:
        own = [] if other.id in aim.folder.ids else [f"--take-over={other.id}"]
        command = shlex.join(["fab", "down", *other.options, f"--fleet={aim.folder.name}", *own])
        console.say(f"left alone: {other_fleets.describe(other)}; `{command}` ends it")


def _tell_in_use(console: Console, ended: teardown.Ended) -> None:
    if ended.in_use:
        console.say(f"left in this machine's Docker, as containers use them: {', '.join(ended.in_use)}")


def _hosts(aim: Target) -> list[str]:
    return sorted((item.host.name for item in aim.provider.find()), key=number)


def _confirm(console: Console, aim: Target, whose: str, yes: bool) -> None:
    """Ask a person at a terminal before hosts are ended, if there are any."""
    if console.asks(yes):
        aim.provider.check()
        if hosts := _hosts(aim):
            console.confirm(f"{whose}: this will end {', '.join(hosts)}", yes=yes)


@contextlib.contextmanager
def _telling_found(console: Console, aim: Target) -> Iterator[None]:
    """Where a search for other fleets is incomplete, tell of those that it found before the error is told."""
    try:
        yield
    except SearchIncomplete as error:
        tell_others(console, aim, error.found)
        raise
