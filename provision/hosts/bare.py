"""Steps for a host where sudo is not used: nothing is installed, and all of Fanrun's files are in the login's home."""

from __future__ import annotations

from fanrun.fleet.errors import HostError
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from provision.hosts import footprint, mark, startup
from provision.hosts.bare_facts import find_missing
from provision.hosts.step import Step


def steps(folder: Folder) -> list[tuple[str, Step]]:
    """Return the steps for one host, in their order: (what it does, the step)."""
    return [
        ("looking whose it is", lambda remote: mark.check_mark_host(remote, folder)),
        ("looking what its login prints", startup.ensure_silent_host),
        ("looking what is there", ensure_complete_host),
        ("making the folder for logs", ensure_logs_host),
        ("marking it", lambda remote: mark.ensure_mark_host(remote, folder)),
    ]


def ensure_complete_host(remote: Remote) -> str | None:
    """Refuse a host that lacks anything, and name it; changes nothing."""
    facts = footprint.parse(remote.run(footprint.look_argv("none")).stdout)
    if missing := find_missing(facts.bare):
        raise HostError(missing, host=remote.host.name)
    return None


def ensure_logs_host(remote: Remote) -> str | None:
    """Make the folder for the logs of runs, private to the login."""
    remote.run(["mkdir", "-p", "-m", "700", remote.host.layout.logs])
    return None
