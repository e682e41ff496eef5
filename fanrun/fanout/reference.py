"""Reference data: folders that every container of a run sees, read-only, besides its inputs."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from fanrun.fleet import values
from fanrun.fleet.errors import UsageError
from fanrun.fleet.probe import WORK

KEPT = f"{WORK}/reference"
"""Where a host keeps reference data: KEPT/NAME/DIGEST/data, for each name the version used last and the one before."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
OWN = ("in", "out", "report.jsonl", "each.sh")
"""What Fanrun itself puts into a container's root folder."""
SYSTEM = (
    *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "lost+found", "media", "mnt", "opt"),
    *("proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"),
)
"""The folders that stand in the root folder of container images; what is mounted there would hide what they hold."""


class Mount(NamedTuple):
    """A folder of this machine, by its absolute path, and its name in the root folder of containers."""

    path: str
    name: str


class Version(NamedTuple):
    """What a folder of reference data held: the name for containers, the hash of its content, its bytes."""

    name: str
    digest: str
    size: int = 0

    def data(self, work: str = WORK) -> str:
        """Return the folder that has it on a host whose folder for Fanrun is `work`."""
        return f"{work}/reference/{self.name}/{self.digest}/data"


def mounts(given: Sequence[str]) -> tuple[Mount, ...]:
    """Return what --mount says, sorted by name; UsageError for what can't be meant."""
    found = sorted((_mount(text) for text in given), key=lambda mount: mount.name)
    for first, second in itertools.pairwise(found):
        if first.name == second.name:
            raise UsageError(
                f"--mount {first.path!r} and --mount {second.path!r} would both be /{first.name}; give one of them "
                f"another name, as --mount {second.path}:{second.name}-2"
            )
    return tuple(found)


def _mount(text: str) -> Mount:
    """Return what one --mount says: DIR or DIR:NAME, where no NAME has a slash."""
    path, colon, name = text.rpartition(":")
    if not colon or "/" in name:
        path, name = text, ""
    if not path:
        raise UsageError(f"--mount {text!r} names no folder; write it as --mount DIR:NAME")
    path = os.path.abspath(values.path("--mount", path))
    usual = not name
    name = name or os.path.basename(path)
    if not NAME.fullmatch(name):
        why = "is no name for a folder of the container" if name else "has no name of its own"
        advice = f"give one of letters, digits, `.`, `_` and `-`, as --mount {path if usual else 'DIR'}:NAME"
        raise UsageError(f"--mount {text!r}: {name or path!r} {why}; {advice}")
    if name in (*OWN, *SYSTEM):
        raise UsageError(f"--mount {text!r} would hide /{name} of the container; give another name, as {path}:data")
    return Mount(path, name)


def check(found: Sequence[Mount], dst: str) -> None:
    """Raise UsageError for a folder that is not there, or that has results in it; changes nothing."""
    for mount in found:
        if not os.path.exists(mount.path):
            raise UsageError(
                f"--mount {mount.path!r} does not exist; give a folder (what is behind the last colon is its name)"
            )
        if not os.path.isdir(mount.path):
            raise UsageError(f"--mount {mount.path!r} is a file; give the folder that holds it")
        places = os.path.realpath(mount.path), os.path.realpath(dst)
        if os.path.commonpath(places) in places:
            raise UsageError(
                f"--dst {dst!r} and --mount {mount.path!r} are inside each other; give a folder elsewhere, or results "
                "would change the reference data"
            )
