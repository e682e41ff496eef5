"""Whether sudo is used on a fleet's machines: what was asked for, and what the fleet was made with."""

from __future__ import annotations

from collections.abc import Sequence

from fanrun.fleet.model import Host
from provision.providers.static.options import StaticOptions


def find_conflict(fleet: str, hosts: Sequence[Host], options: StaticOptions) -> str:
    """Return what contradicts itself, or what the hosts of the fleet are; "" if nothing does."""
    is_without = any(host.sudo == "none" for host in hosts)
    if options.ask_sudo_password and is_without:
        return f"fleet {fleet} was made with --no-sudo, so --ask-sudo-password is of no use; leave it out"
    if options.ask_sudo_password and options.no_sudo:
        return "--ask-sudo-password is for sudo, and --no-sudo is for none; leave one of them out"
    if options.no_sudo and options.hub:
        return "nothing runs on the hub of a fleet that is made with --no-sudo; leave --hub out"
    if options.no_sudo and hosts and not is_without:
        return f"fleet {fleet} was made with sudo; `fab down` ends it, then --no-sudo can make it anew"
    if is_without and not options.no_sudo:
        return f"fleet {fleet} was made with --no-sudo; `fab down` ends it, then it can be made with sudo"
    return ""


def lacks_password(hosts: Sequence[Host], options: StaticOptions) -> str:
    """Return what to say where sudo asks for a password on a host and nobody is to be asked; "" if all is well."""
    names = [host.name for host in hosts if host.sudo == "password"]
    if options.ask_sudo_password or not names:
        return ""
    return (
        f"sudo asks for a password on {', '.join(names)}; --ask-sudo-password asks you for it "
        "(a fleet that is made with --no-sudo needs none)"
    )
