"""The resume plan: which inputs have their results in DST already, by what the ledger knows."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fanrun.fanout.plan import Input, count_files
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.groups import digest
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.results.result_files import move_into_place, unfit

HASH_THREADS = 4
"""Threads that hash files: more than processors, as a network file system takes long to answer."""
INPUTS_PER_TASK = 64
"""The number of inputs that a thread compares before it takes more."""


@dataclass
class ResumePlan:
    """The inputs of a run by the state of their results.

    `todo` have to be processed, the results of `kept` are in DST, and those of `copied` were copied from elsewhere in
    DST.  Groups that have not the right number of files are `refused`, with {key: reason} of each file.
    """

    todo: list[Input] = field(default_factory=list)
    kept: list[Input] = field(default_factory=list)
    copied: list[Input] = field(default_factory=list)
    refused: dict[bytes, str] = field(default_factory=dict)

    @property
    def before(self) -> list[Input]:
        """The inputs that are done before the run."""
        return [*self.kept, *self.copied]

    @property
    def files(self) -> int:
        """The number of all files."""
        return count_files([*self.todo, *self.before]) + len(self.refused)

    def count(self, keys: Collection[bytes]) -> int:
        """Return how many files the inputs of these keys are."""
        chosen = frozenset(keys)
        return count_files(item for item in [*self.todo, *self.before] if item.key in chosen)


@dataclass(frozen=True)
class ResumeSource:
    """What a resume plan is made from: the ledger, and the folders of inputs and results as absolute paths.

    `program` is the program's name in the ledger.  With `by_content` a file takes the results of another one that has
    the same content, as after it was renamed; a group never does.  Such results are copied by way of `staging`, a
    folder on DST's file system; if that is None, nothing is changed, and these inputs only count as copied.
    """

    ledger: Ledger
    src: str
    dst: str
    program: str
    by_content: bool = False
    staging: str | None = None

    def input_path(self, key: bytes) -> bytes:
        """Return where an input is."""
        return os.path.join(os.fsencode(self.src), key)

    def result_path(self, path: bytes) -> bytes:
        """Return where a result is, by its path relative to DST."""
        return os.path.join(os.fsencode(self.dst), path)


class _Comparison(NamedTuple):
    """What the ledger and DST have of an input.

    `outputs` are its results as {path: hash}; if it has none (not `is_own`), those of an input with the same content
    under the names that they would have here.  `missing` are those of them that are not in DST.
    """

    item: Input
    digest: str
    outputs: dict[bytes, str]
    is_own: bool
    missing: dict[bytes, str]

    @property
    def is_complete(self) -> bool:
        """Whether all of the input's own results are in DST."""
        return self.is_own and not self.missing


def plan_resume(
    source: ResumeSource,
    inputs: Sequence[Input],
    step: Callable[[int], None] = lambda count: None,
    on_todo: Callable[[], None] = lambda: None,
) -> ResumePlan:
    """Divide the inputs into those to process and those whose results are there.

    `step` gets the number of inputs compared so far.  `on_todo` is called once an input has to be processed, or later.
    """
    if not source.ledger.knows(source.program):
        if inputs:
            on_todo()
        return ResumePlan(list(inputs))
    complete, incomplete = list[_Comparison](), list[_Comparison]()
    for count, found in enumerate(_compare_all(source, inputs)):
        step(count)
        (complete if found.is_complete else incomplete).append(found)
        if not found.outputs:
            on_todo()
    plan = ResumePlan(kept=[found.item for found in complete])
    owners = _owners(source, inputs) | {path: found.item.key for found in complete for path in found.outputs}
    # Only now: a copy must not take a path that belongs to a later input.
    restored = _restore_all(source, incomplete, owners, plan)
    if plan.todo:
        on_todo()
    if source.staging is not None:
        source.ledger.record_inputs(source.program, _hashes(complete))
        source.ledger.record(source.program, restored)
    return plan


def _hashes(complete: Sequence[_Comparison]) -> list[tuple[bytes, str]]:
    """Return (key, hash) of every file of these inputs."""
    return [(file.key, found.digest) for found in complete for file in found.item.files]


