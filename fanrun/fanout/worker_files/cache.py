"""Manage the cache of a worker: it keeps the inputs of a run for later runs.

python3 cache.py keep CACHE LIMIT FOLDER    move the inputs of the run in FOLDER, which has ended, to the cache
python3 cache.py list CACHE                 print the size and the time of each file
python3 cache.py place CACHE FOLDER         put files into a batch's folder of inputs

The name of a file in CACHE is the SHA-256 of its content.  The file "names" has the CRC-32 of the path that each file
had as an input.  By this a run can guess which worker has an input before it knows the input's hash.  A batch gets hard
links to the files, and its container can't write to them.  The time of last status change (ctime) is the time of last
use, because each new link changes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import zlib

TYPE_CHECKING = False  # to import typing costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator

QUARTER = -1  # as LIMIT: a quarter of what the disk would have free without the cache
PIECE = 1024 * 1024
HASH = 64  # characters of a SHA-256
FOLDER, FILE = 0o755, 0o644


def keep(cache: str, limit: int, folder: str) -> None:
    """Move the inputs of a run into the cache; then remove the oldest files until at most `limit` bytes are left."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(cache, FOLDER)  # FileNotFoundError if `fab down` has removed the work folder
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if limit == QUARTER:
            disk = os.statvfs(cache)
            limit = (disk.f_bavail * disk.f_frsize + sum(stat.st_size for _, stat in entries(cache))) // 4
        room, names = limit, known_names(cache)
        for top, path in inputs(folder):
            found = os.lstat(path)
            if found.st_nlink > 1 or not 0 < found.st_size <= room:  # with a second link it is in the cache already
                continue
            name = digest(path)
            os.rename(path, os.path.join(cache, name))
            names[name] = f"{zlib.crc32(os.fsencode(os.path.relpath(path, top))):08x}"
            room -= found.st_size
        trim(cache, limit, names)


def trim(cache: str, limit: int, names: dict[str, str]) -> None:
    """Remove the oldest files until there are at most `limit` bytes.

    Write the number of files and their bytes to "size", and those of `names` that are there still to "names".
    """
    kept, total = [], 0
    for name, stat in sorted(entries(cache), key=lambda entry: -entry[1].st_ctime_ns):
        if total + stat.st_size > limit:
            os.unlink(os.path.join(cache, name))
        else:
            kept.append(name)
            total += stat.st_size
    write(os.path.join(cache, "names"), "".join(f"{name} {names[name]}\n" for name in kept if name in names))
    write(os.path.join(cache, "size"), f"{len(kept)} {total}\n")


def write(path: str, text: str) -> None:
    """Write a file, whole or not at all."""
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.rename(f"{path}.new", path)


def known_names(cache: str) -> dict[str, str]:
    """Return the content of the file "names": {SHA-256: CRC-32}."""
    try:
        with open(os.path.join(cache, "names")) as file:
            return dict(line.split() for line in file)
    except (FileNotFoundError, ValueError):
        return {}


def entries(cache: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the name and the stat of each file in the cache."""
    with os.scandir(cache) as found:
        yield from ((entry.name, entry.stat(follow_symlinks=False)) for entry in found if len(entry.name) == HASH)


def inputs(folder: str) -> Iterator[tuple[str, str]]:
    """Yield (folder of the batch, path) of a run's inputs: the regular files in its folders *.in."""
    for batch in sorted(os.listdir(folder)):
        if batch.endswith(".in"):
            top = os.path.join(folder, batch)
            for base, _, names in os.walk(top):
                yield from ((top, path) for name in names if os.path.isfile(path := os.path.join(base, name)))


def digest(path: str) -> str:
    """Return the SHA-256 of a file's content."""
    found = hashlib.sha256()
    with open(path, "rb", 0) as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def show(cache: str) -> None:
    """Print a line "SIZE TIME CRC" for each file; TIME is that of its last change (nanoseconds since 1970)."""
    names = known_names(cache)
    for name, stat in entries(cache):
        print(stat.st_size, stat.st_mtime_ns, names.get(name, "00000000"))


def place(cache: str, folder: str, wanted: list[bytes]) -> None:
    """Put files into a folder, and print the index of each file that was put there.

    `wanted` has three items for each file: SHA-256, time of last change (nanoseconds since 1970), path.
    """
    top = os.fsencode(folder)
    os.makedirs(top, FOLDER, exist_ok=True)
    for index in range(len(wanted) // 3):
        name, time, path = wanted[3 * index : 3 * index + 3]
        source, target = os.path.join(os.fsencode(cache), name), os.path.join(top, path)
        try:
            if digest(os.fsdecode(source)) != name.decode():
                os.unlink(source)  # it was changed or damaged
                continue
            os.makedirs(os.path.dirname(target), FOLDER, exist_ok=True)
            link(source, target, int(time))
        except OSError:  # it is not there, or there is no room for a link: it will be sent
            continue
        print(index)


def link(source: bytes, target: bytes, time: int) -> None:
    """Make a hard link to a file, or a copy if its time of last change is not `time` (nanoseconds since 1970)."""
    if os.stat(source).st_mtime_ns == time:
        os.link(source, target)
        return
    temporary = target + b".part"
    try:
        with open(source, "rb") as old, open(temporary, "xb") as new:
            while piece := old.read(PIECE):
                new.write(piece)
        os.chmod(temporary, FILE)
        os.utime(temporary, ns=(time, time))
        os.rename(temporary, target)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def main(command: str, cache: str, *words: str) -> None:
    """Do what the command line says."""
    os.umask(0o022)
    if command == "keep":
        keep(cache, int(words[0]), words[1])
    elif command == "list":
        show(cache)
    else:
        place(cache, words[0], sys.stdin.buffer.read().split(b"\0")[:-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
