"""The shared SSH connections of the client."""

from __future__ import annotations

import shutil
import subprocess

from fanrun.fleet.ssh_commands import disconnect_argv
from fanrun.fleet.store import Folder


def disconnect(folder: Folder) -> None:
    """End the shared SSH connections to the fleet's hosts; those that are not there are no error."""
    if not folder.ssh_config.exists() or shutil.which("ssh") is None:
        return
    for line in folder.ssh_config.read_text("utf-8", "replace").splitlines():
        if line.startswith("Host ") and line != "Host *":
            argv = disconnect_argv(folder, line.removeprefix("Host "))
            subprocess.run(argv, capture_output=True, check=False)