def owners_by_input(
    owners: Sequence[tuple[bytes, bytes]], ledger: Ledger, inputs: Sequence[Input]
) -> list[tuple[bytes, bytes]]:
    """Return (path, key) of results, with the keys that this run has for the inputs that owned them.

    Files may be grouped otherwise than they were: what a group owned belongs to the input that has its first file that
    is in this run.
    """
    now = {file.key: item.key for item in inputs for file in item.files}
    then = ledger.groups()
    return [(path, next((now[file] for file in then.get(key, [key]) if file in now), key)) for path, key in owners]


def _owners(source: ResumeSource, inputs: Sequence[Input]) -> dict[bytes, bytes]:
    """Return {path of a result: key} of those inputs whose results the ledger knows."""
    keys = {item.key for item in inputs}
    owners = owners_by_input(source.ledger.owners(source.program), source.ledger, inputs)
    return {path: key for path, key in owners if key in keys}


def _restore_all(
    source: ResumeSource, incomplete: Sequence[_Comparison], owners: dict[bytes, bytes], plan: ResumePlan
) -> list[Fact]:
    """Copy the results that inputs lack from elsewhere in DST; add each input to the plan, and its paths to `owners`.

    Return what the ledger has to know of the inputs that now have all their results.
    """
    facts = []
    for item, hash_, outputs, _, missing in incomplete:
        is_free = all(owners.get(path, item.key) == item.key for path in outputs)
        if not outputs or not is_free or not all(_restore(source, *each) for each in missing.items()):
            plan.todo.append(item)
            continue
        (plan.copied if missing else plan.kept).append(item)
        owners.update(dict.fromkeys(outputs, item.key))
        facts.append(Fact(item.key, hash_, outputs, tuple(file.key for file in item.members[1:])))
    return facts


def _compare_all(source: ResumeSource, inputs: Sequence[Input]) -> Iterator[_Comparison]:
    """Yield the comparison of each input, in order; files are hashed on several threads."""
    stop = threading.Event()

    def compare(part: Sequence[Input]) -> list[_Comparison]:
        return [_compare(source, item, stop) for item in part]

    parts = [inputs[start : start + INPUTS_PER_TASK] for start in range(0, len(inputs), INPUTS_PER_TASK)]
    pool = concurrent.futures.ThreadPoolExecutor(HASH_THREADS)
    try:
        for part in pool.map(compare, parts):
            yield from part
    finally:
        stop.set()  # hashing a large file may take hours, and Ctrl-C ends it at once
        pool.shutdown(cancel_futures=True)


def _compare(source: ResumeSource, item: Input, stop: threading.Event) -> _Comparison:
    """Find out which results of an input are in DST; raise HashingStopped once `stop` is set."""
    hash_ = _hash_of_input(source, item, stop)
    own = source.ledger.outputs(item.key, hash_, source.program) if hash_ else {}
    outputs = own
    if hash_ and not own and source.by_content and not item.members:
        outputs = source.ledger.outputs_of_equal(item.key, hash_, source.program)
    missing = {path: each for path, each in outputs.items() if _digest(source, source.result_path(path), stop) != each}
    return _Comparison(item, hash_, outputs, bool(own), missing)


def _hash_of_input(source: ResumeSource, item: Input, stop: threading.Event) -> str:
    """Return the hash of an input, "" if a file of it can't be read."""
    try:
        return digest(item, lambda key: source.ledger.hash_of(source.input_path(key), stop=stop))
    except OSError:
        return ""


def _digest(source: ResumeSource, path: bytes, stop: threading.Event | None = None) -> str:
    """Return a file's hash, "" if it can't be read."""
    try:
        return source.ledger.hash_of(path, stop=stop)
    except OSError:
        return ""


def _restore(source: ResumeSource, path: bytes, hash_: str) -> bool:
    """Copy a result to its path from a file in DST with the same content; return False if there is none."""
    top = source.result_path(b"")
    for original in source.ledger.places_of(hash_):
        if not original.startswith(top) or _digest(source, original) != hash_:
            continue
        if source.staging is None:
            return True
        with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=source.staging) as name:
            folder, dst = os.fsencode(name), os.fsencode(source.dst)
            copy = os.path.join(folder, path)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy2(original, copy)
            if unfit(folder, path, hash_) is None:
                move_into_place(folder, dst, path)
                target = source.result_path(path)
                source.ledger.remember_hash(target, file_stat(target), hash_)
                return True
    return False
