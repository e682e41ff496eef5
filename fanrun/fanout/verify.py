"""The proof after the fact: every input has its result, from the ledger and the files alone."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fanrun.fanout import plan
from fanrun.fanout.results.ledger import Ledger
from fanrun.fanout.results.report import SHOWN, more, shown
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
    verdict.inputs = len(inputs)
    failures = ledger.failures()
    for count, (key, digest) in enumerate(inputs):
        step(count, len(inputs))
        fault = _fault(ledger, verdict, program, key, digest)
        if fault in (NOTHING, CHANGED) and key in failures:
            fault = f"it failed: {failures[key]}"
        if fault:
            verdict.faults[os.fsdecode(key)] = fault
        else:
            verdict.proven += 1
    return verdict


def _inputs(ledger: Ledger, src: str, program: str, request: dict[str, list[str]]) -> Iterable[tuple[bytes, str]]:
    """(key, hash) of what the run had to do: as SRC is now, or if that is gone as the ledger knew it."""
    # Before there was a choice, junk was taken.
    choice = plan.chooser(request["include"], request["exclude"], junk=bool(request.get("junk", True)))
    if not src:
        failures = ledger.failures()
        yield from (
            (key, digest) for key, digest in ledger.inputs(program) if choice.takes(key) and key not in failures
        )
        yield from ((key, "") for key in failures if choice.takes(key))
        return
    for item in plan.walk(src, choice)[0]:
        yield item.key, ""


def _fault(ledger: Ledger, verdict: Verdict, program: str, key: bytes, digest: str) -> str:
    """What is wrong with an input's results; "" if nothing is."""
    if verdict.src:
        try:
            digest = ledger.hash_of(os.path.join(os.fsencode(verdict.src), key), read=True)
        except OSError as error:
            return plan.unreadable(os.path.join(os.fsencode(verdict.src), key), error)
    wanted = ledger.outputs(key, digest, program)
    if not wanted:
        return NOTHING if ledger.input_hash(key) in (None, digest) else CHANGED
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
    for path, fault in list(verdict.faults.items())[:SHOWN]:
        yield f"  {shown(path)}: {shown(fault)}"
    yield from more(len(verdict.faults))
    if verdict.faults:
        yield "`fab run` again makes what is missing"
