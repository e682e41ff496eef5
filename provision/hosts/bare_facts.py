"""What a machine has, and what it lacks, where sudo is not used and nothing is installed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BareFacts:
    """What a machine is where sudo is not used: its `login`, the work folder, the programs that are not there.

    `docker` is "ok", or what it says where the login can't use it; `security` are its options for that.  `is_prepared`
    is whether a fleet with sudo has the machine.
    """

    login: str = ""
    work: str = ""
    missing: tuple[str, ...] = ()
    docker: str = ""
    security: str = ""
    is_prepared: bool = False


NOTHING = BareFacts()
"""What is known of a machine where sudo is used."""


def find_missing(bare: BareFacts) -> str:
    """Return all that a machine lacks where sudo is not used and nothing is installed; "" if it lacks nothing."""
    if bare.is_prepared:
        return "belongs to a fleet that was made with sudo; end that fleet first"
    parts = [f"not there: {', '.join(bare.missing)}"] if bare.missing else []
    if bare.docker and (why := _docker_problem(bare)):
        parts.append(f"docker: {why}")
    return "; ".join(parts)


def _docker_problem(bare: BareFacts) -> str:
    """Return why the login can't use the Docker that is there; "" if it can."""
    if "permission denied" in bare.docker:
        return f"the login is not in the group docker (`sudo usermod -aG docker {bare.login}` on the machine)"
    if bare.docker != "ok":
        return f"it does not answer ({bare.docker[-200:]})"
    if "rootless" in bare.security or "userns" in bare.security:
        return "it runs rootless or with userns-remap, where containers can't write to the login's folders"
    return ""
