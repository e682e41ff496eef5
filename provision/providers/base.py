"""The interface between Fanrun and the providers of its hosts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fanrun.fleet.errors import FanrunError, HostsFailed, UsageError
from fanrun.fleet.model import Host, Role
from fanrun.fleet.store import Folder
from provision.options import ProviderOptions

Say = Callable[[str, str], None]
"""Tells a person of progress: say(host, what)."""
Confirm = Callable[[str], bool]
"""Asks a person something that is answered by yes or no."""


@dataclass(frozen=True)
class HostSpec:
    """Hold the name and role of a host to launch."""

    name: str
    role: Role


State = Literal["running", "stopped", "broken", "unreachable"]


@dataclass(frozen=True)
class FoundHost:
    """Hold a host that the provider has; a "broken" one is incomplete, the state of an "unreachable" one is unknown."""

    host: Host
    state: State


@dataclass(frozen=True)
class Bill:
    """What a fleet costs in US dollars, an hour and so far, by prices of a date; None is unknown."""

    hour: float | None
    so_far: float | None
    date: str


@dataclass(frozen=True)
class OtherFleet:
    """What carries the fleet's name and another id: hosts, and `rest`, such as volumes.

    `created` is when its oldest host was made, in seconds since 1970, None if unknown; `folder` is where it was begun,
    `where` says in words where it is, `options` are what `fab` needs to find it.
    """

    id: str
    owner: str
    hosts: tuple[str, ...]
    rest: tuple[str, ...] = ()
    created: float | None = None
    folder: str = ""
    where: str = ""
    options: tuple[str, ...] = ()


class SearchIncomplete(HostsFailed):
    """Say that some places could not be searched for other fleets; `found` are the fleets of the other places."""

    def __init__(self, errors: Mapping[str, FanrunError], found: Sequence[OtherFleet]) -> None:
        super().__init__(errors)
        self.found = tuple(found)


class Provider(ABC):
    """Launch, find and terminate the hosts of one fleet.

    The name of its module or package in provision/providers/ is the provider's name; the class is called `PROVIDER`
    there.  What a fleet has is read from the provider, by tag or label.  The fleet's hosts carry one of its `ids`.
    """

    name: str
    options: ProviderOptions
    """The provider's options: an object of its own class `OPTIONS`."""
    lease = 0
    """Seconds after the last command when hosts end themselves; 0 where they never do."""
    boot_timeout = 120.0
    """Seconds that a host may take until it answers by SSH."""

    def __init__(self, folder: Folder, options: ProviderOptions, fleet_id: str = "") -> None:
        """Make a provider for the fleet in a folder; with `fleet_id`, for the hosts that have that id instead."""
        self.folder, self.options, self._fleet_id = folder, options, fleet_id
        self.confirm: Confirm | None = None  # None where no person can be asked

    def resolved_options(self) -> dict[str, str]:
        """Return options that come from this machine's settings; they are saved, so that `down` finds the hosts."""
        return {}

    def workers(self, requested: int | None) -> int | None:
        """Return the number of workers for a fleet, given the requested one; None leaves it as it is."""
        return requested

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids that the fleet's hosts carry; the first one is what new hosts get."""
        if self._fleet_id:
            return (self._fleet_id,)
        known = self.folder.ids
        if known and not self.folder.outdated:
            return known
        return tuple(dict.fromkeys([*known, *self.adoptable()]))

    def adoptable(self) -> list[str]:
        """Return the ids of hosts from before fleets had ids, whose keys are in this folder."""
        return []

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        """Return what carries the fleet's name and none of its ids; `everywhere`: not only where the fleet is.

        Raises SearchIncomplete where a place could not be searched.
        """
        return []

    def excludes(self, other: OtherFleet) -> bool:
        """Return whether the fleet can't be made while that other one exists."""
        return False

    @property
    def is_placed(self) -> bool:
        """Return whether the folder says where the fleet's hosts are: those that are not found there do not exist."""
        return True

    def unnamed_hosts(self) -> list[str]:
        """Return addresses of hosts that the fleet may have and that no option names; for a fleet.json that is lost."""
        return []

    def search_scope(self) -> str:
        """Return a text that says where `others` looks with `everywhere`."""
        return f"what provider {self.name} knows of"

    @abstractmethod
    def check(self) -> None:
        """Raise ToolMissing or ProviderError when this machine can't use the provider."""

    @property
    def uses_sudo(self) -> bool:
        """Return whether root's rights are used on the hosts."""
        return True

    @property
    def asks_sudo_password(self) -> bool:
        """Return whether a person is to be asked for the password that sudo wants on the hosts."""
        return False

    def check_launch(self) -> None:
        """Raise UsageError where hosts can be ended but not launched."""
        return

    def check_sudo(self, *, launches: bool) -> None:
        """Raise UsageError for options about sudo that can't be meant, with `launches` where hosts may be launched."""
        return

    @abstractmethod
    def find(self) -> list[FoundHost]:
        """Return every host of the fleet that exists, in no particular order."""

    def replaces(self, found: FoundHost) -> bool:
        """Return whether `launch` ends this host and makes another in its place."""
        return found.state == "broken"

    @abstractmethod
    def launch(self, specs: Sequence[HostSpec], say: Say) -> list[Host]:
        """Make these hosts exist and run; pin their host keys, and authorize the fleet's key.

        A host that exists but is stopped is started.  Safe to repeat after any interruption.
        """

    def ensure_access(self, say: Say) -> None:
        """Let this machine, from its present address, reach the hosts that exist, where a firewall is between."""
        return

    @abstractmethod
    def terminate(self, names: Sequence[str], say: Say) -> None:
        """End these hosts and all that came with them; those already gone are no error."""

    def end_unreachable(self, names: Sequence[str], say: Say) -> dict[str, str]:
        """End hosts that were launched and never answered, where new ones can be launched; return what was done."""
        return {}

    @abstractmethod
    def clean(self, say: Say) -> None:
        """Remove what belongs to the fleet and to no host, once no host is left."""

    def describe_remaining(self, name: str) -> str:
        """Return what to tell of a host that is still there after `terminate`."""
        return name

    def termination_reasons(self) -> dict[str, str]:
        """Return why hosts of the fleet have ended that no command ended, by name."""
        return {}

    def bake(self, name: str, say: Say) -> str:
        """Make an image of a host that is set up, for the next ones to start from; returns its id."""
        raise UsageError(f"provider {self.name} makes no images; a host of it is set up in seconds")

    def baked(self) -> str:
        """Return a text that says which images `unbake` removes."""
        raise UsageError(self._no_images)

    def unbake(self) -> list[str]:
        """Remove every image that `bake` made, and what belongs to it; returns their ids."""
        raise UsageError(self._no_images)

    @property
    def _no_images(self) -> str:
        return f"provider {self.name} makes no images; to remove those of EC2, use --provider=ec2 with their --region"

    def bill(self) -> Bill | None:
        """Return what the fleet costs; None where hosts cost nothing."""
        return None

    def plan(self, specs: Sequence[HostSpec]) -> list[str]:
        """Return lines for a person on what would be launched; changes nothing."""
        return []
