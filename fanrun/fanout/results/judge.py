"""What a batch came to: which inputs are done, which failed and why, and the way into DST."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fanrun.fanout.commands import MIB, SHM, TMP, Scratch
from fanrun.fanout.expect import BY_NAME, Expected
from fanrun.fanout.plan import STATE, Input
from fanrun.fanout.results.attribution import Names, attribute, part

HASH = re.compile(rb"[0-9a-f]{64}")
BLOCK = 64 * 1024
"""Bytes read at once: larger pieces of memory are got from the system anew each time."""
DOCKERS = re.compile(r"^docker: |error waiting for container", re.MULTILINE)
"""What `docker run` itself writes when it fails."""
KEPT_LINES, MAX_LINE_CHARS = 5, 500
"""How many lines of a program's output are kept for a failed input, and how many characters of each."""
NO_SPACE = re.compile(r"no space left on device|\bENOSPC\b", re.IGNORECASE)
"""How programs name the error of a full file system; inotify has the same for too many watches."""
SHARED = re.compile(rf"{SHM}\b|shared memory|\bshm_open|</torch_", re.IGNORECASE)
NOT_SCRATCH = re.compile(r"/out/|inotify|file watchers", re.IGNORECASE)
BUS_ERROR = re.compile(r"\bbus error\b|\bSIGBUS\b", re.IGNORECASE)
"""What ends a program that writes to mapped memory, as shared memory is, where its file system is full."""


@dataclass(frozen=True)
class ReportLine:
    """One line of a program's report: whether an input went well, its error if not, how many seconds it took.

    `permanent` is whether another try would fail as well, `results` are its results' paths, None if it names none.
    """

    ok: bool
    error: str
    seconds: float | None = None
    permanent: bool = False
    results: tuple[bytes, ...] | None = None


