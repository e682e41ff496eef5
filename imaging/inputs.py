"""The inputs under a folder: which files there are, and the names of their results."""

from __future__ import annotations

import os
from itertools import takewhile
from os.path import dirname, isfile, join, splitext
from typing import TYPE_CHECKING

from imaging.files import Job, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sized

# The extensions of files, by the format that they name. Where a result has another format than its name says, the
# old extension stays only if it is none of these: a.tif becomes a.png, a.txt becomes a.txt.png.
FORMAT_EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}
FORMATS = {extension: name for name, extensions in FORMAT_EXTENSIONS.items() for extension in extensions}
NEW_EXTENSIONS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


class Inputs:
    """The files under a folder that are in one shard of it."""

    # No NamedTuple: to make such a class takes longer than to import the rest of this module, for every batch.
    def __init__(self, root: str, shard: tuple[int, int], stopped: Sized) -> None:
        """Name the folder and the shard, as (number from 0, how many shards).

        Listing the inputs ends early once `stopped` holds anything.
        """
        self.root, self.shard, self.stopped = root, shard, stopped

    def list_keys(self) -> Iterator[str]:
        """Yield their relative paths; a hash of the path decides the shard, so nobody has to see the others."""
        from binascii import crc32

        number, shards = self.shard
        return (key for key in walk(self.root, self.stopped) if crc32(os.fsencode(key)) % shards == number)

    def list_tasks(self, output: str, job: Job) -> Iterator[Task]:
        """Yield a task for each of them, with its result under `output`."""
        shared = find_shared(walk(self.root, self.stopped), job.format) if job.format else set()
        for key in self.list_keys():
            name = result_name(key, job.format)
            error = f"another input would have the same result, {name}: give one of them another name"
            partial = join(output, dirname(key), f".{os.urandom(8).hex()}.tmp")
            yield Task(key, join(self.root, key), join(output, name), partial, error if name in shared else None)


def walk(root: str, stopped: Sized = ()) -> Iterator[str]:
    """Yield each file's path relative to `root`; a folder that cannot be listed stands for its files.

    End once `stopped` holds anything.
    """
    folders = [""]
    while folders and not stopped:
        folder = folders.pop()
        try:
            with os.scandir(join(root, folder)) as entries:
                for entry in takewhile(lambda _: not stopped, entries):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(join(folder, entry.name))
                    elif isfile(entry.path):
                        yield join(folder, entry.name)
        except OSError:
            yield folder


def result_name(key: str, new_format: str) -> str:
    """Return the relative path of an input's result: its own, with the extension of the new format if there is one."""
    stem, extension = splitext(key)
    known = FORMATS.get(extension.lower())
    if not new_format or known == new_format:
        return key
    return (stem if known else key) + NEW_EXTENSIONS[new_format]


def find_shared(keys: Iterable[str], new_format: str) -> set[str]:
    """Return the results that more than one input would have."""
    seen: set[str] = set()
    shared: set[str] = set()
    for key in keys:
        name = result_name(key, new_format)
        (shared if name in seen else seen).add(name)
    return shared


def preload(job: Job, keys: Iterable[str]) -> None:
    """Import the modules that inputs like these need: a process that is forked may have no files left to open."""
    from importlib import import_module

    names = {"colour", "decode", "encode", "metadata", "scale", "transform"} if job.operations else {"rotate"}
    formats = {FORMATS.get(splitext(key)[1].lower(), "") for key in keys} & {"BMP", "GIF", "PNG", "TIFF"}
    if formats:
        names |= {"decode", *map(str.lower, formats)}
    for name in names:
        import_module(f"imaging.{name}")
