"""Result files: hashed, checked, and moved into place."""

from __future__ import annotations

import hashlib
import os
import threading

from fanrun.fanout.plan import STATE

BLOCK = 64 * 1024
"""Bytes read at once: larger pieces of memory are got from the system anew each time."""


def safe(path: bytes) -> bool:
    """Whether a result's path stays inside DST and out of Fanrun's own folder there."""
    parts = path.split(b"/")
    return not {b"", b".", b".."} & set(parts) and parts[0] != STATE


class HashingStopped(Exception):
    """Nobody needs the hash any more."""


def hash_file(path: bytes, stop: threading.Event | None = None) -> str:
    """Return the SHA-256 of a file, in hex; raise HashingStopped once `stop` is set, OSError if it can't be read."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            if stop is not None and stop.is_set():
                raise HashingStopped
            digest.update(block)
    return digest.hexdigest()


def unfit(staging: bytes, path: bytes, digest: str) -> str | None:
    """Why a result that arrived may not be landed: its path, or that it is not what the worker computed."""
    if not safe(path):
        return f"its result's path {os.fsdecode(path)!r} is not one that may be written"
    try:
        if hash_file(os.path.join(staging, path)) != digest:
            return "its result is not what the worker computed (damaged on the way)"
    except OSError as error:
        return f"its result {os.fsdecode(path)} did not arrive ({_why_not(staging, path) or error.strerror})"
    return None


def _why_not(staging: bytes, path: bytes) -> str:
    """Return why a file of that name can't be made in DST; "" if it can."""
    target = os.path.join(staging, path)
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "xb"):
            os.unlink(target)
    except OSError as error:
        return f"DST can't hold that name: {error.strerror}"
    return ""


def move_into_place(staging: bytes, dst: bytes, path: bytes) -> None:
    """Rename a result into DST; OSError if it can't be."""
    source, target = os.path.join(staging, path), os.path.join(dst, path)
    try:
        os.replace(source, target)
    except FileNotFoundError:  # the folder is new, once for many files
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(source, target)
