"""What a batch came to: which inputs are done, which failed and why, and the way into DST."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fanrun.fanout.commands import MIB, SHM, TMP, Scratch
from fanrun.fanout.expect import BY_NAME, Expected
from fanrun.fanout.plan import Input
from fanrun.fanout.results.attribution import attribute, part
from fanrun.fanout.results.container_end import Ending, ReportLine, explain, is_about_room
from fanrun.fanout.results.names import Names

KEPT_LINES, MAX_LINE_CHARS = 5, 500
"""How many lines of a program's output are kept for a failed input, and how many characters of each."""
SHARED = re.compile(rf"{SHM}\b|shared memory|\bshm_open|</torch_", re.IGNORECASE)
BUS_ERROR = re.compile(r"\bbus error\b|\bSIGBUS\b", re.IGNORECASE)
"""What ends a program that writes to mapped memory, as shared memory is, where its file system is full."""


@dataclass
class Judgement:
    """What became of a batch's inputs.

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


def judge(
    inputs: Sequence[Input],
    end: Ending,
    report: Mapping[bytes, ReportLine],
    paths: Collection[bytes],
    links: Sequence[bytes] = (),
    expected: Expected = BY_NAME,
    folders: Collection[bytes] = (),
) -> Judgement:
    """Decide what became of every input from how the program ended, its report and the files that it left.

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
