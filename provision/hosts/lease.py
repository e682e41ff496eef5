"""A host's lease: how long it lives on when nobody works with it, and what ends it then."""

from __future__ import annotations

from fanrun.fleet.probe import LEASE

WATCHING = "/run/fanrun.watch"
"""Holds the process that watches the lease since this boot."""
AT_BOOT = "/var/lib/cloud/scripts/per-boot/fanrun-lease"
"""What cloud-init runs at each boot."""

# sh -c WATCH sh LEASE seconds WATCHING, as root: start what ends the machine when its lease runs out, unless it runs.
# A lease that is gone or can't be read has run out too; one that is there counts on over a reboot.  Shutting down is
# all the machine may do, and an instance that was launched so is terminated by it.
WATCH = r"""
kill -0 "$(cat "$3" 2>/dev/null)" 2>/dev/null && exit 0
[ -e "$1" ] || echo "$2" >"$1"
setsid sh -c 'echo $$ >"$2"; while :; do
  sleep 15
  sh -c "$1" "$0" || shutdown -P now
done' "$1" '[ $(($(stat -c %Y "$0") + $(cat "$0") - $(date +%s))) -gt 0 ]' "$3" </dev/null >/dev/null 2>&1 &
"""

# sh -c EXTEND sh LEASE [seconds]: says something if the time is another than it was.
EXTEND = """
[ -e "$1" ] || exit 0
touch "$1"
[ -n "$2" ] && [ "$(cat "$1")" != "$2" ] || exit 0
echo "$2" >"$1.new" && mv "$1.new" "$1" && echo changed
"""
WATCHED = 'kill -0 "$(cat "$1" 2>/dev/null)" 2>/dev/null'


def watch_argv(ttl: int) -> list[str]:
    """The command that starts the watch over a lease of so many seconds."""
    return ["sh", "-c", WATCH, "sh", LEASE, str(ttl), WATCHING]


def script(ttl: int) -> str:
    """The same as a program of its own."""
    return f"#!/bin/sh\n# Written by Fanrun.\nset -- {LEASE} {ttl} {WATCHING}\n{WATCH}"
