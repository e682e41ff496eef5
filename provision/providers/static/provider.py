"""Machines that exist already: taken into the fleet, and given back as they were.

A machine says itself whose it is (belongings.MARK).  How to get there is for the person's own ssh to know; the fleet's
own key is let in over that way, and everything after goes by it as with any other provider.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fanrun.fleet.config import Wishes, me
from fanrun.fleet.errors import FanrunError, FleetDamaged, FleetError, HostError, HostsFailed, ToolMissing, UsageError
from fanrun.fleet.model import HUB, KEY_TYPE, VERSION, Host, Role, known_as, old_id
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.private_files import write_private
from fanrun.fleet.shell import Heard, complaint
from fanrun.fleet.store import Folder
from provision.hosts import footprint, startup
from provision.hosts.footprint import Look
from provision.providers.base import Found, OtherFleet, Provider, Say, State, Wanted
from provision.providers.static import user_ssh as login
from provision.providers.static.user_ssh import Login

T = TypeVar("T")

SAME = {"arm64": "aarch64", "amd64": "x86_64"}
"""Architectures by another name."""
NO_SUDO = "sudo without a password is not allowed there, or not installed; see /etc/sudoers.d"
SYSTEMS = ("debian", "ubuntu")
LOOKING = 40
REMOVING = 900
"""Seconds that looking at a machine, and cleaning it up, may take."""


@dataclass(frozen=True)
class _Member:
    """A host of the fleet, and the way to its machine, which may be the hub's and a worker's at once."""

    host: Host
    login: Login


class StaticProvider(Provider):
    """The machines that `host` and `hub` name, and those that were taken earlier."""

    name = "static"
    options = frozenset({"host", "hub", "known_hosts", "ssh_config", "scan"})

    def __init__(self, folder: Folder, wishes: Wishes, fleet_id: str = "") -> None:
        super().__init__(folder, wishes, fleet_id)
        self._owner = wishes.owner or me()
        self._config = wishes.ssh_config
        self._file = folder.path / "left.json"
        self._known_members: list[_Member] | None = None
        self._keys: dict[str, str] = {}
        self._unreachable: dict[str, str] = {}
        self._looks: dict[str, Look] = {}

    def settled(self) -> dict[str, str]:
        return {"owner": self._owner}

    def workers(self, asked: int | None) -> int:
        there = len(self._listed())
        if asked not in (None, there):
            raise UsageError(f"provider static has the {there} workers that --host names; leave --hosts out")
        return there

    def check(self) -> None:
        self._listed()
        for tool in ("ssh", "ssh-keygen"):
            if shutil.which(tool) is None:
                raise ToolMissing(f"{tool} is not in PATH; install OpenSSH's client", tool=tool)
        for file in (self._config, self.wishes.known_hosts):
            if file and not Path(file).is_file():
                raise UsageError(f"there is no file {file}")
        self._learn_keys([member.login for member in self._members()])

    def adoptable(self) -> list[str]:
        key = self.folder.key.with_suffix(".pub")
        return [old_id(key.read_text().strip())] if key.exists() else []

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        members = {member.login.place: member for member in self._members()}
        if not self._looks:
            self._looks, _ = self._look(list(members.values()))
        by_id: dict[str, list[str]] = {}
        for place, look in self._looks.items():
            if look.fleet == self.folder.name and look.id not in self.ids and place in members:
                by_id.setdefault(look.id, []).append(place)
        return [
            OtherFleet(
                each, self._looks[places[0]].owner, tuple(sorted(members[place].login.given for place in places)),
                options=("--provider=static", *(f"--host={members[place].login.given}" for place in sorted(places))),
            )
            for each, places in sorted(by_id.items())
        ]  # fmt: skip

    def excludes(self, other: OtherFleet) -> bool:
        """A machine can be in one fleet."""
        return True

    def looked(self) -> str:
        return f"the marks of {', '.join(sorted({member.login.given for member in self._members()}))}"

    def unseen(self) -> list[str]:
        return sorted(self.folder.host_keys.places() - {member.login.place for member in self._members()})

    def find(self) -> list[Found]:
        members = [*self._members(), *self._former()]
        looks, errors = self._look(members)
        self._looks = looks
        self._unreachable = {place: str(error) for place, error in errors.items()}
        for place, look in looks.items():
            if not look.sudo:  # what is on it can't be seen
                self._unreachable[place] = NO_SUDO
        found = []
        for member in members:
            state = self._state(member, looks.get(member.login.place))
            if state:
                found.append(Found(member.host, state))
        return found

    def replaces(self, found: Found) -> bool:
        """A machine is taken again as it is."""
        return False

    def launch(self, wanted: Sequence[Wanted], say: Say) -> list[Host]:
        names = [item.name for item in wanted]
        members = [member for member in self._members() if member.host.name in names]
        looks, errors = self._look(members)
        for place, look in looks.items():
            if problem := self._problem(look):
                errors[place] = HostError(problem, host=place)
        if errors:
            raise HostsFailed(errors)
        key = self.folder.key.with_suffix(".pub").read_text().strip()

        def claim(member: _Member) -> None:
            args = [self.folder.name, self._owner, self._roles(member), key, " ".join(self.ids)]
            self._run(member, ["sh", "-c", footprint.CLAIM, "sh", *args], LOOKING)
            self.folder.host_keys.pin(member.host.address, member.host.port, self._keys[member.login.place])

        _, errors = self._on_machines(members, claim)
        if errors:
            self._remember({each.login.place: each.host for each in members}, set())
            raise HostsFailed(errors)
        for member in members:
            say(member.host.name, f"is {member.login.given}")
        return [member.host for member in members]

    def terminate(self, names: Sequence[str], say: Say) -> None:
        """Remove what was brought to these machines; one that can't be reached is told of, and left."""
        members = [member for member in [*self._members(), *self._former()] if member.host.name in names]

        def remove(member: _Member) -> None:
            argv = ["sudo", "-n", "sh", "-c", footprint.REMOVE, "sh", " ".join(self.ids)]
            for line in self._run(member, argv, REMOVING).text.splitlines():
                say(member.host.name, line)

        done, errors = self._on_machines(members, remove)
        hosts = {each.login.place: each.host for each in members}
        self._remember({place: hosts[place] for place in errors}, set(done))
        for place, error in sorted(errors.items()):
            say(place, f"{error}; what is on it stays")

    def clean(self, say: Say) -> None:
        """Nothing belongs to the fleet that is on no machine."""

    def left(self, name: str) -> str:
        for member in [*self._members(), *self._former()]:
            if member.host.name == name and (reason := self._unreachable.get(member.login.place)):
                return (
                    f"{name}: {reason}; if the machine is gone for good, `rm -r {self.folder.path}` forgets the fleet"
                )
        return super().left(name)

    def plan(self, wanted: Sequence[Wanted]) -> list[str]:
        names = [item.name for item in wanted]
        members = [member for member in self._members() if member.host.name in names]
        return [f"{member.host.name} is {member.login.given}" for member in members]

    def _listed(self) -> list[str]:
        """The workers as they were given; UsageError if there are none."""
        entries = [item.strip() for item in self.wishes.host.split(",") if item.strip()]
        if not entries:
            raise UsageError(
                "provider static needs machines: --host user@address[:port], once for each, or `host:` in fabric.yaml"
            )
        return entries

    def _members(self) -> list[_Member]:
        """The hub and the workers, numbered as they were given; the hub is the first of them if none is named."""
        if self._known_members is not None:
            return self._known_members
        logins = [login.resolve(item, self._config) for item in self._listed()]
        places = [item.place for item in logins]
        if double := next((item.given for item in logins if places.count(item.place) > 1), None):
            raise UsageError(f"--host names {double} twice; name each machine once")
        hub = login.resolve(self.wishes.hub, self._config) if self.wishes.hub else logins[0]
        workers = [_Member(_host(f"worker-{n}", "worker", item), item) for n, item in enumerate(logins, 1)]
        self._known_members = [_Member(_host(HUB, "hub", hub), hub), *workers]
        return self._known_members

    def _former(self) -> list[_Member]:
        """The machines that the fleet has or had, with something of it on them, and that are not named any more."""
        hosts = [host for host, _ in self._left().values()]
        with contextlib.suppress(FleetError):
            hosts += self.folder.load().hosts
        named = {member.login.place for member in self._members()}
        former = {known_as(host.address, host.port): host for host in hosts}
        places = sorted(former.keys() - named)
        return [
            _Member(dataclasses.replace(former[place], name=f"former-{n}"), _login(former[place]))
            for n, place in enumerate(places, 1)
        ]

    def _roles(self, member: _Member) -> str:
        return " ".join(sorted(each.host.role for each in self._members() if each.login.place == member.login.place))

    def _state(self, member: _Member, look: Look | None) -> State | None:
        """What the machine is to the fleet; None for one that is not the fleet's."""
        if look is None or not look.sudo:
            return "unreachable"
        if look.id not in self.ids:
            return None
        pinned = self.folder.host_keys.key(member.host.address, member.host.port)
        same = (look.user, pinned) == (member.host.user, self._keys[member.login.place])
        return "running" if same and member.host.role in look.roles else "broken"

    def _problem(self, look: Look) -> str:
        """Why a machine can't be taken, "" if it can."""
        if look.system.split(" ")[0] not in SYSTEMS:
            return f"runs {look.system or 'an unknown system'}; Fanrun sets up Debian and Ubuntu"
        ours = platform.machine().lower()
        if SAME.get(look.machine, look.machine) != SAME.get(ours, ours):
            return f"is {look.machine}, but images are built on this machine, for {ours}; leave it out"
        if not look.sudo:
            return NO_SUDO
        if look.noise:
            return look.noise
        if look.snap:
            return "has a Docker from snap, which can't read Fanrun's folders; `snap remove docker`, or leave it out"
        if look.fleet and look.id not in self.ids:
            return (
                f"belongs to fleet {look.fleet} of {look.owner}, whose `fab down` frees it; where they are gone, "
                f"`fab down --provider=static --fleet={look.fleet} --host=… --take-over={look.id}` does"
            )
        if look.version > VERSION:
            return (
                f"was set up by a newer Fanrun (version {look.version}, this one knows {VERSION}); update this Fanrun"
            )
        return ""

    def _look(self, members: Sequence[_Member]) -> tuple[dict[str, Look], dict[str, FanrunError]]:
        def look(member: _Member) -> Look:
            heard = self._run(member, ["sh", "-c", footprint.LOOK], LOOKING)
            found = footprint.parse(heard.text)
            if not heard.noise:
                return found
            file = self._run(member, startup.find_argv(heard.noise), LOOKING).text.strip()
            return dataclasses.replace(found, noise=complaint(heard.noise, file))

        return self._on_machines(members, look)

    def _on_machines(
        self, members: Sequence[_Member], work: Callable[[_Member], T]
    ) -> tuple[dict[str, T], dict[str, FanrunError]]:
        """Call work(member) once for each machine, at the same time: (results, errors) by its place."""
        self._learn_keys([member.login for member in members])
        keys = {self._keys[member.login.place]: member.login.given for member in members}
        if len(keys) < len({member.login.place for member in members}):
            raise UsageError(
                f"two of the machines have one host key, so they are one: {', '.join(keys.values())} are all"
            )
        one = {member.login.place: member for member in members}
        return fan_out(one, lambda place: work(one[place]))

    def _run(self, member: _Member, argv: Sequence[str], seconds: int) -> Heard:
        key = self._keys[member.login.place]
        return login.run(member.login, key, argv, identity=self.folder.key, ssh_config=self._config, seconds=seconds)

    def _learn_keys(self, logins: Sequence[Login]) -> None:
        """Know every machine's host key: from the file named, the fleet's folder, ssh's own files, or a person."""
        unknown = {each.place: each for each in logins if each.place not in self._keys}
        known = {place: key for place, each in unknown.items() if (key := self._known_key(each))}
        if self.ask is not None and unknown:
            known = self._ask_for(unknown, known)
        if missing := ", ".join(sorted(each.given for place, each in unknown.items() if place not in known)):
            raise UsageError(
                f"no {KEY_TYPE} host key is known of {missing}: name a file that has it with --known-hosts, "
                "or look at it with --scan"
            )
        self._keys |= known

    def _known_key(self, way: Login) -> str:
        named = login.known_key(way, self.wishes.known_hosts) if self.wishes.known_hosts else ""
        left = self._left().get(way.place, (None, ""))[1]
        return named or self.folder.host_keys.key(way.address, way.port) or left or login.known_key(way)

    def _ask_for(self, ways: Mapping[str, Login], known: dict[str, str]) -> dict[str, str]:
        """Show a person the keys that answer at these places, where they are other than known; returns all of them."""
        keys, errors = fan_out(ways, lambda place: login.offered_key(ways[place]))
        if errors:
            raise HostsFailed(errors)
        new = {place: key for place, key in sorted(keys.items()) if known.get(place) != key}
        shown = [
            f"{ways[place].given}  {login.fingerprint(key)}{', NOT the one known so far' if place in known else ''}"
            for place, key in new.items()
        ]
        told = "on the machine itself, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it"
        if new and self.ask and not self.ask("\n".join([*shown, f"Are these their host keys ({told})?"])):
            raise UsageError("not taken: the host keys were not confirmed")
        return keys

    def _left(self) -> dict[str, tuple[Host, str]]:
        """The machines that could not be cleaned up when they left the fleet, and their keys, by place."""
        if not self._file.exists():
            return {}
        try:
            data = json.loads(self._file.read_text("utf-8"))
            return {place: (Host(**host), key) for place, (host, key) in data.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise FleetDamaged(f"{self._file} can't be read ({error}); restore it", fleet=self.folder.name) from error

    def _remember(self, hosts: Mapping[str, Host], cleaned: set[str]) -> None:
        """Note machines with something of the fleet on them, and those that are clean."""
        left = {place: item for place, item in self._left().items() if place not in cleaned}
        left |= {place: (host, self._keys[place]) for place, host in hosts.items()}
        if left or self._file.exists():
            data = {place: (dataclasses.asdict(host), key) for place, (host, key) in left.items()}
            write_private(self._file, json.dumps(data).encode())


def _host(name: str, role: Role, way: Login) -> Host:
    return Host(name, role, way.address, way.address, way.user, way.port, way.proxy)


def _login(host: Host) -> Login:
    """The way to a machine that is known from the fleet's folder alone."""
    address = f"[{host.address}]" if ":" in host.address else host.address
    return Login(f"{host.user}@{address}:{host.port}", host.address, host.port, host.user, host.proxy)


PROVIDER = StaticProvider
