"""Check whether a host has Vector; install the pinned version from a package file or from Vector's apt repository."""

from __future__ import annotations

import base64
import binascii
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fanrun.fleet.errors import CommandFailed, HostError, HostUnreachable, UsageError
from fanrun.fleet.probe import WORK
from fanrun.fleet.script import script_argv
from fanrun.fleet.shell import read
from fanrun.fleet.ssh import Remote
from fanrun.fleet.ssh_commands import ssh_argv
from fanrun.fleet.store import Folder
from fanrun.fleet.sudo import root_argv
from provision.hosts import footprint, openpgp, setup
from provision.hosts.common import ensure_file
from provision.hosts.deb import Deb, read_deb
from provision.hosts.scripts import host_argv

PACKAGE, VERSION, PACKAGE_VERSION = "vector", "0.57.0", "0.57.0-1"
COPIED, KEY_FILE = f"{WORK}/vector.deb", f"{WORK}/vector.key"
SOURCES, PREFERENCES = "/etc/apt/sources.list.d/fanrun-vector.list", "/etc/apt/preferences.d/fanrun-vector"
KEYRING = "/usr/share/keyrings/fanrun-vector.asc"
FETCHING, UPDATING, COPYING, INSTALLING = 30, 60, 600, 600
"""Seconds that the steps may take: a repository out of reach costs little."""


@dataclass(frozen=True)
class Repository:
    """An apt repository: `source` is what comes after the keyring in its line, `origin` what apt calls it.

    `key` is the URL of its key, which must have one of these fingerprints.
    """

    source: str
    origin: str
    key: str
    fingerprints: tuple[str, ...]


REPOSITORY = Repository(
    "https://apt.vector.dev/ stable vector-0",
    "apt.vector.dev",
    "https://keys.datadoghq.com/DATADOG_APT_KEY_CURRENT.public",
    ("5F1E256061D813B125E156E8E6266D4AC0962C7D", "D75CEA17048B9ACBF186794B32637D44F14F620E"),
)


@dataclass(frozen=True)
class VectorState:
    """Hold what a host has of Vector: the program, its version, who installed it; "" and False for what is missing."""

    architecture: str = ""
    program: str = ""
    version: str = ""
    systemd: bool = False
    halfway: bool = False
    ours: bool = False
    user: bool = False
    receiver: bool = False

    @property
    def is_ready(self) -> bool:
        """Return whether the program is there in the pinned version, with the user that it runs as."""
        return bool(self.program) and self.version == VERSION and self.user and not self.halfway

    @property
    def foreign(self) -> str:
        """Return why the Vector that is there can't be used and is not to be touched; "" if there is none like that."""
        if not self.program or self.ours or self.halfway or self.is_ready:
            return ""
        what = "without a user `vector`" if self.version == VERSION else f"version {self.version or 'unknown'}"
        return f"has a Vector of its own ({what}), which is left alone; Fanrun ships logs with version {VERSION}"


def parse(text: str) -> VectorState:
    """Read what vector-look.sh printed."""
    lines = dict(line.partition(" ")[::2] for line in text.splitlines())
    flags = {name: lines.get(name) == "yes" for name in ("systemd", "halfway", "ours", "user", "receiver")}
    return VectorState(lines.get("architecture", ""), lines.get("program", ""), lines.get("version", ""), **flags)


def inspect_host(remote: Remote) -> VectorState:
    """Return what a host has of Vector; changes nothing."""
    argv = host_argv("vector-look.sh", footprint.ADDED)
    return parse(remote.run(argv, sudo=True).stdout)


def check_package(path: str) -> Deb:
    """Return what a file with Vector's package says of itself; UsageError unless it is the pinned version."""
    deb = read_deb(Path(path))
    if deb.package != PACKAGE:
        raise UsageError(f"{path} is package {deb.package or 'without a name'}, not {PACKAGE}")
    if deb.version.partition("-")[0] != VERSION:
        raise UsageError(f"{path} is Vector {deb.version}; Fanrun ships logs with version {VERSION}")
    return deb


def sources(repository: Repository) -> str:
    """Return the line that makes apt know the repository."""
    return f"# Written by Fanrun.\ndeb [signed-by={KEYRING}] {repository.source}\n"


