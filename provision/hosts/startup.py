"""What a host's login shell reads when it starts: it must print nothing, for rsync would take that as its own.

What Fanrun itself sends is answered between marks (fanrun.fleet.shell); rsync composes its own command.
"""

from __future__ import annotations

from fanrun.fleet.errors import HostError
from fanrun.fleet.shell import complaint, first_words
from fanrun.fleet.ssh import Remote
from provision.hosts.scripts import host_argv


def find_argv(noise: str) -> list[str]:
    """Return the command that names the file, or the files, by which a login prints `noise`."""
    return host_argv("startup-files.sh", first_words(noise))


def ensure_silent_host(remote: Remote) -> None:
    """Raise HostError for a host whose login prints something, and name the file; changes nothing."""
    noise = remote.run(["true"]).noise
    if noise:
        raise HostError(complaint(noise, remote.run(find_argv(noise)).stdout.strip()), host=remote.host.name)
