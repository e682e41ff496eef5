"""The proof after the fact: every input has its result, from the ledger and the files alone."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanrun.fanout import grouping, plan
from fanrun.fanout.plan import Input
from fanrun.fanout.results.groups import digest as digest_of
from fanrun.fanout.results.groups import is_of_group
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.report import Failure
from fanrun.fanout.results.report_text import failures_by_reason
from fanrun.fleet.errors import UsageError
from fanrun.fleet.text import counted

LEDGER = "ledger.db"
NOTHING, CHANGED = "it has no result", "it changed since it was processed"


@dataclass
class Verdict:
    """What was found: of so many `inputs`, `proven` have results that are as they were made.

    `src` says where the inputs were read, "" when that folder is gone and the ledger had to name them;
    `faults` are {input: what is wrong}, both as text (os.fsdecode).
    """

    dst: str
    src: str
    run: str
    inputs: int = 0
    proven: int = 0
    results: int = 0
    faults: dict[str, str] = field(default_factory=dict)


def ledger_path(dst: str) -> Path:
    """Where DST keeps its ledger."""
    return Path(dst) / os.fsdecode(plan.STATE) / LEDGER


def open_ledger(dst: str) -> Ledger:
    """The ledger of a DST that has one, only to be read; UsageError if there is none."""
    path = ledger_path(dst)
    if not path.exists():
        raise UsageError(f"--dst {dst!r} has no ledger; give a folder that `fab run` brought results to")
    return Ledger(path, write=False)


def verify(dst: str, step: Callable[[int, int], None]) -> Verdict:
    """Read every input and every result once more, and compare; `step` is told (how many are done, of how many).

    Raises UsageError when DST has no ledger, or no run began there.
    """
    ledger = open_ledger(dst)
    last = ledger.last_run()
    if last is None:
        raise UsageError(f"--dst {dst!r}: no run has begun there yet; start one with `fab run`")
    name, program, request = last
    src = request["src"] if os.path.isdir(request["src"]) else ""
    verdict = Verdict(dst, src, name)
    inputs = list(_inputs(ledger, src, program, request))
    verdict.inputs = plan.count_files(item for item, _ in inputs)
    failures, how = ledger.failures(), grouping.remembered(request)
    count = 0
    for item, digest in inputs:
        step(count, verdict.inputs)
        count += len(item.files)
        fault = how.refusal(item) or _fault(ledger, verdict, program, item, digest)
        for file in item.files:
            if fault in (NOTHING, CHANGED) and file.key in failures:
                verdict.faults[os.fsdecode(file.key)] = f"it failed: {failures[file.key]}"
            elif fault:
                verdict.faults[os.fsdecode(file.key)] = fault
        verdict.proven += 0 if fault else len(item.files)
    step(verdict.inputs, verdict.inputs)
    return verdict


def _inputs(ledger: Ledger, src: str, program: str, request: dict[str, Any]) -> Iterable[tuple[Input, str]]:
    """(input, hash) of what the run had to do: as SRC is now, or if that is gone as the ledger knew it."""
    # Before there was a choice, junk was taken.
    choice = plan.chooser(request["include"], request["exclude"], junk=bool(request.get("junk", True)))
    if not src:
        failures = ledger.failures()
        known = {key: digest for key, digest in ledger.inputs(program) if choice.takes(key) and key not in failures}
        yield from _recorded_inputs(known)
        yield from ((Input(key, 0), "") for key in failures if choice.takes(key))
        return
    for item in grouping.group(plan.walk(src, choice)[0], grouping.remembered(request)):
        yield item, ""


def _recorded_inputs(known: dict[bytes, str]) -> Iterator[tuple[Input, str]]:
    """(input, hash) of the inputs of a ledger, {key: hash}: all files of a group have its hash."""
    found: dict[bytes | str, list[Input]] = {}
    for key, digest in known.items():
        found.setdefault(digest if is_of_group(digest) else key, []).append(Input(key, 0))
    for files in found.values():
        first = files[0].key
        yield Input(first, 0, tuple(files) if len(files) > 1 else ()), known[first]


def _fault(ledger: Ledger, verdict: Verdict, program: str, item: Input, digest: str) -> str:
    """What is wrong with an input's results; "" if nothing is."""
    if verdict.src:
        src = os.path.join(os.fsencode(verdict.src), b"")
        try:
            digest = digest_of(item, lambda key: ledger.hash_of(src + key, read=True))
        except OSError as error:
            return plan.unreadable_input(src, item, error)
    wanted = ledger.outputs(item.key, digest, program)
    if not wanted:
        before = {ledger.input_hash(file.key) for file in item.files}
        return NOTHING if before <= {None, digest} else CHANGED
    for path, each in wanted.items():
        try:
            if ledger.hash_of(os.path.join(os.fsencode(verdict.dst), path), read=True) != each:
                return f"its result {os.fsdecode(path)} is not what was made"
        except OSError as error:
            return f"its result {os.fsdecode(path)} can't be read ({error.strerror})"
        verdict.results += 1
    return ""


def to_json(verdict: Verdict) -> str:
    """The verdict as JSON."""
    return json.dumps(dataclasses.asdict(verdict), indent=2)


def lines(verdict: Verdict) -> Iterator[str]:
    """The verdict for people."""
    where = f"in {verdict.src}" if verdict.src else "that the ledger names (SRC is not there any more)"
    files = counted(verdict.results, "file")
    yield f"{verdict.proven} of {counted(verdict.inputs, 'input')} {where} have their results: {files}, as made"
    yield from failures_by_reason([Failure(path, fault, "") for path, fault in verdict.faults.items()])
    if verdict.faults:
        yield "`fab run` again makes what is missing; --json names all of these inputs"
