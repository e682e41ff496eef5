"""OpenSSH's command lines for the hosts of a fleet; they are built here and run elsewhere."""

from __future__ import annotations

import shlex
from pathlib import Path

from fanrun.fleet import shell
from fanrun.fleet.store import Folder

FAST_CIPHER = "aes128-gcm@openssh.com"
"""The preferred cipher for large transfers.  With AES in hardware it needs half the time of OpenSSH's default."""


def ssh_argv(folder: Folder, host: str, argv: list[str], *, control: Path | None = None) -> list[str]:
    """Return the ssh command that runs argv on the host named, over a shared connection.

    `control` is the socket of that connection where it is one of the caller's own.  `shell.read` separates what the
    command writes from what the login prints.
    """
    return [*_ssh(folder, control), host, shell.line(argv)]


def rsync_shell(folder: Folder, *, control: Path | None = None) -> str:
    """Return the value of rsync's --rsh; rsync splits it at spaces and knows quotes."""
    return shlex.join(_ssh(folder, control))


def disconnect_argv(folder: Folder, host: str, *, control: Path | None = None) -> list[str]:
    """Return the ssh command that ends the shared connection to the host named."""
    return [*_ssh(folder, control), "-O", "exit", host]


def connected_argv(folder: Folder, host: str, *, control: Path) -> list[str]:
    """Return the ssh command that ends with 0 if there is a shared connection to the host named."""
    return [*_ssh(folder, control), "-O", "check", host]


def _ssh(folder: Folder, control: Path | None) -> list[str]:
    own = ["-S", str(control), "-o", f"Ciphers=^{FAST_CIPHER}"] if control else []
    return ["ssh", "-F", str(folder.ssh_config), *own]
