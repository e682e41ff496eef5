"""Machines that left the fleet and could not be cleaned up, in a file of the fleet's folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping

from fanrun.fleet.errors import FleetDamaged
from fanrun.fleet.model import Host
from fanrun.fleet.private_files import write_private
from fanrun.fleet.store import Folder


class UncleanedMachines:
    """Hosts and their host keys by their machines' places, as known_hosts names them."""

    def __init__(self, folder: Folder) -> None:
        self._fleet, self._file = folder.name, folder.path / "left.json"

    def read(self) -> dict[str, tuple[Host, str]]:
        """Return the machines: {place: (host, host key)}; FleetDamaged if the file can't be read."""
        if not self._file.exists():
            return {}
        try:
            data = json.loads(self._file.read_text("utf-8"))
            return {place: (Host(**host), key) for place, (host, key) in data.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise FleetDamaged(f"{self._file} can't be read ({error}); restore it", fleet=self._fleet) from error

    def update(self, machines: Mapping[str, tuple[Host, str]], cleaned: Collection[str] = ()) -> None:
        """Add machines with something of the fleet on them, and drop those that are clean."""
        left = {place: item for place, item in self.read().items() if place not in cleaned} | dict(machines)
        if left or self._file.exists():
            data = {place: (dataclasses.asdict(host), key) for place, (host, key) in left.items()}
            write_private(self._file, json.dumps(data).encode())
