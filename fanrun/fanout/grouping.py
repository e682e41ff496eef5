"""Which inputs belong together, as `fab run` was told: these are sent, processed and counted as one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanrun.fanout.group_pattern import by_pattern, compile_pattern
from fanrun.fanout.plan import MAX_BYTES, MAX_INPUTS, Input, count_files
from fanrun.fanout.results.report import amount, shown
from fanrun.fleet.errors import UsageError
from fanrun.fleet.text import counted

STEM, FOLDER = "stem", "folder"
"""What inputs may have in common besides the groups of a pattern."""


@dataclass(frozen=True)
class Grouping:
    """What the files of a group have in common: `by` is STEM, FOLDER or a pattern, "" where each is by itself.

    `size` is the number of files that each group has to have, 0 for any.
    """

    by: str = ""
    size: int = 0

    @property
    def is_pattern(self) -> bool:
        """Whether it is a regular expression."""
        return self.by not in ("", STEM, FOLDER)

    def refusal(self, item: Input) -> str:
        """Return why a group is not processed, "" if it is; a file that the pattern does not match always is."""
        found = len(item.files)
        if not self.size or not item.stems or found == self.size:
            return ""
        return f"its group has {counted(found, 'file')}, and --group-size says {self.size}"

    def divide(self, inputs: Sequence[Input]) -> tuple[list[Input], dict[bytes, str]]:
        """Return the inputs that are to be processed, and {key: reason} of each file of the others."""
        if not self.size:
            return list(inputs), {}
        reasons = {item.key: self.refusal(item) for item in inputs}
        refused = {file.key: reasons[item.key] for item in inputs if reasons[item.key] for file in item.files}
        return [item for item in inputs if not reasons[item.key]], refused


EACH_ALONE = Grouping()


def grouping(by: str | None, size: int = 0) -> Grouping:
    """Return what the options --group-by and --group-size say; UsageError for what can't be used."""
    if by is None:
        if size:
            raise UsageError("--group-size needs --group-by, which says what the files of a group have in common")
        return EACH_ALONE
    found = Grouping(by, size)
    if found.is_pattern or not by:
        compile_pattern(by)
    return found


def remembered(kept: Mapping[str, Any]) -> Grouping:
    """Return the grouping of a request that the ledger has; before there were groups, each file was by itself."""
    return Grouping(str(kept.get("group_by", "")), int(kept.get("group_size", 0)))


def group(inputs: Sequence[Input], how: Grouping) -> list[Input]:
    """Return the inputs with a group in place of its files, sorted by key; UsageError if that takes too long."""
    if not how.by:
        return list(inputs)
    if how.by == STEM:
        groups = _by_stem(inputs)
    elif how.by == FOLDER:
        groups = [_unit(files, (folder,)) for folder, files in _collect((os.path.dirname(f.key), f) for f in inputs)]
    else:
        groups = [_unit(files, stems) for files, stems in by_pattern(inputs, how.by)]
    return sorted(groups)


def check(groups: Sequence[Input], how: Grouping) -> None:
    """Raise UsageError if a pattern matches no input, and for a group that is too large."""
    if how.is_pattern and groups and not any(item.stems for item in groups):
        example = shown(os.fsdecode(groups[0].key))
        raise UsageError(f"--group-by {how.by!r} matches no input, as {example!r}; it has to match a whole name")
    for item in groups:
        _check_size(item, how)


def remarks(inputs: Sequence[Input], how: Grouping) -> list[str]:
    """Return what a person should know of the groups before they are processed, a line each."""
    if not how.by:
        count, keys = _neighbours(inputs)
        line = (
            f"{count} of {counted(count_files(inputs), 'input')} have the same stem as others, as {_listed(keys)}, and "
            "are processed without these; --group-by stem keeps them together"
        )
        return [line] if count else []
    said = []
    if not any(item.members for item in inputs):
        hint = "; write (?:…) for what differs between the files of a group" if how.is_pattern else ""
        said.append(f"--group-by {how.by!r}: no two inputs are in one group{hint}")
    if how.is_pattern and (alone := [item.key for item in inputs if not item.stems]):
        said.append(
            f"--group-by {how.by!r} does not match {counted(len(alone), 'input')}, as {_listed(alone[:1])}: each is "
            "processed by itself"
        )
    if refused := [item for item in inputs if how.refusal(item)]:
        keys = [file.key for file in refused[0].files]
        groups = "1 group does" if len(refused) == 1 else f"{len(refused)} groups do"
        said.append(f"{groups} not have {how.size} files, as {_listed(keys)}: not processed")
    return said


def _listed(keys: Sequence[bytes]) -> str:
    """Return the names of some files for people, of more than three the first ones."""
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(shown(os.fsdecode(key)) for key in keys[:3]) + more


def _neighbours(inputs: Sequence[Input]) -> tuple[int, list[bytes]]:
    """Return how many files have the same stem as others, and the keys of the first that do."""
    keys = {item.key for item in inputs}
    stems = [_stem(item.key, keys) for item in inputs]
    counts = Counter(stems)
    first = next((stem for stem in stems if counts[stem] > 1), None)
    shared = [item.key for item, stem in zip(inputs, stems, strict=True) if stem == first]
    return sum(count for count in counts.values() if count > 1), shared


def _collect(pairs: Iterable[tuple[bytes, Input]]) -> list[tuple[bytes, list[Input]]]:
    found: dict[bytes, list[Input]] = {}
    for name, item in pairs:
        found.setdefault(name, []).append(item)
    return list(found.items())


def _unit(files: Sequence[Input], stems: tuple[bytes, ...]) -> Input:
    """Return files as one input; a single file remains a file."""
    members = tuple(sorted(files))
    return Input(members[0].key, sum(file.size for file in members), members if len(members) > 1 else (), stems)


def _by_stem(inputs: Sequence[Input]) -> list[Input]:
    keys = {item.key for item in inputs}
    return [_unit(files, (stem,)) for stem, files in _collect((_stem(item.key, keys), item) for item in inputs)]


def _stem(key: bytes, keys: set[bytes]) -> bytes:
    """Return the path without extension; a.tif.aux.xml belongs to a.tif, if that is one of the keys."""
    shorter, extension = os.path.splitext(key)
    while extension:
        if shorter in keys:
            return _stem(shorter, keys)
        shorter, extension = os.path.splitext(shorter)
    return os.path.splitext(key)[0]


def _check_size(item: Input, how: Grouping) -> None:
    """Raise UsageError for a group that is larger than a batch may be; one of `how.size` files may have many bytes."""
    count, key = len(item.files), shown(os.fsdecode(item.key))
    if count > MAX_INPUTS:
        raise UsageError(
            f"--group-by {how.by!r}: the group of {key!r} has {count} files, and a batch has at most {MAX_INPUTS}"
        )
    if item.members and item.size > MAX_BYTES and count != how.size:
        raise UsageError(
            f"--group-by {how.by!r}: the group of {key!r} has {count} files of {amount(item.size)}, more than the "
            f"{amount(MAX_BYTES)} of a batch; if that is meant, --group-size {count} says so"
        )
