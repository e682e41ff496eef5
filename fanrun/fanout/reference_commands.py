"""The commands that bring reference data to the hub and from there to workers, as argv lists."""

from __future__ import annotations

from collections.abc import Sequence

from fanrun.fanout.commands import RUNS, SCRIPTS
from fanrun.fanout.reference import KEPT, Version
from fanrun.fanout.transfer_commands import SILENCE
from fanrun.fleet.model import Host
from fanrun.fleet.script import read_script, script_argv

LOOK = read_script(SCRIPTS, "kept.sh", "kept-look.sh")
RECEIVE = read_script(SCRIPTS, "kept.sh", "kept-receive.sh")
COMPLETE = read_script(SCRIPTS, "kept.sh", "kept-complete.sh")
FETCH = read_script(SCRIPTS, "kept.sh", "kept-fetch.sh")
LET_IN = read_script(SCRIPTS, "kept-let-in.sh")
COMMENT = "fanrun-reference"
"""How the comments of keys begin that may read reference data on the hub."""
WRONG, NO_ROOM = 4, 28
"""The exit codes that say: the data are not what they should be, and there is no room for them."""


def look_argv(run: str, versions: Sequence[Version]) -> list[str]:
    """Note on a worker which versions a run uses; write those that it lacks, and a key to fetch them with."""
    return script_argv(LOOK, KEPT, RUNS, run, *(word for each in versions for word in (each.name, each.digest)))


def receive_argv(run: str, version: Version, *, read: bool = False) -> list[str]:
    """Ask the hub whether it has a version, with `read` though it looks as it did, and make it ready for one."""
    words = [version.name, version.digest, str(version.size), "read" if read else ""]
    return script_argv(RECEIVE, KEPT, RUNS, run, *words)


def send_argv(shell: str, path: str, version: Version, to: str, options: Sequence[str]) -> list[str]:
    """Send the files of `path` whose names stand on standard input; `to` is the folder at the hub, as HOST:FOLDER."""
    chosen = ["--files-from=-", "--from0", "--relative", "--times", "--omit-dir-times", "--copy-links", "--partial"]
    modes = ["--perms", "--chmod=D755,Fu=rwX,Fgo=rX", f"--timeout={SILENCE}", "--stats", f"--rsh={shell}"]
    return ["rsync", *chosen, *modes, *options, "--", path.rstrip("/") + "/", f"{to}/"]


def sent_folder(run: str, version: Version) -> str:
    """Return the folder at the hub for a version that is being sent."""
    return f"{KEPT}/{version.name}/.{version.digest}.{run}/data"


def complete_argv(run: str, version: Version, *, full: bool = False) -> list[str]:
    """Check at the hub what was sent, and keep it; with `full` the disk was full, and nothing is kept."""
    words = [version.name, version.digest, str(version.size), "full" if full else ""]
    return script_argv(COMPLETE, KEPT, run, *words)


def let_in_argv(run: str, worker: str, key: str = "") -> list[str]:
    """Let a worker's key read reference data at the hub; without a key let it do so no more."""
    return script_argv(LET_IN, KEPT, f"{COMMENT}-{run}-{worker}", *([key] if key else []))


def fetch_argv(run: str, version: Version, hub: Host, host_key: str) -> list[str]:
    """Fetch a version from the hub, whose pinned host key is given."""
    # Where its port is one of this machine's own, as for a container on macOS, the fleet reaches it at the usual one.
    port = hub.port if hub.inner == hub.address else 22
    place = [hub.user, hub.inner, str(port), host_key]
    return script_argv(FETCH, KEPT, RUNS, run, *place, version.name, version.digest, str(version.size))
