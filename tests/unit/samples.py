"""Names, hosts and answers that several tests use."""

from __future__ import annotations

import os
from pathlib import Path

from fanrun.fanout import run_commands
from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.probe import Probe

HOSTILE = (
    b"plain.jpg",
    b"two words.jpg",
    b" lead and trail ",
    b"it's.jpg",
    b'a "quote".jpg',
    b"new\nline.jpg",
    b"tab\t.jpg",
    b"back\\slash\\n.jpg",
    b"caf\xc3\xa9.jpg",
    b"latin-\xe9\xff.jpg",
    b"-rf",
    b"--delete",
    b"#hash",
    b";semi",
    b"...",
    b"[ab].jpg",
    b"{1,2}.jpg",
    b"star*?.jpg",
    b"$(touch pwned)",
    b"`id`",
    b"$HOME",
    b"~",
    b"!bang",
    b"a:b",
    b"%20",
    b"a|b&c<d>e",
    b"\x1b[31mred",
    b"deep/er/leaf",
    b"- dash/# hash/;x",
    b"sp ace/qu'o\"te/n\nl",
    b"dir\xff/\xfe.bin",
    b"x" * 200,
)
"""Keys that a shell, rsync, docker or a terminal could take for something else."""

PROBE = Probe(
    uid=1000,
    gid=1001,
    load=0.5,
    cpus=2,
    memory=1000,
    disk_total=10**9,
    disk_free=10**9,
    docker="20.10",
    images=(),
    python="/usr/bin/python3",
)
FLEET = Fleet(
    "default",
    "local",
    (
        Host("worker-2", "worker", "10.0.0.12", "10.0.0.12", "admin"),
        Host("hub", "hub", "10.0.0.10", "10.0.0.10", "admin"),
        Host("worker-1", "worker", "127.0.0.1", "10.0.0.11", "admin", 2201),
    ),
)


def write_tree(top: Path, keys: tuple[bytes, ...] = HOSTILE) -> dict[bytes, bytes]:
    """Write a file for every key, each with other bytes in it; returns {key: content}."""
    written = {key: b"content of " + key * (place % 7) for place, key in enumerate(keys)}
    for key, content in written.items():
        path = os.path.join(os.fsencode(top), key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    return written


def read_tree(top: Path) -> dict[bytes, bytes]:
    """Every regular file under a folder: {key: content}."""
    root, found = os.fsencode(top), {}
    for base, _, names in os.walk(root):
        for name in names:
            path = os.path.join(base, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = file.read()
    return found


def write_filter(folder: Path) -> None:
    """Write the log filter as a run puts it into its folder on a worker."""
    for name, text in zip(run_commands.LOG_FILTER, run_commands.log_filter(), strict=True):
        (folder / name).write_text(text)


def unmeasured() -> dict[str, str]:
    """Return the environment for a process that coverage.py must not measure, because that changes what is tested."""
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
