"""A host's lease: how long it lives on when nobody works with it, and what ends it then."""

from __future__ import annotations

from fanrun.fleet.probe import LEASE
from fanrun.fleet.script import script_argv
from fanrun.fleet.ssh import Remote
from provision.hosts.scripts import host_argv, host_script

WATCHING = "/run/fanrun.watch"
"""Holds the process that watches the lease since this boot."""
AT_BOOT = "/var/lib/cloud/scripts/per-boot/fanrun-lease"
"""What cloud-init runs at each boot."""
EXTENDING = 30.0
"""Seconds that a host may take to extend its lease; the other hosts are told again only after that."""

WATCH = host_script("lease-watch.sh")


def watch_argv(ttl: int) -> list[str]:
    """Return the command that starts the watch over a lease of so many seconds."""
    return script_argv(WATCH, LEASE, str(ttl), WATCHING)


def script(ttl: int) -> str:
    """Return the text of a program that does the same."""
    return f"#!/bin/sh\n# Written by Fanrun.\nset -- {LEASE} {ttl} {WATCHING}\n{WATCH}"


def watched_argv() -> list[str]:
    """Return the command that succeeds if the lease is watched."""
    return host_argv("lease-watched.sh", WATCHING)


def extend_argv(ttl: int | None = None) -> list[str]:
    """Return the command that extends the lease, to `ttl` seconds or to as many as before."""
    return host_argv("lease-extend.sh", LEASE, *([] if ttl is None else [str(ttl)]))


def extend_host(remote: Remote) -> None:
    """Let a host that ends itself live on for as long again as it was told; only where sudo asks for nothing is one."""
    if remote.host.sudo != "free":
        return
    remote.run(extend_argv(), sudo=True, timeout=EXTENDING)
