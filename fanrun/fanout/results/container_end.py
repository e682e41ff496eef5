"""How a container ended: what its batch left beside the results."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fanrun.fanout.worker_files.each import KILLED, MEANINGS

HASH = re.compile(rb"[0-9a-f]{64}")
DOCKERS = re.compile(r"^docker: |error waiting for container", re.MULTILINE)
"""What `docker run` itself writes when it fails."""
NO_SPACE = re.compile(r"no space left on device|\bENOSPC\b", re.IGNORECASE)
"""How programs name the error of a full file system; inotify has the same for too many watches."""
NOT_SCRATCH = re.compile(r"/out/|inotify|file watchers", re.IGNORECASE)


@dataclass(frozen=True)
class ReportLine:
    """One line of a program's report: whether an input went well, its error if not, how many seconds it took.

    `permanent` is whether another try would fail as well, `results` are its results' paths, None if it names none.
    `killed` is whether what processed it was killed, as the memory limit does.
    """

    ok: bool
    error: str
    seconds: float | None = None
    permanent: bool = False
    results: tuple[bytes, ...] | None = None
    killed: bool = False

    @property
    def reason(self) -> str:
        """Why the input failed, for people."""
        return self.error or "the program reported a failure and gave no reason"


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
    def was_killed(self) -> bool:
        """Whether something killed the program: the kernel does so if its memory has run out."""
        return self.code == KILLED and not self.late

    @property
    def no_container(self) -> bool:
        """Whether docker itself failed to start a container or lost it; a program may exit with the same code."""
        return self.code == 125 and DOCKERS.search(self.log) is not None


@dataclass(frozen=True)
class ContainerOutput:
    """What a batch's container left: how it ended, its report by key, and the paths in /out.

    `paths` are regular files, `links` what is no regular file.
    """

    ending: Ending
    report: Mapping[bytes, ReportLine]
    paths: Collection[bytes]
    links: Sequence[bytes] = ()


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
        permanent, killed = line.get("permanent") is True, line.get("killed") is True
        end = ReportLine(line["ok"] is True, str(line.get("error") or ""), took, permanent, named, killed)
        return _relative(line["path"], b"/in/"), end
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _relative(path: str, top: bytes) -> bytes:
    """Return a path of a report as a key: ./a and /in/a mean a."""
    found = os.fsencode(path)
    return os.path.normpath(found.removeprefix(top) if found.startswith(top) else found) if found else found


def is_about_room(line: str) -> bool:
    """Whether a line says that /tmp or /dev/shm was full."""
    return bool(NO_SPACE.search(line)) and not NOT_SCRATCH.search(line)


def explain(end: Ending) -> str:
    """How a program ended, in words, and the last it said; an exit code that has a meaning of its own is explained."""
    if end.late:
        return f"the program finished nothing within the timeout and was stopped: {end.said}"
    return f"the program ended with exit {end.code}{MEANINGS.get(end.code, '')}: {end.said}"
