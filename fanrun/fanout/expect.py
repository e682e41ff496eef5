"""Which files in /out are results, and which results each input has to have, as `fab run` was told."""

from __future__ import annotations

import fnmatch
import os
import string
from collections.abc import Sequence
from dataclasses import dataclass

from fanrun.fanout.plan import Input, folder_of
from fanrun.fleet.errors import UsageError

FIELDS = ("name", "stem", "folder")
UNFINISHED = ("*.part", "*.tmp", "*.partial", ".#*")
"""Names that programs give to files that are not complete."""


@dataclass(frozen=True)
class Expected:
    """What a program is expected to leave in /out.

    `patterns` give the paths of each input's results; without patterns, names decide whose a result is.  Files whose
    names match `ignored` are not results.
    """

    patterns: tuple[str, ...] = ()
    ignored: tuple[str, ...] = UNFINISHED

    def paths(self, key: bytes, group: Input | None = None) -> list[bytes]:
        """Return the paths of the results that an input must have; no paths if there are no patterns.

        The stem of a `group` is what its files have in common, its folder the one that has them all.
        """
        folder, name = os.path.split(os.fsdecode(key))
        stem = os.path.splitext(name)[0]
        if group is not None and group.stems:
            folder = os.fsdecode(folder_of(group.files))
            stem = os.fsdecode(os.path.basename(group.stems[0]))
        values = {"name": name, "stem": stem, "folder": folder}
        found = []
        for pattern in self.patterns:
            path = pattern.format(**values)
            full = path if "{folder}" in pattern else os.path.join(folder, path)
            found.append(os.fsencode(os.path.normpath(full).lstrip("/")))
        return found

    def is_ignored(self, path: bytes) -> bool:
        """Return whether the name of a file in /out says that it is not a result."""
        name = os.fsdecode(os.path.basename(path))
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.ignored)


BY_NAME = Expected()


def expected(patterns: str | None, ignored: str | None, *, by_folder: bool = False) -> Expected:
    """Return what the options --expect and --ignore-results say, both lists with commas.

    With `by_folder` all files of a folder are one group, and have the same results.  Raises UsageError for a pattern
    that can't be used.
    """
    wanted = _listed(patterns)
    for pattern in wanted:
        _check(pattern, FIELDS if by_folder else ("name", "stem"))
    return Expected(wanted, UNFINISHED if ignored is None else _listed(ignored))


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _check(pattern: str, distinct: Sequence[str]) -> None:
    """Raise UsageError for a pattern that can't be used, as one with none of the `distinct` fields."""
    try:
        fields = [part for part in string.Formatter().parse(pattern) if part[1] is not None]
    except ValueError as error:
        raise _unusable(pattern, str(error)) from error
    names = {str(name) for _, name, _, _ in fields}
    if unknown := sorted(names - set(FIELDS)):
        raise _unusable(pattern, f"there is no {{{unknown[0]}}}")
    if any(spec or conversion for _, _, spec, conversion in fields):
        raise _unusable(pattern, "fields take no format")
    if names.isdisjoint(distinct):
        raise _unusable(pattern, "all inputs would have the same result")
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise _unusable(pattern, "it leads out of /out")


def _unusable(pattern: str, why: str) -> UsageError:
    return UsageError(f"--expect {pattern!r}: {why}; write results as '{{stem}}.txt' ({{name}}, {{stem}}, {{folder}})")
