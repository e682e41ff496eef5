"""What `up` has to do about the hosts that a fleet has and shall have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fanrun.fleet.model import HUB, number
from provision.providers.base import FoundHost, HostSpec, Provider


@dataclass(frozen=True)
class Change:
    """What `up` has to do about the hosts: all by name, workers in the order of their numbers."""

    launch: tuple[HostSpec, ...]
    keep: tuple[str, ...]
    terminate: tuple[str, ...]
    replace: tuple[str, ...] = ()
    """Those of `launch` that exist, are of no use, and are ended first."""

    @property
    def ends(self) -> str:
        """Return what is ended, in words for a person; "" if nothing is."""
        parts = [f"end {', '.join(self.terminate)}"] if self.terminate else []
        parts += [f"end {', '.join(self.replace)} and launch new ones"] if self.replace else []
        return "; ".join(parts)


def plan(provider: Provider, workers: int) -> list[str]:
    """Say what `up` would do with so many workers, in lines for a person; changes nothing."""
    todo = needed(provider, workers)
    lines = list[str]()
    lines += [f"keep {', '.join(todo.keep)}"] if todo.keep else []
    lines += [todo.ends] if todo.ends else []
    if todo.launch:
        lines += [f"launch {', '.join(item.name for item in todo.launch)}", *provider.plan(todo.launch)]
    return lines


def needed(provider: Provider, workers: int) -> Change:
    """Return what `up` has to do to make the fleet a hub and that many workers."""
    return change(usable(provider), workers, provider.replaces)


def usable(provider: Provider) -> list[FoundHost]:
    """Return the hosts that exist; one whose key is not pinned can't be trusted, so it is of no use."""
    pinned = provider.folder.host_keys.has
    return [
        item if pinned(item.host.address, item.host.port) else dataclasses.replace(item, state="broken")
        for item in provider.find()
    ]


def change(found: Sequence[FoundHost], workers: int, replaces: Callable[[FoundHost], bool]) -> Change:
    """Compare what exists with a hub and that many workers; `replaces` is Provider.replaces."""
    names = [HUB, *(f"worker-{n}" for n in range(1, workers + 1))]
    running = {item.host.name for item in found if item.state == "running"}
    replaced = {item.host.name for item in found if item.state != "running" and replaces(item)}
    return Change(
        launch=tuple(HostSpec(n, "hub" if n == HUB else "worker") for n in names if n not in running),
        keep=tuple(n for n in names if n in running),
        terminate=tuple(sorted((f.host.name for f in found if f.host.name not in names), key=number)),
        replace=tuple(n for n in names if n in replaced),
    )
