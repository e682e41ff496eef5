"""Which input a result belongs to, by their names.

The rules and their order are in docs/programs.md ("Whose result it is").  A result that fits several inputs equally
well belongs to none of them until these inputs have been processed apart from each other.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fanrun.fanout.results.names import NO_LAYOUT, Fit, Layout, Names

MAX_LOOSE_FITS = 8
"""A file that fits more inputs than this, and none of them closely, belongs to no input.

Example: frame.log beside frame.0001.exr, frame.0002.exr and so on.
"""


@dataclass
class Attribution:
    """Which results of a batch belong to which input.

    `results` has the paths of each key.  Each set in `unclear` has the keys that one result fits equally well.
    `nobody` are the results that fit no input.
    """

    results: dict[bytes, list[bytes]] = field(default_factory=dict)
    unclear: list[frozenset[bytes]] = field(default_factory=list)
    nobody: list[bytes] = field(default_factory=list)

    @property
    def undecided(self) -> frozenset[bytes]:
        """The keys that have to be processed apart from others."""
        return frozenset().union(*self.unclear)


def attribute(
    keys: Collection[bytes],
    paths: Collection[bytes],
    named: Mapping[bytes, Sequence[bytes]] | None = None,
    failed: Collection[bytes] = (),
    layout: Layout = NO_LAYOUT,
) -> Attribution:
    """Give each result of a batch to an input; `named` are the results that inputs are known to have.

    An input with named results has no others.  Those of `keys` that `failed` need not have any.
    A key may be that of a group of `layout`, whose folders may have inputs besides those of the batch.
    """
    found, named = Attribution(), named or {}
    taken = _give_named(found, {key: named[key] for key in sorted(named.keys() & set(keys) - set(failed))}, set(paths))
    names = Names((key for key in keys if key not in named), layout=layout)
    fits = {path: list(names.fits(path)) for path in paths if path not in taken}
    for path, by_fit in fits.items():
        if not by_fit or (by_fit[0][0] >= Fit.STEMS and len(by_fit[0][1]) > MAX_LOOSE_FITS):
            found.nobody.append(path)
            continue
        owner = names.first(path)
        if owner is None:
            found.unclear += _candidates(by_fit, failed)
            continue
        found.results.setdefault(owner, []).append(path)
        if by_fit[0][0] is Fit.NAME and not names.is_file(path):
            rivals = {*by_fit[0][1], *_rivals_by_stem(names, path)} - {owner, *failed}
            found.unclear += [frozenset({owner, rival}) for rival in sorted(rivals)]
    found.unclear += _doubts(found, fits, {key for key in keys if key not in found.results} - set(failed))
    return found


def _rivals_by_stem(names: Names, path: bytes) -> set[bytes]:
    """Return the inputs that may have made a result although it continues the whole name of its owner.

    Each of "a", "a.tif", "a_1" and "a_1.jpg" may have made a_1.png; a name with its extension says more.
    """
    name = names.full_name(path)
    return names.by_stem(path, len(name) if os.path.splitext(name)[1] else 1)


def _candidates(by_fit: Sequence[tuple[Fit, list[bytes]]], failed: Collection[bytes]) -> list[frozenset[bytes]]:
    """Return the sets of inputs that have to be apart from each other to tell whose a result is."""
    (_, closest), *others = by_fit
    # What fits it less closely may have made it as well; in pairs, as it needs to be apart from the closest alone.
    less = {key for _, keys in others for key in keys} - set(failed)
    return [frozenset(closest), *(frozenset({key, other}) for key in sorted(less) for other in closest)]


def _give_named(found: Attribution, named: Mapping[bytes, Sequence[bytes]], there: Collection[bytes]) -> set[bytes]:
    """Give inputs the named results that are there, and return their paths; one that several inputs name is unclear."""
    owners: dict[bytes, list[bytes]] = {}
    for key, paths in named.items():
        for path in dict.fromkeys(paths):
            if path in there:
                owners.setdefault(path, []).append(key)
    for path, keys in owners.items():
        if len(keys) > 1:
            found.unclear.append(frozenset(keys))
        else:
            found.results.setdefault(keys[0], []).append(path)
    return set(owners)


def _doubts(
    found: Attribution, fits: Mapping[bytes, list[tuple[Fit, list[bytes]]]], without: Collection[bytes]
) -> list[frozenset[bytes]]:
    """Return pairs of inputs: one is `without` results, and the other got a result that might belong to the first."""
    owners = {path: key for key, paths in found.results.items() for path in paths}
    return [
        frozenset({key, owners[path]})
        for path, by_fit in fits.items()
        if path in owners
        for fit, others in by_fit
        for key in others
        if key in without and (by_fit[0][0] is not Fit.NAME or fit <= Fit.STEMS)
    ]


def part(keys: Sequence[bytes], unclear: Iterable[frozenset[bytes]]) -> list[list[bytes]]:
    """Divide the keys that are in unclear sets into a few groups, none of which has two keys of one set."""
    rivals: dict[bytes, set[bytes]] = {}
    for group in unclear:
        for key in group:
            rivals.setdefault(key, set()).update(group - {key})
    parts: list[tuple[list[bytes], set[bytes]]] = []
    for key in keys:
        if key not in rivals:
            continue
        chosen = next((each for each in parts if key not in each[1]), None)
        if chosen is None:
            chosen = ([], set())
            parts.append(chosen)
        chosen[0].append(key)
        chosen[1].update(rivals[key])
    return [members for members, _ in parts]
