"""The commands that bring a batch to a worker and its results back, as argv lists."""

from __future__ import annotations

from collections.abc import Sequence

from fanrun.fanout.commands import BatchFolder

SILENCE = 60
"""Seconds without a byte after which rsync gives a connection up."""


def push_argv(shell: str, src: str, host: str, place: BatchFolder, more: Sequence[str] = ()) -> list[str]:
    """Send the files whose names stand on standard input (`names`) under their keys, readable for every user.

    A `host` of "" is this machine; `more` are further options of rsync.
    """
    chosen = ["--files-from=-", "--from0", "--relative", "--times", "--copy-links", "--perms", "--chmod=D755,F644"]
    paths = [src.rstrip("/") + "/", _at(host, place.source)]
    return ["rsync", *chosen, *more, f"--timeout={SILENCE}", f"--rsh={shell}", "--", *paths]


def names(keys: Sequence[bytes]) -> bytes:
    """Return the list that push_argv reads; "./" keeps a leading # ; or - from meaning anything."""
    return b"".join(b"./" + key + b"\0" for key in keys)


def pull_argv(shell: str, host: str, place: BatchFolder, staging: str, more: Sequence[str] = ()) -> list[str]:
    """Bring home what the batch left: regular files alone, no links, no devices.

    A `host` of "" is this machine; `more` are further options of rsync.
    """
    paths = [_at(host, place.target), staging.rstrip("/") + "/"]
    return ["rsync", "--recursive", "--times", *more, f"--timeout={SILENCE}", f"--rsh={shell}", "--", *paths]


def _at(host: str, folder: str) -> str:
    """Return a folder as rsync names it."""
    return f"{host}:{folder}/" if host else f"{folder}/"
