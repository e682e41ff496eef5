"""What of a run is done already: inputs whose results stand in DST as the ledger knows them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fanrun.fanout.plan import Input
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.results.result_files import move_into_place, unfit

HASH_THREADS = 4
"""Threads that hash files: more than processors, as a network file system takes long to answer."""
AT_ONCE = 64
"""So many inputs are compared by one thread before it takes others."""


@dataclass
class ResumePlan:
    """Inputs by what there is of them: `todo`, `kept` whose results stand, `copied` whose results stood elsewhere."""

    todo: list[Input] = field(default_factory=list)
    kept: list[Input] = field(default_factory=list)
    copied: list[Input] = field(default_factory=list)

    @property
    def before(self) -> list[Input]:
        """The inputs that are done before the run."""
        return [*self.kept, *self.copied]


class _Known(NamedTuple):
    """An input that does not have all its results in DST.

    `own` are the results that the ledger has of it, `missing` those of them that are not in DST, as {path: hash}.
    """

    item: Input
    digest: str
    own: dict[bytes, str]
    missing: dict[bytes, str]


@dataclass(frozen=True)
class Roots:
    """Where inputs come from and results go, as absolute paths in bytes."""

    src: bytes
    dst: bytes


def plan_resume(
    ledger: Ledger,
    roots: Roots,
    program: str,
    inputs: Sequence[Input],
    step: Callable[[int], None],
    staging: str | None = None,
    *,
    by_content: bool = False,
) -> ResumePlan:
    """Part the inputs into those to do and those whose results are there; `step` is told how many are looked at.

    With `by_content` an input takes the results of another one that is equal, as after it was renamed, unless their
    paths belong to others.  They are copied by way of `staging`, a folder on DST's file system (None: nothing is
    changed, such inputs only count as copied).
    """
    found = ResumePlan()
    if not ledger.knows(program):
        found.todo = list(inputs)
        return found
    there = {item.key for item in inputs}
    owners = {path: key for path, key in ledger.owners(program) if key in there}
    kept, copied, others = list[tuple[bytes, str]](), list[Fact](), list[_Known]()
    for count, known in enumerate(_compare(ledger, roots, program, inputs)):
        step(count)
        if known.own and not known.missing:
            found.kept.append(known.item)
            kept.append((known.item.key, known.digest))
            owners.update(dict.fromkeys(known.own, known.item.key))
        else:
            others.append(known)
    # What stands is kept before anything is brought to where it may stand.
    for item, digest, own, missing in others:
        wanted = own
        if by_content and digest and not own:
            wanted = ledger.outputs_of_equal(item.key, digest, program)
            missing = _missing(ledger, roots, wanted)
        is_free = all(owners.get(path, item.key) == item.key for path in wanted)
        if not wanted or not is_free or any(not _restore(ledger, roots, *each, staging) for each in missing.items()):
            found.todo.append(item)
            continue
        (found.copied if missing else found.kept).append(item)
        owners.update(dict.fromkeys(wanted, item.key))
        copied.append(Fact(item.key, digest, wanted))
    if staging is not None:
        ledger.record_inputs(program, kept)
        ledger.record(program, copied)
    return found


def _compare(ledger: Ledger, roots: Roots, program: str, inputs: Sequence[Input]) -> Iterator[_Known]:
    """Yield what is known of each input and its results, in order; files are hashed on several threads."""

    stop = threading.Event()

    def compare(part: Sequence[Input]) -> list[_Known]:
        return [_look_up(ledger, roots, program, item, stop) for item in part]

    parts = [inputs[start : start + AT_ONCE] for start in range(0, len(inputs), AT_ONCE)]
    pool = concurrent.futures.ThreadPoolExecutor(HASH_THREADS)
    try:
        for part in pool.map(compare, parts):
            yield from part
    finally:
        stop.set()  # to hash a large file may take hours, and Ctrl-C ends it at once
        pool.shutdown(cancel_futures=True)


def _look_up(ledger: Ledger, roots: Roots, program: str, item: Input, stop: threading.Event) -> _Known:
    digest = _digest(ledger, os.path.join(roots.src, item.key), stop)
    own = ledger.outputs(item.key, digest, program) if digest else {}
    return _Known(item, digest, own, _missing(ledger, roots, own, stop))


def _missing(
    ledger: Ledger, roots: Roots, wanted: Mapping[bytes, str], stop: threading.Event | None = None
) -> dict[bytes, str]:
    """Return those of {path: hash} that are not so in DST."""
    return {path: each for path, each in wanted.items() if _digest(ledger, os.path.join(roots.dst, path), stop) != each}


def _digest(ledger: Ledger, path: bytes, stop: threading.Event | None = None) -> str:
    """Return the file's hash, "" if it can't be read."""
    try:
        return ledger.hash_of(path, stop=stop)
    except OSError:
        return ""


def _restore(ledger: Ledger, roots: Roots, path: bytes, digest: str, staging: str | None) -> bool:
    """Bring a result under its path from another place in DST that holds the same bytes; False if none does."""
    top = os.path.join(roots.dst, b"")
    for source in ledger.places_of(digest):
        if not source.startswith(top) or _digest(ledger, source) != digest:
            continue
        if staging is None:
            return True
        with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=staging) as folder:
            copy = os.path.join(os.fsencode(folder), path)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy2(source, copy)
            if unfit(os.fsencode(folder), path, digest) is None:
                move_into_place(os.fsencode(folder), roots.dst, path)
                target = os.path.join(roots.dst, path)
                ledger.remember_hash(target, file_stat(target), digest)
                return True
    return False
