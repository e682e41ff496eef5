"""How a result's path fits the names of inputs."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from fanrun.fanout.plan import Input


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


def renamed(path: bytes, key: bytes, new: bytes) -> bytes | None:
    """Return what the path of a result is called when its input `key` is named `new`; None if that can't be told."""
    (old_stem, extension), (stem, new_extension) = os.path.splitext(key), os.path.splitext(new)
    if path.startswith(key):
        # Of a name without extension nobody knows whether results are named after the whole name or the stem.
        is_clear = path == key or extension or not new_extension
        return new + path[len(key) :] if is_clear else None
    return stem + path[len(old_stem) :] if path.startswith(old_stem) else None


class Layout(NamedTuple):
    """What is known of SRC besides keys: folders that have inputs, and groups by the keys that stand for them."""

    folders: Collection[bytes] = ()
    groups: Mapping[bytes, Input] = {}


NO_LAYOUT = Layout()


class Names:
    """The keys of some inputs, to be searched for those that a result's path fits.

    A path fits a group if it fits any of its files, or continues one of its stems.
    """

    def __init__(
        self, keys: Iterable[bytes], fold: Callable[[bytes], bytes] = bytes, layout: Layout = NO_LAYOUT
    ) -> None:
        """`fold` makes paths equal that the file system of the results can't tell apart.

        The folders of `layout` may have inputs besides those of the keys.
        """
        self._fold, self._others = fold, layout.folders
        self._full_names: dict[bytes, list[bytes]] = {}
        self._stems: dict[bytes, list[bytes]] = {}
        self._shorter: dict[bytes, list[bytes]] = {}
        self._group_stems: dict[bytes, list[bytes]] = {}
        self._folders: set[bytes] = set()
        for key in keys:
            group = layout.groups.get(key)
            for file in group.files if group else (Input(key, 0),):
                self._add_file(fold(file.key), key)
            for stem in group.stems if group else ():
                self._group_stems.setdefault(fold(stem), []).append(key)

    def _add_file(self, path: bytes, key: bytes) -> None:
        """Let the names that continue that of a file fit the input of that key."""
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
        if not seen and (top := self._group_stems.get(b"")):  # the group of the files that are in no folder
            yield Fit.FOLDER, top

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

    def is_file(self, path: bytes) -> bool:
        """Return whether a file of an input has just that path."""
        return self._fold(path) in self._full_names

    def full_name(self, path: bytes) -> bytes:
        """Return the longest name of a file that the path's name continues; b"" if there is none."""
        folder, name = os.path.split(self._fold(path))
        lengths = (length for length in range(len(name), 0, -1) if _continues(name, length))
        return next((name[:n] for n in lengths if os.path.join(folder, name[:n]) in self._full_names), b"")

    def by_stem(self, path: bytes, least: int) -> set[bytes]:
        """Return the keys whose names without extensions the path continues, if these have so many bytes or more."""
        folder, name = os.path.split(self._fold(path))
        found = set[bytes]()
        for length in range(least, len(name) + 1):
            if _continues(name, length):
                start = os.path.join(folder, name[:length])
                for index in (self._stems, self._shorter, self._group_stems):
                    found.update(index.get(start, ()))
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
            if continues:  # a stem of a group may be the name of a folder, which many names begin with
                found[Fit.STEM] += self._group_stems.get(start, ())
        return list(found.items())

    def _by_folder(self, path: bytes) -> list[bytes]:
        parts = path.split(b"/")
        for count in range(len(parts) - 1, 0, -1):
            start = b"/".join(parts[:count])
            for index in (self._full_names, self._stems, self._shorter, self._group_stems):
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
