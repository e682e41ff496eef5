"""What the measurements were made on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from fanrun.fleet.shell import read
from fanrun.fleet.ssh_commands import ssh_argv
from fanrun.fleet.store import Folder

VERSION = re.compile(r"v?(\d+(?:\.\d+)*\S*)")


def lines(folder: Folder) -> list[str]:
    """The machine, its programs and the fleet, a Markdown list."""
    fleet = folder.load()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    programs = {
        "Python": platform.python_version(),
        "Fabric": metadata.version("fabric"),
        "OpenSSH": version("ssh", "-V"),
        "rsync": version("rsync", "--version"),
        "Docker on the workers": version(*ssh_argv(folder, fleet.workers[0].name, ["docker", "--version"])),
        "GNU parallel": version("parallel", "--version"),
    }
    where = " (containers on this machine, which share its cores)" if fleet.provider == "local" else ""
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    return [
        f"- {processor()}, {os.cpu_count()} cores, {memory:.1f} GB of memory; {load}",
        f"- {system()}, {platform.system()} {platform.release()}",
        "- " + ", ".join(f"{name} {number}" for name, number in programs.items()),
        f"- {len(fleet.workers)} workers by provider {fleet.provider}{where}",
    ]


def processor() -> str:
    """The processor's name, as the system knows it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def system() -> str:
    """The distribution's name and version."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def version(*argv: str) -> str:
    """The first number that a program tells of itself."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    heard = read(done.stdout)  # of one on a worker
    said = (heard.text or done.stdout + done.stderr).partition("\n")[0]
    found = VERSION.search(said.partition("version")[2] or said.partition("_")[2] or said)
    return found[1].rstrip(",") if found else "unknown"
