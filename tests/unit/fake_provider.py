"""A provider for tests: its hosts and the other fleets that it finds are given."""

from __future__ import annotations

from collections.abc import Sequence

from fanrun.fleet.model import Host, Role
from fanrun.fleet.store import Folder
from provision.options import ProviderOptions
from provision.providers.base import FoundHost, OtherFleet, Provider, State

THERE = OtherFleet("0123456789abcdef", "eve@lab", ("hub", "worker-1"), created=1000.0, folder="/lab/x", where="there")


def found(name: str, state: State) -> FoundHost:
    """Return a host in a state."""
    role: Role = "hub" if name == "hub" else "worker"
    return FoundHost(Host(name, role, "10.0.0.1", "10.0.0.1", "admin"), state)


class FakeProvider(Provider):
    """Find the hosts `mine` of the fleet and the other fleets `there`; the one with the id `barring` prevents `up`."""

    name = "fake"

    def __init__(
        self, folder: Folder, there: list[OtherFleet], barring: str = "", mine: Sequence[FoundHost] = ()
    ) -> None:
        super().__init__(folder, ProviderOptions())
        self.there, self.barring, self.mine = there, barring, mine
        self.not_seen, self.placed = list[str](), True
        self.everywhere = list[bool]()

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        self.everywhere.append(everywhere)
        return self.there

    def excludes(self, other: OtherFleet) -> bool:
        return other.id == self.barring

    @property
    def is_placed(self) -> bool:
        return self.placed

    def unnamed_hosts(self) -> list[str]:
        return self.not_seen

    def check(self) -> None:
        """Do nothing: the provider can be used."""

    def find(self) -> list[FoundHost]:
        return list(self.mine)

    def launch(self, wanted: object, say: object) -> list[Host]:
        raise AssertionError("nothing may be launched")

    def terminate(self, names: Sequence[str], say: object) -> None:
        assert list(names) == [item.host.name for item in self.mine]
        self.mine = ()

    def clean(self, say: object) -> None:
        """Do nothing: only hosts belong to the fleet."""
