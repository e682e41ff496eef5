"""The commands that use the cache of a worker, as argv lists."""

from __future__ import annotations

from collections.abc import Iterable

from fanrun.fanout.commands import BatchFolder, run_folder
from fanrun.fleet.layout import Layout


def list_argv(run: str, layout: Layout) -> list[str]:
    """Write a line "SIZE TIME CRC" for each file in the cache; see worker_files/cache.py."""
    return [*_program(run, layout), "list", layout.cache]


def place_argv(place: BatchFolder) -> list[str]:
    """Copy files from the cache into the folder of a batch's inputs; the command reads the text of `wanted`."""
    return [*_program(place.run, place.layout), "place", place.layout.cache, place.source]


def wanted(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return the text that place_argv's command reads.

    Each file is its SHA-256, its time of last change (nanoseconds since 1970), and its key.
    """
    return b"".join(b"%s\0%d\0%s\0" % (digest.encode(), time, key) for digest, time, key in files)


def empty_argv(layout: Layout) -> list[str]:
    """Remove the cache."""
    return ["rm", "-rf", "--", layout.cache]


def _program(run: str, layout: Layout) -> list[str]:
    return ["python3", "-I", "-S", f"{run_folder(run, layout)}/cache.py"]
