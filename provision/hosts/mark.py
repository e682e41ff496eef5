"""The mark on a host: whose it is, and which version of Fanrun set it up."""

from __future__ import annotations

from fanrun.fleet.errors import HostError
from fanrun.fleet.model import VERSION
from fanrun.fleet.script import script_argv
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from provision.hosts.scripts import host_script

SCRIPT = host_script("mark.sh")


def read_mark(text: str) -> dict[str, str]:
    """Return the lines of a mark, "name value" each, by their names."""
    return dict(line.partition(" ")[::2] for line in text.splitlines())


def check_mark_host(remote: Remote, folder: Folder) -> None:
    """Raise HostError for a host of another fleet, or of a newer version of Fanrun; changes nothing."""
    found = read_mark(remote.run(["cat", remote.host.layout.mark], check=False).stdout)
    version = found.get("version", "")
    if version.isdigit() and int(version) > VERSION:
        raise HostError(
            f"was set up by a newer Fanrun (version {version}, this one knows {VERSION}); update this Fanrun",
            host=remote.host.name,
        )
    if found.get("id", folder.id) not in folder.ids:
        raise HostError(
            f"belongs to another fleet (id {found['id']}); `fab down --take-over={found['id']}` ends it",
            host=remote.host.name,
        )


def ensure_mark_host(remote: Remote, folder: Folder) -> None:
    """Note on a host that is set up whose it is, and by which version."""
    remote.run(script_argv(SCRIPT, remote.host.layout.mark, folder.name, folder.id, str(VERSION)))
