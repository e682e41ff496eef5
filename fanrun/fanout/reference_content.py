"""The content of reference data on this machine: which files there are, and their hash."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loguru import logger

from fanrun.fanout import plan, reference
from fanrun.fanout.reference import Mount, Version
from fanrun.fanout.results.file_stat import FileStat, file_stat
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.report import shown
from fanrun.fanout.resume import HASH_THREADS
from fanrun.fleet.errors import RunUnfinished, UsageError
from fanrun.fleet.text import counted


class File(NamedTuple):
    """A file of reference data: its path in the folder, its SHA-256, and whether it can be executed."""

    key: bytes
    hash: str
    executable: bool


@dataclass(frozen=True)
class Content:
    """What a folder of reference data held when it was read; `stats` has how each file looked then, by its path."""

    mount: Mount
    version: Version
    stats: dict[bytes, FileStat]

    def changed(self) -> bool:
        """Return whether the folder looks different now."""
        try:
            return look(self.mount) != self.stats
        except (OSError, UsageError):
            return True


def digest(files: Iterable[File]) -> str:
    """Return the hash of names, contents and executable bits; kept.sh computes the same on a host."""
    found = hashlib.sha256()
    ordered = sorted(files)
    for file in ordered:
        found.update(b"%s  ./%s\0" % (file.hash.encode(), file.key))
    for file in ordered:
        if file.executable:
            found.update(b"./%s\0" % file.key)
    return found.hexdigest()


def check_all(mounts: Sequence[Mount], dst: str) -> None:
    """Raise UsageError for folders that can't be used; no file is read, and nothing is changed."""
    reference.check(mounts, dst)
    for mount in mounts:
        look(mount)


def read_all(
    mounts: Sequence[Mount], ledger: Ledger, step: Callable[[str], None] = lambda text: None
) -> tuple[Content, ...]:
    """Return the contents of these folders; files are read only if they look different than the ledger remembers.

    `step` is told what is read.  Raises UsageError for a folder that can't be used, RunUnfinished for one that changes.
    """
    return tuple(_read(mount, ledger, step) for mount in mounts)


def changed(mount: Mount) -> RunUnfinished:
    """Return the error for a folder that changed while it was read or sent."""
    return RunUnfinished(
        f"--mount {mount.path!r} changed while it was read; the same command goes on once nothing writes to it"
    )


def _read(mount: Mount, ledger: Ledger, step: Callable[[str], None]) -> Content:
    stats = look(mount)
    size = sum(each.size for each in stats.values())
    step(f"reading {mount.path}, {counted(len(stats), 'file')}")
    top, stop = os.fsencode(mount.path), threading.Event()

    def read(key: bytes) -> File:
        path = os.path.join(top, key)
        return File(key, ledger.hash_of(path, stop=stop), bool(os.stat(path).st_mode & 0o111))

    pool = concurrent.futures.ThreadPoolExecutor(HASH_THREADS)
    try:
        files = list(pool.map(read, stats))
    except OSError as error:
        raise _unreadable(mount, error) from error
    finally:
        stop.set()  # hashing a large file may take hours, and Ctrl-C ends it at once
        pool.shutdown(cancel_futures=True)
    content = Content(mount, Version(mount.name, digest(files), size), stats)
    if content.changed():
        raise changed(mount)
    logger.info("reference data {}: {}, SHA-256 {}", mount.name, shown(mount.path), content.version.digest)
    return content


def look(mount: Mount) -> dict[bytes, FileStat]:
    """Return how each file of a folder looks; UsageError for a folder that can't be used."""
    files, skipped = plan.walk(mount.path, plan.chooser((), ()))
    if skipped.links:
        raise UsageError(
            f"--mount {mount.path!r} has {counted(skipped.links, 'link')} to folders, which are not followed; put the "
            "folders there, or give each one a --mount of its own"
        )
    if not files:
        raise UsageError(f"--mount {mount.path!r}: there are no files in it; give the folder with the data")
    top = os.fsencode(mount.path)
    try:
        return {file.key: file_stat(os.path.join(top, file.key)) for file in files}
    except OSError as error:
        raise _unreadable(mount, error) from error


def _unreadable(mount: Mount, error: OSError) -> UsageError:
    path = os.fsdecode(error.filename or mount.path)
    return UsageError(f"--mount {mount.path!r}: {path!r} can't be read ({error.strerror}); repair it or remove it")
