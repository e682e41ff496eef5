"""The folder for logs on each host: where runs write them, and where the hub gets those of all hosts."""

from __future__ import annotations

from fanrun.fleet.layout import USUAL
from fanrun.fleet.ssh import Remote
from provision.hosts import footprint
from provision.hosts.scripts import host_argv

LOGS = USUAL.logs


def ensure_spool_host(remote: Remote, *, is_hub: bool) -> str | None:
    """Make the folder for logs, for the login and for Vector where there is one; Vector writes to the hub's."""
    mode = "2770" if is_hub else "2750"
    argv = host_argv("spool-folder.sh", LOGS, remote.host.user, mode, footprint.ADDED)
    return "folder for logs made" if remote.run(argv, sudo=True).stdout.strip() else None
