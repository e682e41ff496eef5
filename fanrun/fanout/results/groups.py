"""Groups of files that count as one input: their hash, and what a program's report says of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping

from fanrun.fanout.plan import Input
from fanrun.fanout.results.container_end import ContainerOutput, ReportLine

HASH_OF_GROUP = "group "
"""How the hash of a group begins, which tells it from that of a file."""


def groups_of(inputs: Iterable[Input]) -> dict[bytes, Input]:
    """Return the inputs that are more than a file, by their keys."""
    return {item.key: item for item in inputs if item.members or item.stems}


def digest(item: Input, hash_of: Callable[[bytes], str]) -> str:
    """Return the hash of a file's content, and of a group one of all its names and contents.

    So it is another group when a file is added, removed, renamed or changed.  `hash_of` returns the hash of the content
    of the file with that key.
    """
    if not item.members:
        return hash_of(item.key)
    found = hashlib.sha256()
    for file in item.members:
        found.update(b"%s %d %s" % (hash_of(file.key).encode(), len(file.key), file.key))
    return HASH_OF_GROUP + found.hexdigest()


def is_of_group(digest: str) -> bool:
    """Return whether a hash is that of a group."""
    return digest.startswith(HASH_OF_GROUP)


def as_ones(inputs: Iterable[Input], output: ContainerOutput) -> dict[bytes, ReportLine]:
    """Return the program's report with one line for each input that it says enough of, by their keys."""
    lines = ((item, _as_one(item, output)) for item in inputs)
    return {item.key: line for item, line in lines if line is not None}


def _as_one(item: Input, output: ContainerOutput) -> ReportLine | None:
    """Return what the report says of an input; of a group one line for all files, None if that is not known.

    A program may report of one file of a group alone.  If it failed, the others may be missing because it did.
    """
    report = output.report
    if not item.members:
        return report.get(item.key)
    lines = {file.key: report[file.key] for file in item.members if file.key in report}
    failed = {key: line for key, line in lines.items() if not line.ok}
    if failed:
        return _failure(failed)
    if not lines or (output.ending.code != 0 and len(lines) < len(item.members)):
        return None
    named = [line.results for line in lines.values() if line.results is not None]
    results = tuple(path for each in named for path in each) if named else None
    return ReportLine(ok=True, error="", results=results)


def _failure(failed: Mapping[bytes, ReportLine]) -> ReportLine:
    """Return the line of a group of which these files failed: the reason is that of the first."""
    key, line = next(iter(failed.items()))
    return ReportLine(
        ok=False,
        error=f"{os.fsdecode(key)} of its group: {line.reason}",
        permanent=any(each.permanent for each in failed.values()),
        killed=any(each.killed for each in failed.values()),
    )