@dataclass
class Judgement:
    """The fate of a batch's inputs.

    `results` has the result paths of every input that is done, `failed` the reason of every
    one that failed, `open` those of which nothing is known: they are tried again, fewer at
    a time.  `apart` are groups of keys that must be processed without each other, so that it is known whose their
    results are.  `permanent` are those of `failed` that would fail again.  `extra` are files that belong to no input,
    `partial` has the paths of those that may belong to the open inputs.
    """

    results: dict[bytes, list[bytes]] = field(default_factory=dict)
    failed: dict[bytes, str] = field(default_factory=dict)
    open: list[Input] = field(default_factory=list)
    apart: list[list[bytes]] = field(default_factory=list)
    permanent: set[bytes] = field(default_factory=set)
    extra: list[bytes] = field(default_factory=list)
    partial: dict[bytes, list[bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ending:
    """How a batch's program ended: its exit code, its last output, its seconds, and what was free on the disk then.

    `free` in bytes; `inodes` is how many files may still be made, None where the file system doesn't count them;
    `late` is whether it was stopped because it finished nothing within the timeout.
    """

    code: int
    log: str
    seconds: float
    free: int
    inodes: int | None
    late: bool = False

    @property
    def said(self) -> str:
        """The line that says that there was no room, else the last one, without docker's hint at its own help."""
        lines = [line.strip() for line in self.log.splitlines() if line.strip() and "docker run --help" not in line]
        return next(filter(is_about_room, lines), lines[-1] if lines else "it said nothing")

    @property
    def cannot_start(self) -> bool:
        """Whether it was docker that found no program to run in the image: then no input will do better."""
        return self.code in (126, 127) and "docker: Error response from daemon" in self.log

    @property
    def no_container(self) -> bool:
        """Whether docker itself failed to start a container or lost it; a program may exit with the same code."""
        return self.code == 125 and DOCKERS.search(self.log) is not None


def parse_ending(exit_file: bytes, log: bytes) -> Ending:
    """Read what a batch left of its end; ValueError if that is not whole."""
    code, took, blocks, size, inodes, left, late = (int(word) for word in exit_file.split())
    return Ending(code, log.decode(errors="replace"), took / 1e9, blocks * size, left if inodes else None, late == 1)


def parse_manifest(data: bytes) -> dict[bytes, str]:
    """Read `sha256sum -z` over `find .`: {path relative to /out: hash in hex}."""
    manifest = {}
    for record in data.split(b"\0"):
        digest, separator, path = record.partition(b"  ./")
        if separator and HASH.fullmatch(digest):
            manifest[path] = digest.decode("ascii")
    return manifest


def parse_links(data: bytes) -> list[bytes]:
    """Read what `find .` printed of what is neither a file nor a folder: paths relative to /out."""
    return [path.removeprefix(b"./") for path in data.split(b"\0") if path]


def parse_report(data: bytes) -> dict[bytes, ReportLine]:
    """Read the program's JSON lines, the last one for a path winning; lines of another form are passed over."""
    return dict(filter(None, map(_parse_line, data.splitlines())))


def unusable_lines(data: bytes, keys: Collection[bytes]) -> list[bytes]:
    """Return the lines of a report that can't be used: of another form, or of a path that is no input's."""
    return [line for line in data.splitlines() if line.strip() and ((_parse_line(line) or (b"",))[0] not in keys)]


def _parse_line(text: bytes) -> tuple[bytes, ReportLine] | None:
    try:
        line = json.loads(text)
        seconds, results = line.get("seconds"), line.get("results")
        took = float(seconds) if isinstance(seconds, (int, float)) and 0 <= seconds < 1e9 else None
        if results is not None and not (isinstance(results, list) and all(isinstance(path, str) for path in results)):
            return None
        named = None if results is None else tuple(_relative(path, b"/out/") for path in results)
        return _relative(line["path"], b"/in/"), ReportLine(
            line["ok"] is True, str(line.get("error") or ""), took, line.get("permanent") is True, named
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _relative(path: str, top: bytes) -> bytes:
    """Return a path of a report as a key: ./a and /in/a mean a."""
    found = os.fsencode(path)
    return os.path.normpath(found.removeprefix(top) if found.startswith(top) else found) if found else found


def judge(
    inputs: Sequence[Input],
    end: Ending,
    report: Mapping[bytes, ReportLine],
    paths: Collection[bytes],
    links: Sequence[bytes] = (),
    expected: Expected = BY_NAME,
    folders: Collection[bytes] = (),
) -> Judgement:
    """Decide the fate of every input from how the program ended, its report and the files that it left.

    `links` are what it left that is no regular file, `folders` have inputs of this run.
    """
    keys = [item.key for item in inputs]
    named = _named(keys, report, expected)
    sure = {*keys, *(path for mine in named.values() for path in mine)}
    ignored = [path for path in paths if path not in sure and expected.is_ignored(path)]
    bad = [key for key in keys if not (report[key].ok if key in report else end.code == 0)]
    passed_over = set(ignored)
    found = attribute(keys, [path for path in paths if path not in passed_over], named, bad, folders)
    undecided = found.undecided if len(inputs) > 1 else frozenset()
    outcome = Judgement(extra=found.nobody)
    clues = _Clues(Names(keys), links, ignored, found.nobody)
    for item in inputs:
        line, mine = report.get(item.key), found.results.get(item.key, [])
        missing = [path for path in named.get(item.key, ()) if path not in mine]
        if line is not None and not line.ok:
            outcome.failed[item.key] = line.error or "the program reported a failure and gave no reason"
            if line.permanent:
                outcome.permanent.add(item.key)
        elif line is None and end.code != 0:
            outcome.open.append(item)
            if mine:
                outcome.partial[item.key] = mine
        elif item.key in undecided:
            continue
        elif missing:
            outcome.failed[item.key] = f"its result {os.fsdecode(missing[0])} is missing{clues.about(item.key)}"
        elif mine:
            outcome.results[item.key] = mine
        else:
            outcome.failed[item.key] = f"the program ended well but left no result for it{clues.about(item.key)}"
    over = {*outcome.failed, *(item.key for item in outcome.open)}
    outcome.apart = part([key for key in keys if key in undecided and key not in over], found.unclear)
    if len(outcome.open) == 1 and len(inputs) == 1:
        outcome.failed[outcome.open.pop().key] = explain(end)
    return outcome


def _named(keys: Sequence[bytes], report: Mapping[bytes, ReportLine], expected: Expected) -> dict[bytes, list[bytes]]:
    """Return the results that inputs have by the program's report, else by what is expected of them."""
    found = {}
    for key in keys:
        line = report.get(key)
        if line is not None and line.results is not None:
            found[key] = list(dict.fromkeys(line.results))
        elif expected.patterns:
            found[key] = list(dict.fromkeys(expected.paths(key)))
    return found


@dataclass(frozen=True)
class _Clues:
    """What was found in /out that is no input's result."""

    names: Names
    links: Sequence[bytes]
    ignored: Sequence[bytes]
    nobody: Sequence[bytes]

    def about(self, key: bytes) -> str:
        """Return what there is that might be this input's result, and what would make it so; "" if nothing is."""
        for paths, why in (
            (self.links, "is not a regular file, so it is no result"),
            (self.ignored, "has a name that --ignore-results passes over"),
        ):
            if mine := [path for path in paths if self.names.first(path) == key]:
                return f"; {os.fsdecode(mine[0])} {why}"
        if not self.nobody:
            return ""
        more = f" and {len(self.nobody) - 1} more" if len(self.nobody) > 1 else ""
        return (
            f"; {os.fsdecode(self.nobody[0])}{more} in /out fit no input's name, and --expect '{{stem}}.…' says what "
            "results are called"
        )


def words_about(key: bytes, log: str) -> list[str]:
    """The last lines that tell of an input, or the last of all if none names it."""
    lines = [line.rstrip()[:MAX_LINE_CHARS] for line in log.splitlines() if line.strip()]
    name = os.fsdecode(os.path.basename(key)).encode(errors="replace").decode()
    return ([line for line in lines if name in line] or lines)[-KEPT_LINES:]


def tell_full(failed: dict[bytes, str], log: str, scratch: Scratch, *, alone: bool) -> None:
    """Add to the reasons of inputs that failed because /tmp or /dev/shm was full that it was, and what gives it more.

    The worker's disk is known to have room.  The program's words tell it: of an input that was `alone` all of them.
    """
    lines = log.splitlines()
    for key, reason in failed.items():
        name = os.fsdecode(os.path.basename(key)).encode(errors="replace").decode()
        about = [line for line in lines if alone or name in line]
        failed[key] = reason + (full_hint(reason.splitlines(), scratch) or full_hint(about, scratch))


def is_about_room(line: str) -> bool:
    """Whether a line says that /tmp or /dev/shm was full."""
    return bool(NO_SPACE.search(line)) and not NOT_SCRATCH.search(line)


def full_hint(lines: Sequence[str], scratch: Scratch) -> str:
    """Return which of a container's small file systems was full by a program's words; "" if none was."""
    words = list(filter(is_about_room, lines))
    if not words and any(map(BUS_ERROR.search, lines)):
        return f"; perhaps {_more(SHM, 'shm', scratch.shm)}"
    if not words:
        return ""
    is_shared = any(map(SHARED.search, words))
    return f"; {_more(SHM, 'shm', scratch.shm) if is_shared else _more(TMP, 'tmp', scratch.tmp)}"


def _more(where: str, option: str, size: int) -> str:
    more = f"{size * 4 // 1024**3}g" if size * 4 >= 1024**3 else f"{size * 4 // MIB}m"
    return f"{where} was full ({size // MIB} MB), --{option} {more} gives it more"


def explain(end: Ending) -> str:
    """How a program ended, in words, and the last it said; an exit code that has a meaning of its own is explained."""
    if end.late:
        return f"the program finished nothing within the timeout and was stopped: {end.said}"
    meanings = {135: ", a bus error", 137: ", it was killed, as the memory limit does", 139: ", a segmentation fault"}
    return f"the program ended with exit {end.code}{meanings.get(end.code, '')}: {end.said}"


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
