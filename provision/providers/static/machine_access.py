"""Commands on machines over a person's own ssh, and what these say of the machines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from fanrun.fleet.errors import CommandFailed, FanrunError, HostError
from fanrun.fleet.shell import Heard, complaint
from fanrun.fleet.store import Folder
from fanrun.fleet.sudo import ASKING, NO_SUDO, Sudo, explain_refusal, root_argv
from provision.hosts import footprint, startup
from provision.hosts.footprint import Claim, HostFacts
from provision.providers.static import user_ssh
from provision.providers.static.members import Member
from provision.providers.static.user_ssh import SshAccess

FACTS_TIMEOUT, CLEANUP_TIMEOUT = 40, 900
"""Seconds that reading the facts of a machine, and cleaning it up, may take."""


class MachineAccess:
    """Runs commands on the machines of a fleet, with root's rights where they are used."""

    def __init__(
        self, folder: Folder, host_keys: Mapping[str, str], ssh_config: str, uses_sudo: Callable[[], bool]
    ) -> None:
        """`host_keys` are those of the machines, by their places; `uses_sudo` says whether sudo is used on them."""
        self._folder, self._keys, self._ssh_config, self._uses_sudo = folder, host_keys, ssh_config, uses_sudo

    def read_facts(self, member: Member) -> HostFacts:
        """Return what a machine is; HostError where sudo does not take the password that a person has given."""
        heard = self._run(member, footprint.look_argv("free" if self._uses_sudo() else "none"))
        found = footprint.parse(heard.text)
        if found.sudo is None and found.sudo_problem == NO_SUDO and self._folder.sudo.is_given:
            heard = self._run(member, footprint.look_argv("password"), given=self._password(member))
            found = footprint.parse(heard.text)
        if not heard.noise:
            return found
        file = self._run(member, startup.find_argv(heard.noise)).text.strip()
        return dataclasses.replace(found, noise=complaint(heard.noise, file))

    def claim(self, member: Member, claim: Claim, facts: HostFacts) -> None:
        """Make a machine a host of the fleet."""
        sudo = _known(facts)
        work = [facts.bare.work] if sudo == "none" else []
        self._run(member, footprint.claim_argv(claim, sudo, *work), given=self._given(member, sudo))

    def remove(self, member: Member, ids: Sequence[str], facts: HostFacts | None) -> list[str]:
        """Remove what a machine has of the fleet with one of these ids; return what was removed, in words."""
        if facts is None:  # it did not answer before
            facts = self.read_facts(member)
        sudo = _known(facts)
        if sudo == "none":
            argv = footprint.remove_home_argv(facts.bare.work, ids)
        else:
            argv = root_argv(sudo, footprint.remove_argv(ids))
        return self._run(member, argv, CLEANUP_TIMEOUT, self._given(member, sudo)).text.splitlines()

    def _given(self, member: Member, sudo: Sudo) -> bytes:
        return self._password(member) if sudo == "password" else b""

    def _password(self, member: Member) -> bytes:
        """Return the line that sudo reads on a machine; HostError where there is none that it takes."""

        def check(line: bytes) -> str:
            try:
                self._run(member, [*ASKING, "true"], given=line)
            except CommandFailed as error:
                return explain_refusal(error.stderr)
            return ""

        return self._folder.sudo.line(member.place, check)

    def _run(self, member: Member, argv: Sequence[str], seconds: int = FACTS_TIMEOUT, given: bytes = b"") -> Heard:
        access = SshAccess(member.target, self._keys[member.place], self._folder.key, self._ssh_config)
        return user_ssh.run(access, argv, seconds, given)


def _known(facts: HostFacts) -> Sudo:
    """Return how sudo is used on a machine; HostError where the login can't use it."""
    if facts.sudo is None:
        raise HostError(facts.sudo_problem, host="")
    return facts.sudo


def describe(facts: HostFacts | None, error: FanrunError | None) -> str:
    """Return why nothing can be done with a machine; "" if something can."""
    if facts is None:
        return str(error)
    return facts.sudo_problem if facts.sudo is None else ""