def preferences(repository: Repository) -> str:
    """Return the pins by which apt takes nothing from there but Vector, in the one version."""
    return f"""# Written by Fanrun.
Package: *
Pin: origin {repository.origin}
Pin-Priority: -1

Package: {PACKAGE}
Pin: version {PACKAGE_VERSION}
Pin-Priority: 990
"""


def check_key(data: bytes, repository: Repository) -> bytes:
    """Return the packets of the repository's key; ValueError names the fingerprint of one that is not pinned."""
    packets = openpgp.dearmor(data)
    unknown = [each for each in openpgp.fingerprints(packets) if each not in repository.fingerprints]
    if unknown:
        raise ValueError(f"the key at {repository.key} has the fingerprint {unknown[0]}, which Fanrun does not know")
    return packets


def fetch_key_host(remote: Remote, repository: Repository) -> bytes:
    """Download the repository's key on a host, and return its packets; HostError where that fails."""
    argv = host_argv("vector-key.sh", repository.key, KEY_FILE)
    done = remote.run(argv, sudo=True, check=False, timeout=FETCHING)
    if done.exit_code != 0:
        raise HostError(f"Vector can't be installed ({repository.key} could not be downloaded)", host=remote.host.name)
    try:
        return check_key(base64.b64decode(done.stdout), repository)
    except (ValueError, binascii.Error) as error:
        raise HostError(
            f"Vector can't be installed (the key of its repository is refused: {error})", host=remote.host.name
        ) from error


def install_from_repository_host(remote: Remote, repository: Repository, key: bytes) -> str:
    """Install Vector from its repository; where that fails, the repository is removed from apt."""
    texts = {KEYRING: openpgp.armor(key), PREFERENCES: preferences(repository), SOURCES: sources(repository)}
    for path, text in texts.items():
        ensure_file(remote, path, text)
    package = f"{PACKAGE}={PACKAGE_VERSION}"
    try:
        argv = host_argv("vector-update.sh", SOURCES, package)
        remote.run(argv, sudo=True, timeout=UPDATING)
        return _install_package(remote, package)
    except HostUnreachable:
        raise
    except HostError as error:
        # Every later `apt-get update` would try to download its lists.
        remote.run(["rm", "-f", *texts], sudo=True, check=False)
        raise HostError(
            f"Vector can't be installed from {repository.origin} ({error})", host=remote.host.name
        ) from error


def install_from_file_host(remote: Remote, folder: Folder, deb: Deb, architecture: str) -> str:
    """Copy a package to a host and install it."""
    if deb.architecture not in (architecture, "all"):
        raise HostError(f"is {architecture}, but {deb.path} is for {deb.architecture}", host=remote.host.name)
    try:
        _copy(remote, folder, deb.path)
        return _install_package(remote, COPIED)
    except CommandFailed as error:
        raise HostError(f"{deb.path} can't be installed ({error})", host=remote.host.name) from error
    finally:
        remote.run(["rm", "-f", COPIED, f"{COPIED}.new"], sudo=True, check=False)


def _copy(remote: Remote, folder: Folder, path: Path) -> None:
    """Copy a file to COPIED, and compare the checksums."""
    argv = root_argv(remote.host.sudo, ["timeout", str(COPYING), *host_argv("vector-receive.sh", COPIED)])
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    given = remote.root_input() + data
    done = subprocess.run(ssh_argv(folder, remote.host.name, argv), input=given, capture_output=True, check=False)
    if digest not in read(done.stdout.decode(errors="replace")).text:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise HostError(f"{path} could not be copied ({said[-1] if said else 'it was cut'})", host=remote.host.name)


def _install_package(remote: Remote, what: str) -> str:
    """Install a package that apt knows, or that is in a file; its own service never runs."""
    remote.run(host_argv("vector-mask.sh", footprint.ADDED), sudo=True)
    remote.run(footprint.note_packages_argv([what]), sudo=True)
    # An init script would not start it either: in runlevel 1 nothing is started.
    argv = ["env", "RUNLEVEL=1", *script_argv(setup.INSTALL, what)]
    remote.run(argv, sudo=True, timeout=INSTALLING)
    found = inspect_host(remote)
    if not found.is_ready:
        raise HostError(
            f"after its package was installed, `vector --version` says {found.version or 'nothing'}, not {VERSION}",
            host=remote.host.name,
        )
    return f"installed Vector {VERSION}"
