"""Machines that exist already: taken into the fleet, and given back as they were.

A machine says itself whose it is (footprint.MARK).  How to get there is for the person's own ssh to know; the fleet's
own key is let in over that way, and everything after goes by it as with any other provider.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fanrun.fleet.config import me
from fanrun.fleet.errors import FanrunError, FleetError, HostError, HostsFailed, ToolMissing, UsageError
from fanrun.fleet.model import Host, known_as, old_id
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.store import Folder
from provision.hosts.footprint import Claim, HostFacts
from provision.providers.base import Confirm, FoundHost, HostSpec, OtherFleet, Provider, Say, State
from provision.providers.static.eligibility import find_problem
from provision.providers.static.host_keys import HostKeys
from provision.providers.static.machine_access import MachineAccess, describe
from provision.providers.static.members import Member, list_members, list_workers, make_target, make_used
from provision.providers.static.options import StaticOptions
from provision.providers.static.sudo_choice import find_conflict, lacks_password
from provision.providers.static.uncleaned import UncleanedMachines

T = TypeVar("T")


class StaticProvider(Provider):
    """The machines that `host` and `hub` name, and those that were taken earlier."""

    name = "static"
    options: StaticOptions

    def __init__(self, folder: Folder, options: StaticOptions, fleet_id: str = "") -> None:
        super().__init__(folder, options, fleet_id)
        self._owner = options.owner or me()
        self._uncleaned = UncleanedMachines(folder)
        self._known_members: list[Member] | None = None
        self._keys = HostKeys(folder, options.known_hosts)
        self._access = MachineAccess(folder, self._keys, options.ssh_config, lambda: self.uses_sudo)
        self._unreachable: dict[str, str] = {}
        self._facts: dict[str, HostFacts] = {}

    @property
    def _confirm(self) -> Confirm | None:
        """Return the way to ask a person about host keys, where --scan was given and a person can be asked."""
        return self.confirm if self.options.scan else None

    def resolved_options(self) -> dict[str, str]:
        return {"owner": self._owner}

    def workers(self, requested: int | None) -> int:
        there = len(list_workers(self.options.host))
        if requested not in (None, there):
            raise UsageError(f"provider static has the {there} workers that --host names; leave --hosts out")
        return there

    def check(self) -> None:
        list_workers(self.options.host)
        for tool in ("ssh", "ssh-keygen"):
            if shutil.which(tool) is None:
                raise ToolMissing(f"{tool} is not in PATH; install OpenSSH's client", tool=tool)
        for file in (self.options.ssh_config, self.options.known_hosts):
            if file and not Path(file).is_file():
                raise UsageError(f"there is no file {file}")
        self.check_sudo(launches=False)
        self._keys.learn([member.target for member in self._members()], self._confirm)

    def check_launch(self) -> None:
        self.check_sudo(launches=True)

    def check_sudo(self, *, launches: bool) -> None:
        hosts = self._hosts()
        conflict = find_conflict(self.folder.name, hosts, self.options) if launches else ""
        if problem := conflict or lacks_password(hosts, self.options):
            raise UsageError(problem)

    @property
    def uses_sudo(self) -> bool:
        hosts = () if self._fleet_id else self._hosts()
        return not any(host.sudo == "none" for host in hosts) if hosts else not self.options.no_sudo

    @property
    def asks_sudo_password(self) -> bool:
        return self.options.ask_sudo_password

    def adoptable(self) -> list[str]:
        key = self.folder.key.with_suffix(".pub")
        return [old_id(key.read_text().strip())] if key.exists() else []

    def others(self, *, everywhere: bool = False) -> list[OtherFleet]:
        members = {member.place: member for member in self._members()}
        if not self._facts:
            self._facts, _ = self._read_facts(list(members.values()))
        by_id: dict[str, list[str]] = {}
        for place, facts in self._facts.items():
            if facts.fleet == self.folder.name and facts.id not in self.ids and place in members:
                by_id.setdefault(facts.id, []).append(place)
        options = ["--provider=static", *([] if self.uses_sudo else ["--no-sudo"])]
        return [
            OtherFleet(
                each,
                self._facts[places[0]].owner,
                tuple(sorted(members[place].target.given for place in places)),
                options=(*options, *(f"--host={members[place].target.given}" for place in sorted(places))),
            )
            for each, places in sorted(by_id.items())
        ]

    def excludes(self, other: OtherFleet) -> bool:
        """Return True: a machine can be in one fleet only."""
        return True

    def search_scope(self) -> str:
        return f"the marks of {', '.join(sorted({member.target.given for member in self._members()}))}"

    def unnamed_hosts(self) -> list[str]:
        return sorted(self.folder.host_keys.places() - {member.place for member in self._members()})

    def find(self) -> list[FoundHost]:
        members = [*self._members(), *self._former()]
        found_facts, errors = self._read_facts(members)
        self._facts = found_facts
        reasons = {each.place: describe(found_facts.get(each.place), errors.get(each.place)) for each in members}
        self._unreachable = {place: reason for place, reason in reasons.items() if reason}
        found = []
        for member in members:
            facts = found_facts.get(member.place)
            if state := self._state(member, facts):
                found.append(FoundHost(make_used(member.host, facts), state))
        return found

    def replaces(self, found: FoundHost) -> bool:
        """Return False: a machine is used again as it is."""
        return False

    def launch(self, specs: Sequence[HostSpec], say: Say) -> list[Host]:
        names = [item.name for item in specs]
        members = [member for member in self._members() if member.host.name in names]
        found_facts, errors = self._read_facts(members)
        for place, facts in found_facts.items():
            if problem := find_problem(facts, self.ids):
                errors[place] = HostError(problem, host=place)
        if errors:
            raise HostsFailed(errors)
        key = self.folder.key.with_suffix(".pub").read_text().strip()

        def claim(member: Member) -> None:
            wanted = Claim(self.folder.name, self._owner, self._roles(member), key, self.ids)
            self._access.claim(member, wanted, found_facts[member.place])
            self.folder.host_keys.pin(member.host.address, member.host.port, self._keys[member.place])

        _, errors = self._on_machines(members, claim)
        if errors:
            self._uncleaned.update({each.place: (each.host, self._keys[each.place]) for each in members})
            raise HostsFailed(errors)
        for member in members:
            say(member.host.name, f"is {member.target.given}")
        return [make_used(member.host, found_facts[member.place]) for member in members]

    def terminate(self, names: Sequence[str], say: Say) -> None:
        """Remove what was installed on these machines; one that can't be reached is reported and left as it is."""
        members = [member for member in [*self._members(), *self._former()] if member.host.name in names]

        def remove(member: Member) -> None:
            for line in self._access.remove(member, self.ids, self._facts.get(member.place)):
                say(member.host.name, line)

        done, errors = self._on_machines(members, remove)
        hosts = {each.place: each.host for each in members}
        self._uncleaned.update({place: (hosts[place], self._keys[place]) for place in errors}, done)
        for place, error in sorted(errors.items()):
            say(place, f"{error}; what is on it stays")

    def clean(self, say: Say) -> None:
        """Do nothing: all that belongs to the fleet is on its machines."""

    def describe_remaining(self, name: str) -> str:
        for member in [*self._members(), *self._former()]:
            if member.host.name == name and (reason := self._unreachable.get(member.place)):
                return (
                    f"{name}: {reason}; if the machine is gone for good, `rm -r {self.folder.path}` forgets the fleet"
                )
        return super().describe_remaining(name)

    def plan(self, specs: Sequence[HostSpec]) -> list[str]:
        names = [item.name for item in specs]
        members = [member for member in self._members() if member.host.name in names]
        return [f"{member.host.name} is {member.target.given}" for member in members]

    def _members(self) -> list[Member]:
        """Return the hub and the workers that the options name."""
        if self._known_members is None:
            self._known_members = list_members(self.options)
        return self._known_members

    def _former(self) -> list[Member]:
        """Return machines that may still have files of the fleet and that the options no longer name."""
        hosts = [*(host for host, _ in self._uncleaned.read().values()), *self._hosts()]
        named = {member.place for member in self._members()}
        former = {known_as(host.address, host.port): host for host in hosts}
        places = sorted(former.keys() - named)
        return [
            Member(dataclasses.replace(former[place], name=f"former-{n}"), make_target(former[place]))
            for n, place in enumerate(places, 1)
        ]

    def _hosts(self) -> tuple[Host, ...]:
        """Return the hosts that the fleet has, as far as its folder is known."""
        with contextlib.suppress(FleetError):
            return self.folder.load().hosts
        return ()

    def _roles(self, member: Member) -> str:
        return " ".join(sorted(each.host.role for each in self._members() if each.place == member.place))

    def _state(self, member: Member, facts: HostFacts | None) -> State | None:
        """Return the state of a machine as a host of the fleet; None if it is not in the fleet."""
        if facts is None or facts.sudo is None:
            return "unreachable"
        if facts.id not in self.ids:
            return None
        pinned = self.folder.host_keys.key(member.host.address, member.host.port)
        same = (facts.user, pinned) == (member.host.user, self._keys[member.place])
        return "running" if same and member.host.role in facts.roles else "broken"

    def _read_facts(self, members: Sequence[Member]) -> tuple[dict[str, HostFacts], dict[str, FanrunError]]:
        return self._on_machines(members, self._access.read_facts)

    def _on_machines(
        self, members: Sequence[Member], work: Callable[[Member], T]
    ) -> tuple[dict[str, T], dict[str, FanrunError]]:
        """Call work(member) once for each machine, at the same time: (results, errors) by its place."""
        self._keys.learn([member.target for member in members], self._confirm)
        keys = {self._keys[member.place]: member.target.given for member in members}
        if len(keys) < len({member.place for member in members}):
            raise UsageError(
                f"two of the machines have one host key, so they are one: {', '.join(keys.values())} are all"
            )
        one = {member.place: member for member in members}
        return fan_out(one, lambda place: work(one[place]))


PROVIDER = StaticProvider
