"""Inputs, programs and results that the model of the ledger uses."""

from __future__ import annotations

import os
from pathlib import Path

from fanrun.fanout.results.ledger import program

KEYS = (b"a.jpg", b"b b.png", b"d/a.jpg", b"d/\xff.jpg", b"no stem", b"e/f/g.tar.gz")


CONTENTS = (b"", b"one", b"two", b"six", b"three", b"seven")


ELSEWHERE = (b"moved.jpg", b"d/moved", b"e/x.out")


PROGRAMS = tuple(program("sha256:00", args) for args in ((), ("--op", "rotate"), ("--op rotate",)))


def results(which: int, key: bytes, content: bytes) -> dict[bytes, bytes]:
    """Return the results of a program for an input, as {path: content}.  Program 0 keeps the input's path."""
    if which == 0:
        return {key: b"rotated " + content}
    stem = os.path.splitext(key)[0]
    made = {stem + b".out": b"%d of %s" % (which, content)}
    return made | ({stem + b"-2.out": content[:1]} if len(content) % 2 else {})


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def at(top: Path, key: bytes) -> Path:
    return top / os.fsdecode(key)


def content_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
