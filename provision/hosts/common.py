"""What the steps on a host share: its files, its services, its addresses."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable, Mapping
from importlib import resources

from fanrun.fleet.errors import HostError
from fanrun.fleet.poll import RetryPolicy, wait_until
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from provision.hosts import ca, footprint
from provision.hosts.scripts import host_argv

ANY = "0.0.0.0"  # noqa: S104 - where the address that others use is none of the host's own, as behind NAT
STARTING = RetryPolicy(timeout=30, pause=0.3)
"""How long a service may take to start."""


def read_file(name: str, **values: str) -> str:
    """Return the text of a file under files/, with `values` in the place of their $names if there are any."""
    text = (resources.files("provision.hosts") / "files" / name).read_text("utf-8")
    return string.Template(text).substitute(values) if values else text


def bind_address(remote: Remote) -> str:
    """Return the address to listen at for the fleet's other members: the host's own, or ANY."""
    argv = host_argv("bind-address.sh", remote.host.inner, ANY)
    return remote.run(argv).stdout.strip()


def answers(remote: Remote, argv: list[str]) -> bool:
    """Whether a command succeeds on a host, as root and within 10 seconds."""
    return remote.run(argv, sudo=True, check=False, timeout=10).exit_code == 0


def ensure_service(remote: Remote, service: str, is_up: Callable[[], bool]) -> str | None:
    """Start a service that doesn't answer; `service` knows systemd and init scripts alike."""
    if is_up():
        return None
    started = remote.run(["service", service, "start"], sudo=True, check=False)
    if wait_until(is_up, STARTING):
        return f"{service} started"
    last = (started.stderr or started.stdout).strip().splitlines()
    raise HostError(
        f"{service} does not start ({last[-1] if last else 'it said nothing'}); "
        f"look at its log with `fab ssh --host {remote.host.name}`",
        host=remote.host.name,
    )


def ensure_file(remote: Remote, path: str, text: str) -> bool:
    """Make a root-owned file hold this text; True if it had to be written."""
    if not outdated(remote, {path: text}):
        return False
    write(remote, path, text)
    return True


def outdated(remote: Remote, texts: Mapping[str, str]) -> list[str]:
    """Return the paths of the files that do not hold these texts; changes nothing."""
    listed = remote.run(["sha256sum", "--", *texts], sudo=True, check=False).stdout.splitlines()
    found = {line.partition("  ")[::2] for line in listed}
    return [path for path, text in texts.items() if (hashlib.sha256(text.encode()).hexdigest(), path) not in found]


def write(remote: Remote, path: str, text: str, *, mode: str = "644", owner: str = "root:root") -> None:
    """Write a file, which is noted first as one that Fanrun brought, if it wasn't there."""
    remote.run(footprint.note_file_argv(path), sudo=True)
    remote.put(text, path, mode=mode, owner=owner)


def has_pair(remote: Remote, folder: Folder, key: str, certificate: str, names: list[str]) -> bool:
    """Return whether the host has this key and a certificate of the CA for these names, valid for a month or more."""
    found = remote.run(host_argv("pair-certificate.sh", key, certificate), sudo=True, check=False)
    return found.exit_code == 0 and ca.serves(found.stdout, names, folder.ca_cert.read_text())


def ensure_client_pair(remote: Remote, folder: Folder, key: str, certificate: str, owner: str = "root:root") -> bool:
    """Give the host a certificate to show to others of the fleet, and its key; True if they had to be written.

    The certificate comes last: after an interruption a new key does not stand beside an old certificate that is good.
    """
    names = [remote.host.inner]
    if has_pair(remote, folder, key, certificate, names):
        return False
    new_key, new_certificate = ca.client(folder.ca_key.read_text(), folder.ca_cert.read_text(), names)
    remote.run(["rm", "-f", certificate], sudo=True)
    write(remote, key, new_key, mode="600", owner=owner)
    write(remote, certificate, new_certificate)
    return True
