"""Tasks that are killed while they wait for EC2."""

from __future__ import annotations

import subprocess

from tests.fleet.harness import Fab
from tests.waiting import wait_until


def launched(fab: Fab, last: str, *argv: str, timeout: float = 60) -> str:
    """Let `fab up` launch hosts and kill it then, as nothing answers it by SSH; returns the fleet's ssh_config."""
    known, config = (fab.home / fab.fleet / name for name in ("fleet.json", "ssh_config"))
    process = fab.start("up", *argv)
    try:
        wait_until(lambda: known.exists() and f'"{last}"' in known.read_text(), timeout)  # ssh_config is written before
    finally:
        process.kill()
        process.communicate()
    return config.read_text()


def until_said(process: subprocess.Popen[str], words: str) -> list[str]:
    """The lines of a task's progress up to one with these words, where it is killed."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            break
    process.kill()
    process.communicate()
    return lines
