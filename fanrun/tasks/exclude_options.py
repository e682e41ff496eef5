"""The options of `fab run` that leave inputs out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from fanrun.fleet.errors import UsageError
from fanrun.tasks import options
from provision.options import Flag

RULE = re.compile(r"[+-] .*|!", re.DOTALL)
"""A line that rsync takes for more than a pattern."""


EXCLUDE_FLAGS = {
    "exclude": Flag("leave out inputs that match this glob; repeatable", is_list=True),
    "exclude_from": Flag("a file of such globs, one on each line; repeatable", is_list=True),
}


def chosen_exclude(given: Mapping[str, object]) -> tuple[str, ...]:
    """Return the globs that the options give; UsageError for one that can't be meant."""
    patterns, files = (cast(Sequence[str], given[name] or ()) for name in EXCLUDE_FLAGS)
    return excluded(patterns, files)


def excluded(patterns: Sequence[str], files: Sequence[str]) -> tuple[str, ...]:
    """Return the globs of --exclude, and those in the files of --exclude-from; UsageError for what can't be meant."""
    found = [("--exclude", pattern) for pattern in patterns]
    found += [line for file in files for line in _lines(options.path("exclude-from", file))]
    for where, pattern in found:
        if pattern.endswith("/"):
            raise UsageError(f"{where}: {pattern!r} matches no file; write {pattern + '*'!r} for what is in the folder")
    return tuple(pattern for _, pattern in found)


def _lines(path: str) -> Iterator[tuple[str, str]]:
    """Yield (where it is, pattern) of each pattern in a file; blank lines and comments, with # or ;, are left out."""
    try:
        text = os.fsdecode(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"--exclude-from {path!r} can't be read ({error.strerror})") from error
    for number, line in enumerate(re.split(r"\r\n|[\r\n]", text), start=1):
        where = f"--exclude-from {path!r}, line {number}"
        if RULE.fullmatch(line):
            raise UsageError(f"{where}: {line!r} is a rule of rsync; give patterns only, one on each line")
        if line.strip() and line[0] not in "#;":
            yield where, line
