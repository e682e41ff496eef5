"""Which input a result belongs to, by their names.

The rules, in this order, are in the README ("Whose result it is").  A result that several inputs fit equally well is
nobody's until these inputs have been processed apart from each other.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


class Fit(enum.IntEnum):
    """How a result's path fits an input's key, the best first.

    "Continues" means that the rest of the name begins with neither a letter nor a digit, as in plate1_2.png.
    """

    NAME = 0  # it continues the input's whole name
    STEM = 1  # it continues the name without its extension
    STEMS = 2  # it continues the name without several extensions
    NAME_PREFIX = 3  # the whole name begins it
    STEM_PREFIX = 4  # the name without one or more extensions begins it
    FOLDER = 5  # it is in a folder that is named as the input, with or without extensions
    SUBFOLDER = 6  # it is in a folder that has no inputs, and its name continues the input's


LONGEST_WINS = (Fit.NAME, Fit.NAME_PREFIX)
"""Where several whole names begin a result's name, it belongs to the longest."""


MAX_LOOSE_FITS = 8
"""A file that fits more inputs than this, and none of them closely, belongs to no input.

Example: frame.log beside frame.0001.exr, frame.0002.exr and so on.
"""


def stems(name: bytes) -> Iterator[bytes]:
    """Yield a file's name without its last extension, then without the last two, and so on."""
    stem, extension = os.path.splitext(name)
    while extension:
        yield stem
        stem, extension = os.path.splitext(stem)


def _continues(name: bytes, start: int) -> bool:
    """Return whether a word or number ends after the first `start` bytes of a name."""
    rest = name[start : start + 1]
    return not rest or not (rest.isalnum() or rest >= b"\x80")


class Names:
    """The keys of some inputs, to be searched for those that a result's path fits."""

    def __init__(
        self, keys: Iterable[bytes], fold: Callable[[bytes], bytes] = bytes, folders: Collection[bytes] = ()
    ) -> None:
        """`fold` makes paths equal that the file system of the results can't tell apart.

        `folders` have inputs besides those of the keys.
        """
        self._fold, self._others = fold, folders
        self._full_names: dict[bytes, list[bytes]] = {}
        self._stems: dict[bytes, list[bytes]] = {}
        self._shorter: dict[bytes, list[bytes]] = {}
        self._folders: set[bytes] = set()
        for key in keys:
            path = fold(key)
            folder, name = os.path.split(path)
            self._folders.add(folder)
            self._full_names.setdefault(path, []).append(key)
            for count, stem in enumerate(stems(name)):
                index = self._shorter if count else self._stems
                index.setdefault(os.path.join(folder, stem), []).append(key)

    def fits(self, path: bytes) -> Iterator[tuple[Fit, list[bytes]]]:
        """Yield (fit, the keys that the path fits so), the best fit first; a key comes with its best fit alone.

        The longest names come first where that decides, else the keys are in their order.
        """
        path = self._fold(path)
        folder, name = os.path.split(path)
        seen = set[bytes]()
        for fit, keys in [
            *self._by_name(folder, name),
            (Fit.FOLDER, self._by_folder(path)),
            (Fit.SUBFOLDER, self._by_subfolder(folder, name)),
        ]:
            new = [key for key in dict.fromkeys(keys) if key not in seen]
            seen.update(new)
            if new:
                yield fit, new if fit in LONGEST_WINS else sorted(new)

    def first(self, path: bytes) -> bytes | None:
        """Return the one key that the path fits best; None if there are several, or none."""
        fit, keys = next(self.fits(path), (Fit.NAME, []))
        return keys[0] if keys and (fit in LONGEST_WINS or len(keys) == 1) else None

    def only(self, path: bytes) -> bytes | None:
        """Return the one key whose name the path continues, with or without extensions; None if several are."""
        fit, keys = next(self.fits(path), (Fit.NAME, []))
        if fit is Fit.NAME and keys[:1] == [path]:
            return path
        near = {key for fit, keys in self.fits(path) if fit <= Fit.STEMS for key in keys}
        return near.pop() if len(near) == 1 else None

    def by_stem(self, path: bytes, least: int) -> set[bytes]:
        """Return the keys whose names without extensions the path continues, if these have so many bytes or more."""
        folder, name = os.path.split(self._fold(path))
        found = set[bytes]()
        for length in range(least, len(name) + 1):
            if _continues(name, length):
                start = os.path.join(folder, name[:length])
                found.update(self._stems.get(start, ()), self._shorter.get(start, ()))
        return found

    def _by_name(self, folder: bytes, name: bytes) -> list[tuple[Fit, list[bytes]]]:
        found: dict[Fit, list[bytes]] = {fit: [] for fit in Fit if fit < Fit.FOLDER}
        for length in range(len(name), 0, -1):
            start = os.path.join(folder, name[:length])
            continues = _continues(name, length)
            for index, fit, loose in (
                (self._full_names, Fit.NAME, Fit.NAME_PREFIX),
                (self._stems, Fit.STEM, Fit.STEM_PREFIX),
                (self._shorter, Fit.STEMS, Fit.STEM_PREFIX),
            ):
                found[fit if continues else loose] += index.get(start, ())
        return list(found.items())

    def _by_folder(self, path: bytes) -> list[bytes]:
        parts = path.split(b"/")
        for count in range(len(parts) - 1, 0, -1):
            start = b"/".join(parts[:count])
            for index in (self._full_names, self._stems, self._shorter):
                if start in index:
                    return index[start]
        return []

    def _by_subfolder(self, folder: bytes, name: bytes) -> list[bytes]:
        """The keys in folders that are left when the fewest adjacent parts of the folder are taken out."""
        if not folder or folder in self._folders or folder in self._others:
            return []
        parts = folder.split(b"/")
        for count in range(1, len(parts) + 1):
            keys = list[bytes]()
            for first in range(len(parts) - count + 1):
                rest = b"/".join([*parts[:first], *parts[first + count :]])
                best = next((found for fit, found in self._by_name(rest, name) if found and fit <= Fit.STEMS), [])
                keys += best
            if keys:
                return keys
        return []


