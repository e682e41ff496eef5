"""A host's lease: how long it lives on when nobody works with it, and what ends it then."""

from __future__ import annotations

from fanrun.fleet.probe import LEASE
from fanrun.fleet.script import script_argv
from provision.hosts.scripts import host_argv, host_script

WATCHING = "/run/fanrun.watch"
"""Holds the process that watches the lease since this boot."""
AT_BOOT = "/var/lib/cloud/scripts/per-boot/fanrun-lease"
"""What cloud-init runs at each boot."""

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
