"""The ssh_config of a fleet: the same rules for ssh, rsync and Fabric."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fanrun.fleet.model import KEY_TYPE, Fleet
from fanrun.fleet.private_files import control_folder


def quoted(path: Path) -> str:
    """Return a path as ssh_config takes it."""
    return '"' + str(path).replace("%", "%%") + '"'


def ssh_config(fleet: Fleet, folder: Path, *, key: Path, known_hosts: Path) -> str:
    """Return the text of the ssh_config of the fleet in this folder."""
    control = control_folder() / (hashlib.sha256(str(folder).encode()).hexdigest()[:8] + "-%n")
    blocks = [
        f"Host {host.name}\n  HostName {host.address}\n  Port {host.port}\n  User {host.user}\n"
        + (f"  ProxyCommand {host.proxy.replace('%', '%%')}\n" if host.proxy else "")
        for host in fleet.hosts
    ]

    common = f"""Host *
  IdentityFile {quoted(key)}
  IdentitiesOnly yes
  UserKnownHostsFile {quoted(known_hosts)}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  HostKeyAlgorithms {KEY_TYPE}
  BatchMode yes
  ConnectTimeout 10
  ServerAliveInterval 5
  ServerAliveCountMax 3
  ControlMaster auto
  ControlPath {control}
  ControlPersist 60
  LogLevel ERROR
"""
    return "\n".join([*blocks, common])