@dataclass
class Attribution:
    """Which results of a batch belong to which input.

    `results` has the paths of each key, `unclear` sets of keys that one result fits equally well, `nobody` results
    that fit no input.
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
    folders: Collection[bytes] = (),
) -> Attribution:
    """Give each result of a batch to an input; `named` are the results that inputs are known to have.

    An input with named results has no others.  Those of `keys` that `failed` need not have any.
    `folders` have inputs besides those of the batch.
    """
    found, named = Attribution(), named or {}
    taken = _give_named(found, {key: named[key] for key in sorted(named.keys() & set(keys) - set(failed))}, set(paths))
    names = Names((key for key in keys if key not in named), folders=folders)
    fits = {path: list(names.fits(path)) for path in paths if path not in taken}
    for path, by_fit in fits.items():
        if not by_fit or (by_fit[0][0] >= Fit.STEMS and len(by_fit[0][1]) > MAX_LOOSE_FITS):
            found.nobody.append(path)
            continue
        owner = names.first(path)
        if owner is None:
            found.unclear.append(frozenset(by_fit[0][1]))
            # What fits it less closely may have made it as well; in pairs, as it needs to be apart from these alone.
            less = {key for _, keys in by_fit[1:] for key in keys} - set(failed)
            found.unclear += [frozenset({key, other}) for key in sorted(less) for other in by_fit[0][1]]
            continue
        found.results.setdefault(owner, []).append(path)
        if by_fit[0][0] is Fit.NAME and path != owner:
            # Each of "a", "a.tif", "a_1" and "a_1.jpg" may have made a_1.png; a name with its extension says more.
            name = os.path.basename(owner)
            least = len(name) if os.path.splitext(name)[1] else 1
            rivals = {*by_fit[0][1], *names.by_stem(path, least)} - {owner, *failed}
            found.unclear += [frozenset({owner, rival}) for rival in sorted(rivals)]
    found.unclear += _doubts(found, fits, {key for key in keys if key not in found.results} - set(failed))
    return found


def _give_named(found: Attribution, named: Mapping[bytes, Sequence[bytes]], there: Collection[bytes]) -> set[bytes]:
    """Give inputs the named results that are there; returns the paths.  A path that several inputs name is unclear."""
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
    """Return pairs of an input that is `without` results and one that got a result which might be the first one's."""
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
