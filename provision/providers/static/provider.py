"""Machines that exist already: taken into the fleet, and given back as they were.

A machine says itself whose it is (footprint.MARK).  How to get there is for the person's own ssh to know; the fleet's
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

from fanrun.fleet.config import ProviderOptions, me
from fanrun.fleet.errors import FanrunError, FleetDamaged, FleetError, HostError, HostsFailed, ToolMissing, UsageError
from fanrun.fleet.model import HUB, KEY_TYPE, VERSION, Host, Role, known_as, old_id
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.private_files import write_private
from fanrun.fleet.shell import Heard, complaint
from fanrun.fleet.store import Folder
from provision.hosts import footprint, startup
from provision.hosts.footprint import HostFacts
from provision.providers.base import FoundHost, HostSpec, OtherFleet, Provider, Say, State
from provision.providers.static import user_ssh
from provision.providers.static.user_ssh import SshTarget

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
    target: SshTarget


class StaticProvider(Provider):
    """The machines that `host` and `hub` name, and those that were taken earlier."""

    name = "static"
    option_names = frozenset({"host", "hub", "known_hosts", "ssh_config", "scan"})

    def __init__(self, folder: Folder, options: ProviderOptions, fleet_id: str = "") -> None:
        super().__init__(folder, options, fleet_id)
        self._owner = options.owner or me()
        self._config = options.ssh_config
        self._file = folder.path / "left.json"
        self._known_members: list[_Member] | None = None
        self._keys: dict[str, str] = {}
        self._unreachable: dict[str, str] = {}
        self._facts: dict[str, HostFacts] = {}

    def resolved_options(self) -> dict[str, str]:
        return {"owner": self._owner}

    def workers(self, requested: int | None) -> int:
        there = len(self._listed())
        if requested not in (None, there):
            raise UsageError(f"provider static has the {there} workers that --host names; leave --hosts out")
        return there

    def check(self) -> None:
        self._listed()
        for tool in ("ssh", "ssh-keygen"):
            if shutil.which(tool) is None:
                raise ToolMissing(f"{tool} is not in PATH; install OpenSSH's client", tool=tool)
        for file in (self._config, self.options.known_hosts):
            if file and not Path(file).is_file():
                raise UsageError(f"there is no file {file}")
        self._learn_keys([member.target for member in self._members()])

    def adoptable(self) -> list[str]:
        key = self.folder.key.with_suffix(".pub")
        return [old_id(key.read_text().strip())] if key.exists() else []

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        members = {member.target.place: member for member in self._members()}
        if not self._facts:
            self._facts, _ = self._read_facts(list(members.values()))
        by_id: dict[str, list[str]] = {}
        for place, facts in self._facts.items():
            if facts.fleet == self.folder.name and facts.id not in self.ids and place in members:
                by_id.setdefault(facts.id, []).append(place)
        return [
            OtherFleet(
                each, self._facts[places[0]].owner, tuple(sorted(members[place].target.given for place in places)),
                options=("--provider=static", *(f"--host={members[place].target.given}" for place in sorted(places))),
            )
            for each, places in sorted(by_id.items())
        ]  # fmt: skip

    def excludes(self, other: OtherFleet) -> bool:
        """A machine can be in one fleet."""
        return True

    def looked(self) -> str:
        return f"the marks of {', '.join(sorted({member.target.given for member in self._members()}))}"

    def unseen(self) -> list[str]:
        return sorted(self.folder.host_keys.places() - {member.target.place for member in self._members()})

    def find(self) -> list[FoundHost]:
        members = [*self._members(), *self._former()]
        found_facts, errors = self._read_facts(members)
        self._facts = found_facts
        self._unreachable = {place: str(error) for place, error in errors.items()}
        for place, facts in found_facts.items():
            if not facts.sudo:  # what is on it can't be seen
                self._unreachable[place] = NO_SUDO
        found = []
        for member in members:
            state = self._state(member, found_facts.get(member.target.place))
            if state:
                found.append(FoundHost(member.host, state))
        return found

    def replaces(self, found: FoundHost) -> bool:
        """A machine is taken again as it is."""
        return False

    def launch(self, specs: Sequence[HostSpec], say: Say) -> list[Host]:
        names = [item.name for item in specs]
        members = [member for member in self._members() if member.host.name in names]
        found_facts, errors = self._read_facts(members)
        for place, facts in found_facts.items():
            if problem := self._problem(facts):
                errors[place] = HostError(problem, host=place)
        if errors:
            raise HostsFailed(errors)
        key = self.folder.key.with_suffix(".pub").read_text().strip()

        def claim(member: _Member) -> None:
            args = [self.folder.name, self._owner, self._roles(member), key, " ".join(self.ids)]
            self._run(member, ["sh", "-c", footprint.CLAIM, "sh", *args], LOOKING)
            self.folder.host_keys.pin(member.host.address, member.host.port, self._keys[member.target.place])

        _, errors = self._on_machines(members, claim)
        if errors:
            self._remember({each.target.place: each.host for each in members}, set())
            raise HostsFailed(errors)
        for member in members:
            say(member.host.name, f"is {member.target.given}")
        return [member.host for member in members]

    def terminate(self, names: Sequence[str], say: Say) -> None:
        """Remove what was brought to these machines; one that can't be reached is told of, and left."""
        members = [member for member in [*self._members(), *self._former()] if member.host.name in names]

        def remove(member: _Member) -> None:
            argv = ["sudo", "-n", "sh", "-c", footprint.REMOVE, "sh", " ".join(self.ids)]
            for line in self._run(member, argv, REMOVING).text.splitlines():
                say(member.host.name, line)

        done, errors = self._on_machines(members, remove)
        hosts = {each.target.place: each.host for each in members}
        self._remember({place: hosts[place] for place in errors}, set(done))
        for place, error in sorted(errors.items()):
            say(place, f"{error}; what is on it stays")

    def clean(self, say: Say) -> None:
        """Nothing belongs to the fleet that is on no machine."""

    def left(self, name: str) -> str:
        for member in [*self._members(), *self._former()]:
            if member.host.name == name and (reason := self._unreachable.get(member.target.place)):
                return (
                    f"{name}: {reason}; if the machine is gone for good, `rm -r {self.folder.path}` forgets the fleet"
                )
        return super().left(name)

    def plan(self, specs: Sequence[HostSpec]) -> list[str]:
        names = [item.name for item in specs]
        members = [member for member in self._members() if member.host.name in names]
        return [f"{member.host.name} is {member.target.given}" for member in members]

    def _listed(self) -> list[str]:
        """The workers as they were given; UsageError if there are none."""
        entries = [item.strip() for item in self.options.host.split(",") if item.strip()]
        if not entries:
            raise UsageError(
                "provider static needs machines: --host user@address[:port], once for each, or `host:` in fabric.yaml"
            )
        return entries

    def _members(self) -> list[_Member]:
        """The hub and the workers, numbered as they were given; the hub is the first of them if none is named."""
        if self._known_members is not None:
            return self._known_members
        targets = [user_ssh.resolve(item, self._config) for item in self._listed()]
        places = [item.place for item in targets]
        if double := next((item.given for item in targets if places.count(item.place) > 1), None):
            raise UsageError(f"--host names {double} twice; name each machine once")
        hub = user_ssh.resolve(self.options.hub, self._config) if self.options.hub else targets[0]
        workers = [_Member(_host(f"worker-{n}", "worker", item), item) for n, item in enumerate(targets, 1)]
        self._known_members = [_Member(_host(HUB, "hub", hub), hub), *workers]
        return self._known_members

    def _former(self) -> list[_Member]:
        """The machines that the fleet has or had, with something of it on them, and that are not named any more."""
        hosts = [host for host, _ in self._left().values()]
        with contextlib.suppress(FleetError):
            hosts += self.folder.load().hosts
        named = {member.target.place for member in self._members()}
        former = {known_as(host.address, host.port): host for host in hosts}
        places = sorted(former.keys() - named)
        return [
            _Member(dataclasses.replace(former[place], name=f"former-{n}"), _target(former[place]))
            for n, place in enumerate(places, 1)
        ]

    def _roles(self, member: _Member) -> str:
        return " ".join(sorted(each.host.role for each in self._members() if each.target.place == member.target.place))

    def _state(self, member: _Member, facts: HostFacts | None) -> State | None:
        """What the machine is to the fleet; None for one that is not the fleet's."""
        if facts is None or not facts.sudo:
            return "unreachable"
        if facts.id not in self.ids:
            return None
        pinned = self.folder.host_keys.key(member.host.address, member.host.port)
        same = (facts.user, pinned) == (member.host.user, self._keys[member.target.place])
        return "running" if same and member.host.role in facts.roles else "broken"

    def _problem(self, facts: HostFacts) -> str:
        """Why a machine can't be taken, "" if it can."""
        if facts.system.split(" ")[0] not in SYSTEMS:
            return f"runs {facts.system or 'an unknown system'}; Fanrun sets up Debian and Ubuntu"
        ours = platform.machine().lower()
        if SAME.get(facts.machine, facts.machine) != SAME.get(ours, ours):
            return f"is {facts.machine}, but images are built on this machine, for {ours}; leave it out"
        if not facts.sudo:
            return NO_SUDO
        if facts.noise:
            return facts.noise
        if facts.snap:
            return "has a Docker from snap, which can't read Fanrun's folders; `snap remove docker`, or leave it out"
        if facts.fleet and facts.id not in self.ids:
            return (
                f"belongs to fleet {facts.fleet} of {facts.owner}, whose `fab down` frees it; where they are gone, "
                f"`fab down --provider=static --fleet={facts.fleet} --host=… --take-over={facts.id}` does"
            )
        if facts.version > VERSION:
            return (
                f"was set up by a newer Fanrun (version {facts.version}, this one knows {VERSION}); update this Fanrun"
            )
        return ""

    def _read_facts(self, members: Sequence[_Member]) -> tuple[dict[str, HostFacts], dict[str, FanrunError]]:
        def read_facts(member: _Member) -> HostFacts:
            heard = self._run(member, ["sh", "-c", footprint.LOOK], LOOKING)
            found = footprint.parse(heard.text)
            if not heard.noise:
                return found
            file = self._run(member, startup.find_argv(heard.noise), LOOKING).text.strip()
            return dataclasses.replace(found, noise=complaint(heard.noise, file))

        return self._on_machines(members, read_facts)

    def _on_machines(
        self, members: Sequence[_Member], work: Callable[[_Member], T]
    ) -> tuple[dict[str, T], dict[str, FanrunError]]:
        """Call work(member) once for each machine, at the same time: (results, errors) by its place."""
        self._learn_keys([member.target for member in members])
        keys = {self._keys[member.target.place]: member.target.given for member in members}
        if len(keys) < len({member.target.place for member in members}):
            raise UsageError(
                f"two of the machines have one host key, so they are one: {', '.join(keys.values())} are all"
            )
        one = {member.target.place: member for member in members}
        return fan_out(one, lambda place: work(one[place]))

    def _run(self, member: _Member, argv: Sequence[str], seconds: int) -> Heard:
        key = self._keys[member.target.place]
        return user_ssh.run(
            member.target, key, argv, identity=self.folder.key, ssh_config=self._config, seconds=seconds
        )

    def _learn_keys(self, targets: Sequence[SshTarget]) -> None:
        """Know every machine's host key: from the file named, the fleet's folder, ssh's own files, or a person."""
        unknown = {each.place: each for each in targets if each.place not in self._keys}
        known = {place: key for place, each in unknown.items() if (key := self._known_key(each))}
        if self.confirm is not None and unknown:
            known = self._ask_for(unknown, known)
        if missing := ", ".join(sorted(each.given for place, each in unknown.items() if place not in known)):
            raise UsageError(
                f"no {KEY_TYPE} host key is known of {missing}: name a file that has it with --known-hosts, "
                "or look at it with --scan"
            )
        self._keys |= known

    def _known_key(self, way: SshTarget) -> str:
        named = user_ssh.known_key(way, self.options.known_hosts) if self.options.known_hosts else ""
        left = self._left().get(way.place, (None, ""))[1]
        return named or self.folder.host_keys.key(way.address, way.port) or left or user_ssh.known_key(way)

    def _ask_for(self, ways: Mapping[str, SshTarget], known: dict[str, str]) -> dict[str, str]:
        """Show a person the keys that answer at these places, where they are other than known; returns all of them."""
        keys, errors = fan_out(ways, lambda place: user_ssh.offered_key(ways[place]))
        if errors:
            raise HostsFailed(errors)
        new = {place: key for place, key in sorted(keys.items()) if known.get(place) != key}
        shown = [
            f"{ways[place].given}  {user_ssh.fingerprint(key)}{', NOT the one known so far' if place in known else ''}"
            for place, key in new.items()
        ]
        told = "on the machine itself, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it"
        if new and self.confirm and not self.confirm("\n".join([*shown, f"Are these their host keys ({told})?"])):
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


def _host(name: str, role: Role, way: SshTarget) -> Host:
    return Host(name, role, way.address, way.address, way.user, way.port, way.proxy)


def _target(host: Host) -> SshTarget:
    """The way to a machine that is known from the fleet's folder alone."""
    address = f"[{host.address}]" if ":" in host.address else host.address
    return SshTarget(f"{host.user}@{address}:{host.port}", host.address, host.port, host.user, host.proxy)


PROVIDER = StaticProvider
