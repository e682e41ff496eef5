"""The shared SSH connections of the client."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection

from fanrun.fleet.ssh_commands import disconnect_argv
from fanrun.fleet.store import Folder


def disconnect(folder: Folder, names: Collection[str] | None = None) -> None:
    """End the shared SSH connections to these hosts, or to all of the fleet; those that are not there are no error."""
    if not folder.ssh_config.exists() or shutil.which("ssh") is None:
        return
    for line in folder.ssh_config.read_text("utf-8", "replace").splitlines():
        name = line.removeprefix("Host ")
        if name not in (line, "*") and (names is None or name in names):
            subprocess.run(disconnect_argv(folder, name), capture_output=True, check=False)
