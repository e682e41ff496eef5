"""The judgement of a batch: which inputs are done, and which failed and why.

A group is one input here: results of any of its files are its own, and it failed if any of these did.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fanrun.fanout.expect import BY_NAME, Expected
from fanrun.fanout.plan import Input
from fanrun.fanout.program import MIB, SHM, TMP, Scratch
from fanrun.fanout.results.attempt import Attempt
from fanrun.fanout.results.attribution import attribute, part
from fanrun.fanout.results.container_end import ContainerOutput, ReportLine, explain, is_about_room
from fanrun.fanout.results.groups import as_ones, groups_of
from fanrun.fanout.results.names import Layout, Names

MAX_LINES, MAX_LINE_CHARS = 5, 500
"""How many lines of a program's output are kept for a failed input, and how many characters of each."""
SHARED = re.compile(rf"{SHM}\b|shared memory|\bshm_open|</torch_", re.IGNORECASE)
BUS_ERROR = re.compile(r"\bbus error\b|\bSIGBUS\b", re.IGNORECASE)
"""The signal that ends a program if it writes to shared memory or a mapped file when there is no space left."""


@dataclass
class Judgement:
    """What became of a batch's inputs.

    `results` has the result paths of every input that is done, and `failed` the reason of every input that failed.
    Nothing is known of the inputs in `open`: they are tried again, fewer at a time.  The keys in one group of `apart`
    are processed together, but without those of the other groups, so that it is known which input each result belongs
    to.  `permanent` are the inputs of `failed` that would fail again.  `extra` are files that belong to no input, and
    `partial` has the files that may belong to the open inputs.
    """

    results: dict[bytes, list[bytes]] = field(default_factory=dict)
    failed: dict[bytes, str] = field(default_factory=dict)
    open: list[Input] = field(default_factory=list)
    apart: list[list[bytes]] = field(default_factory=list)
    permanent: set[bytes] = field(default_factory=set)
    extra: list[bytes] = field(default_factory=list)
    partial: dict[bytes, list[bytes]] = field(default_factory=dict)


def judge(
    inputs: Sequence[Input], output: ContainerOutput, expected: Expected = BY_NAME, folders: Collection[bytes] = ()
) -> Judgement:
    """Decide what became of each input of a batch from what its container left; `folders` have inputs of this run."""
    keys, end = [item.key for item in inputs], output.ending
    report, layout = as_ones(inputs, output), Layout(folders, groups_of(inputs))
    named = _named(keys, report, expected, layout.groups)
    certain = {file.key for item in inputs for file in item.files}.union(*named.values())
    ignored = dict.fromkeys(path for path in output.paths if path not in certain and expected.is_ignored(path))
    bad = [key for key in keys if not (report[key].ok if key in report else end.code == 0)]
    found = attribute(keys, [path for path in output.paths if path not in ignored], named, bad, layout)
    undecided = found.undecided if len(inputs) > 1 else frozenset()
    outcome = Judgement(extra=found.nobody)
    clues = _Clues(Names(keys, layout=layout), output.links, ignored, found.nobody)
    for item in inputs:
        line, mine = report.get(item.key), found.results.get(item.key, [])
        if line is not None and not line.ok:
            _add_reported_failure(outcome, item.key, line)
        elif line is None and end.code != 0:
            outcome.open.append(item)
            if mine:
                outcome.partial[item.key] = mine
        elif item.key not in undecided:
            _add_results(outcome, item.key, mine, named.get(item.key, ()), clues)
    settled = {*outcome.failed, *(item.key for item in outcome.open)}
    outcome.apart = part([key for key in keys if key in undecided and key not in settled], found.unclear)
    if len(outcome.open) == 1 and len(inputs) == 1:
        outcome.failed[outcome.open.pop().key] = explain(end)
    return outcome


def _add_reported_failure(outcome: Judgement, key: bytes, line: ReportLine) -> None:
    outcome.failed[key] = line.reason
    if line.permanent:
        outcome.permanent.add(key)


def _add_results(outcome: Judgement, key: bytes, results: list[bytes], named: Sequence[bytes], clues: _Clues) -> None:
    """Add an input that was processed: it is done if all results that it should have are there, else it failed."""
    missing = [path for path in named if path not in results]
    if missing:
        outcome.failed[key] = f"its result {os.fsdecode(missing[0])} is missing{clues.about(key)}"
    elif results:
        outcome.results[key] = results
    else:
        outcome.failed[key] = f"the program ended well but left no result for it{clues.about(key)}"


def _named(
    keys: Sequence[bytes], report: Mapping[bytes, ReportLine], expected: Expected, groups: Mapping[bytes, Input]
) -> dict[bytes, list[bytes]]:
    """Return the results that inputs have by the program's report, else by what is expected of them."""
    found = {}
    for key in keys:
        line = report.get(key)
        if line is not None and line.results is not None:
            found[key] = list(dict.fromkeys(line.results))
        elif expected.patterns:
            found[key] = list(dict.fromkeys(expected.paths(key, groups.get(key))))
    return found


@dataclass(frozen=True)
class _Clues:
    """The files in /out that are no input's result, which may explain why a result is missing."""

    names: Names
    links: Sequence[bytes]
    ignored: Collection[bytes]
    nobody: Sequence[bytes]

    def about(self, key: bytes) -> str:
        """Return which file might be this input's result, and why it is not; "" if there is none."""
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


def lines_about(key: bytes, log: str) -> list[str]:
    """Return the last lines of a log that name an input, or the last lines of all if none does."""
    lines = [line.rstrip()[:MAX_LINE_CHARS] for line in log.splitlines() if line.strip()]
    name = os.fsdecode(os.path.basename(key)).encode(errors="replace").decode()
    return ([line for line in lines if name in line] or lines)[-MAX_LINES:]


def add_full_hints(failed: dict[bytes, str], attempt: Attempt, log: str, scratch: Scratch) -> None:
    """Add a hint to the reasons of inputs that failed because /tmp or /dev/shm was full: the option that enlarges it.

    The worker's disk is known to have room.  The hint follows from the log's lines that name a file of the input,
    or from all lines if the input was alone in its batch.
    """
    lines, alone = log.splitlines(), len(attempt.keys) == 1
    for key, reason in failed.items():
        names = [os.fsdecode(os.path.basename(path)).encode(errors="replace").decode() for path in attempt.paths([key])]
        about = [line for line in lines if alone or any(name in line for name in names)]
        failed[key] = reason + (full_hint(reason.splitlines(), scratch) or full_hint(about, scratch))


def full_hint(lines: Sequence[str], scratch: Scratch) -> str:
    """Return which of /tmp and /dev/shm was full according to the lines of a program; "" if neither was."""
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
