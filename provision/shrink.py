"""Take workers out of a fleet."""

from __future__ import annotations

import dataclasses

from fanrun.fleet.model import Fleet, Host, number
from fanrun.fleet.store import Folder
from provision.connections import disconnect
from provision.providers.base import Provider, Say


def surplus(fleet: Fleet, workers: int) -> list[Host]:
    """Return the workers that are too many: those with the highest numbers."""
    return [host for host in fleet.workers if number(host.name) > number(f"worker-{workers}")]


def shrink(folder: Folder, provider: Provider, workers: int, say: Say) -> list[str]:
    """End the workers that are too many, and note that the fleet has so many now; return who was ended."""
    provider.check()
    with folder.lock():
        fleet = folder.load()
        names = [host.name for host in surplus(fleet, workers)]
        disconnect(folder, names)
        provider.terminate(names, say)
        hosts = tuple(host for host in fleet.hosts if host.name not in names)
        folder.save(dataclasses.replace(fleet, hosts=hosts, size=workers))
        folder.host_keys.keep_only(hosts)
    return names
