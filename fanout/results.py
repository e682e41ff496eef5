"""What a batch came to: which inputs are done, which failed and why, and the way into DST."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fanout.plan import STATE, Input

HASH = re.compile(rb"[0-9a-f]{64}")
BLOCK = 64 * 1024
"""Bytes read at once: larger pieces of memory are got from the system anew each time."""
WORDS, LONG = 5, 500
"""How many lines of a program's output are kept for a failed input, and how many characters of each."""


@dataclass(frozen=True)
class Line:
    """One line of a program's report: whether an input went well, its error if not, how many seconds it took."""

    ok: bool
    error: str
    seconds: float | None = None


@dataclass
class Outcome:
    """The fate of a batch's inputs.

    `results` has the result paths of every input that is done, `failed` the reason of every
    one that failed, `open` those of which nothing is known: they are tried again, fewer at
    a time.  `extra` are results that belong to no input.
    """

    results: dict[bytes, list[bytes]] = field(default_factory=dict)
    failed: dict[bytes, str] = field(default_factory=dict)
    open: list[Input] = field(default_factory=list)
    extra: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Ending:
    """How a batch's program ended: its exit code, its last output, its seconds, and what was free on the disk then.

    `free` in bytes; `inodes` is how many files may still be made, None where the file system doesn't count them.
    """

    code: int
    log: str
    seconds: float
    free: int
    inodes: int | None

    @property
    def said(self) -> str:
        """The last line that the program wrote, without docker's hint at its own help."""
        lines = [line.strip() for line in self.log.splitlines() if line.strip() and "docker run --help" not in line]
        return lines[-1] if lines else "it said nothing"

    @property
    def cannot_start(self) -> bool:
        """Whether it was docker that found no program to run in the image: then no input will do better."""
        return self.code in (126, 127) and "docker: Error response from daemon" in self.log


def parse_ending(exit_file: bytes, log: bytes) -> Ending:
    """Read what a batch left of its end; ValueError if that is not whole."""
    code, took, blocks, size, inodes, left = (int(word) for word in exit_file.split())
    return Ending(code, log.decode(errors="replace"), took / 1e9, blocks * size, left if inodes else None)


def parse_manifest(data: bytes) -> dict[bytes, str]:
    """Read `sha256sum -z` over `find .`: {path relative to /out: hash in hex}."""
    manifest = {}
    for record in data.split(b"\0"):
        digest, separator, path = record.partition(b"  ./")
        if separator and HASH.fullmatch(digest):
            manifest[path] = digest.decode("ascii")
    return manifest


def parse_report(data: bytes) -> dict[bytes, Line]:
    """Read the program's JSON lines, the last one for a path winning; lines of another form are passed over."""
    return dict(filter(None, map(_parse_line, data.splitlines())))


def _parse_line(text: bytes) -> tuple[bytes, Line] | None:
    try:
        line = json.loads(text)
        seconds = line.get("seconds")
        took = float(seconds) if isinstance(seconds, (int, float)) and 0 <= seconds < 1e9 else None
        return os.fsencode(line["path"]), Line(line["ok"] is True, str(line.get("error") or ""), took)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def match(inputs: Sequence[Input], paths: Iterable[bytes]) -> tuple[dict[bytes, list[bytes]], list[bytes]]:
    """Give each result to its input; returns ({key: results}, results that are nobody's).

    A result belongs to the input of the same path; else to the input in the same folder
    whose name without extension begins the result's name, the longest of them.
    """
    keys = {item.key for item in inputs}
    stems: dict[tuple[bytes, bytes], bytes] = {}
    for key in (item.key for item in inputs):
        folder, name = os.path.split(key)
        stems.setdefault((folder, os.path.splitext(name)[0]), key)
    found: dict[bytes, list[bytes]] = {}
    nobody = []
    for path in paths:
        folder, name = os.path.split(path)
        lengths = range(len(name), 0, -1)
        owner = path if path in keys else next(
            (stems[folder, name[:n]] for n in lengths if (folder, name[:n]) in stems), None
        )  # fmt: skip
        if owner is None:
            nobody.append(path)
        else:
            found.setdefault(owner, []).append(path)
    return found, nobody


def judge(inputs: Sequence[Input], end: Ending, report: Mapping[bytes, Line], paths: Iterable[bytes]) -> Outcome:
    """Decide the fate of every input from how the program ended, its report and its results."""
    outcome = Outcome()
    found, outcome.extra = match(inputs, paths)
    for item in inputs:
        line = report.get(item.key)
        if line is not None and not line.ok:
            outcome.failed[item.key] = line.error or "the program reported a failure and gave no reason"
        elif line is None and end.code != 0:
            outcome.open.append(item)
        elif item.key in found:
            outcome.results[item.key] = found[item.key]
        else:
            outcome.failed[item.key] = "the program ended well but left no result for it"
    if len(outcome.open) == 1 and len(inputs) == 1:
        outcome.failed[outcome.open.pop().key] = f"the program ended with {explain(end.code)}: {end.said}"
    return outcome


def words_about(key: bytes, log: str) -> list[str]:
    """The last lines that tell of an input, or the last of all if none names it."""
    lines = [line.rstrip()[:LONG] for line in log.splitlines() if line.strip()]
    name = os.fsdecode(os.path.basename(key)).encode(errors="replace").decode()
    return ([line for line in lines if name in line] or lines)[-WORDS:]


def explain(code: int) -> str:
    """An exit code in words where it has a meaning of its own."""
    meanings = {
        124: "exit 124, it finished nothing within the timeout and was stopped",
        126: "exit 126, the image's program can't be run",
        127: "exit 127, the image has no such program",
        137: "exit 137, it was killed, as the memory limit does",
        139: "exit 139, a segmentation fault",
    }
    return meanings.get(code, f"exit {code}")


def safe(path: bytes) -> bool:
    """Whether a result's path stays inside DST and out of Fanrun's own folder there."""
    parts = path.split(b"/")
    return not {b"", b".", b".."} & set(parts) and parts[0] != STATE


def hash_file(path: bytes) -> str:
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
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
        return f"its result did not arrive ({error.strerror})"
    return None


def land(staging: bytes, dst: bytes, path: bytes) -> None:
    """Rename a result into DST; OSError if it can't be."""
    source, target = os.path.join(staging, path), os.path.join(dst, path)
    try:
        os.replace(source, target)
    except FileNotFoundError:  # the folder is new, once for many files
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(source, target)
