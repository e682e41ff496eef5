"""The cache of a worker: files that earlier runs got as inputs, for batches of later runs that need the same.

python3 cache.py keep CACHE LIMIT FOLDER    keep the inputs of the run in FOLDER, which is over
python3 cache.py list CACHE                 print what the files look like
python3 cache.py place CACHE FOLDER         put files into a batch's folder of inputs

The name of a file in CACHE is the SHA-256 of its content.  The file "names" has a CRC-32 of the path that each had as
an input, so that a run can guess which worker has an input before it knows its hash.  A batch has hard links to these
files, and its container can't write to them.  The time of last status change tells when a file was used last: every
link changes it.
"""

from __future__ import annotations

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
    """Move the inputs of a run into the cache, up to `limit` bytes; then the files that were not used longest go."""
    if not os.path.isdir(cache):
        os.mkdir(cache, FOLDER)  # FileNotFoundError where the host is being cleaned
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if limit == QUARTER:
            disk = os.statvfs(cache)
            limit = (disk.f_bavail * disk.f_frsize + sum(size for _, size, _ in entries(cache))) // 4
        room, names = limit, known_names(cache)
        for top, path in inputs(folder):
            found = os.lstat(path)
            if found.st_nlink > 1 or not 0 < found.st_size <= room:  # a second link: it came from the cache
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
    for _, size, path in sorted(entries(cache), reverse=True):
        if total + size > limit:
            os.unlink(path)
        else:
            kept.append(os.path.basename(path))
            total += size
    write(os.path.join(cache, "names"), "".join(f"{name} {names[name]}\n" for name in kept if name in names))
    write(os.path.join(cache, "size"), f"{len(kept)} {total}\n")


def write(path: str, text: str) -> None:
    """Write a file, whole or not at all."""
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.rename(f"{path}.new", path)


def known_names(cache: str) -> dict[str, str]:
    """Return {SHA-256: CRC-32 of its path} of the files of which this is known."""
    try:
        with open(os.path.join(cache, "names")) as file:
            return dict(line.split() for line in file)
    except (FileNotFoundError, ValueError):
        return {}


def entries(cache: str) -> Iterator[tuple[int, int, str]]:
    """Yield (time of last use, size in bytes, path) of each file."""
    with os.scandir(cache) as found:
        for entry in found:
            if len(entry.name) == HASH:
                stat = entry.stat(follow_symlinks=False)
                yield stat.st_ctime_ns, stat.st_size, entry.path


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
    with os.scandir(cache) as found:
        for entry in found:
            if len(entry.name) == HASH:
                stat = entry.stat(follow_symlinks=False)
                print(stat.st_size, stat.st_mtime_ns, names.get(entry.name, "00000000"))


def place(cache: str, folder: str, wanted: list[bytes]) -> None:
    """Put files into a folder, and print the index of each one that is there now.

    `wanted` has three items for each: its SHA-256, its time of last change (nanoseconds since 1970), its path.
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
    """Make a hard link to a file, or a copy if its time of last change has to be another one (nanoseconds)."""
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
