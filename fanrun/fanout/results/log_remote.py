"""Logs that are still on hosts: on workers, and at the hub where they are shipped to it."""

from __future__ import annotations

import base64
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from fanrun.fanout.commands import spool_path
from fanrun.fleet.errors import HostError
from fanrun.fleet.ssh import Remote

CHUNK = 1024 * 1024
"""Bytes of a log that are read at once. Many hosts are read side by side, and each line of ours is shorter."""
NAMES = 64 * 1024
"""Bytes that the names of a run's files at the hub may have."""
# The first line tells whether the file is still the one that was read before; else it is read from its start.
# A line may end in the middle of a character, and what a host writes comes as text.
READ = """
[ -e "$1" ] || exit 0
first=$(head -c 4096 -- "$1" | head -n 1 | cksum) size=$(wc -c <"$1") start=$2
[ "$first" = "${4:-$first}" ] && [ "$size" -ge "$start" ] || start=0
echo "$start $size $first"
tail -c "+$((start + 1))" -- "$1" | head -c "$3" | gzip -1 | base64 -w 0
"""
LIST = 'cd "$1" 2>/dev/null || exit 0; for file in *.jsonl; do [ ! -f "$file" ] || echo "${file%.jsonl}"; done'
OFFSET = re.compile(rb'[{,]"offset":(\d{1,18})[,}]')
"""Where a line at the hub says its place in the worker's log; in a message each quote has a backslash before it."""
BEGIN = b'"spool":"begin"'


@dataclass
class RemoteFile:
    """A log on a host, read from `offset` on, in bytes.

    `is_there`, `is_at_end` and `start` (where it was read from) are about the last look. With `is_bounded` the end is
    where it was at the first look: what a busy run writes may come faster than it is read.
    """

    remote: Remote
    path: str
    is_roots: bool = False
    is_bounded: bool = False
    offset: int = 0
    start: int = 0
    is_there: bool = False
    is_at_end: bool = False
    _first: str = ""
    _end: int | None = None

    def read_more(self) -> bytes:
        """Return the whole lines that have come since the last time, as many as one look brings.

        Raises HostError if the host does not answer, or sends what was not asked for.
        """
        argv = ["sh", "-c", READ, "sh", self.path, str(self.offset), str(CHUNK), self._first]
        answer = self.remote.read(argv, 2 * CHUNK + 1024, sudo=self.is_roots)
        self.is_there = bool(answer.strip())
        if not self.is_there:
            self.is_at_end = True
            return b""
        try:
            data = self._unpack(answer)
        except (ValueError, zlib.error) as error:
            raise HostError(f"what came of {self.path} can't be read ({error})", host=self.remote.host.name) from error
        whole = data[: data.rfind(b"\n") + 1]
        is_short = len(data) < CHUNK
        self.offset = self.start + (len(whole) or (0 if is_short else len(data)))  # no line of ours is so long
        self.is_at_end = is_short or (self.is_bounded and self._end is not None and self.offset >= self._end)
        return whole

    def _unpack(self, answer: str) -> bytes:
        """Return what is in an answer, and note where it is from; ValueError or zlib.error if it is none."""
        head, _, packed = answer.partition("\n")
        start, size, first = head.split(" ", 2)
        if int(start) not in (0, self.offset):
            raise ValueError("it is from another place")
        unpacker = zlib.decompressobj(31)
        data = unpacker.decompress(base64.b64decode(packed), CHUNK + 1)
        if len(data) > CHUNK or not unpacker.eof:
            raise ValueError("it has not the length that was asked for")
        self.start, self._first = int(start), first
        self._end = int(size) if self._end is None else self._end
        return data


def worker_file(remote: Remote, run: str, *, is_bounded: bool) -> RemoteFile:
    """Return a run's log on the worker that wrote it."""
    return RemoteFile(remote, spool_path(run, remote.host.layout), is_bounded=is_bounded)


def list_shipped(hub: Remote, run: str) -> list[str]:
    """Return the workers whose lines of a run were shipped to the hub."""
    return hub.read(["sh", "-c", LIST, "sh", f"{hub.host.layout.logs}/{run}"], NAMES, sudo=True).splitlines()


def hub_file(hub: Remote, run: str, worker: str, *, is_bounded: bool) -> RemoteFile:
    """Return what was shipped to the hub of a run's log on a worker."""
    return RemoteFile(hub, f"{hub.host.layout.logs}/{run}/{worker}.jsonl", is_roots=True, is_bounded=is_bounded)


def split(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a part of a worker's log, each with its place there; the part begins at `start`."""
    for line in io.BytesIO(data):
        yield start, line
        start += len(line)


def split_shipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that the hub has, each with its place in the worker's log, or -1."""
    for line in io.BytesIO(data):
        yield shipped_offset(line), line


def shipped_offset(line: bytes) -> int:
    """Return the place in the worker's log that a line at the hub names, -1 if it names none."""
    found = OFFSET.search(line)
    return int(found[1]) if found else -1


def in_order(data: bytes) -> bytes:
    """Return lines that the hub has in the order of their places in the worker's log.

    What is sent again comes after what follows it. A worker that was made anew begins another log, which follows.
    """
    logs = dict[bytes, int]()
    log, place = 0, -1
    keyed: list[tuple[int, int, bytes]] = []
    for offset, line in split_shipped(data):
        if BEGIN in line:
            log = logs.setdefault(line, len(logs))
        place = offset if offset >= 0 else place  # one that is torn stays where it is
        keyed.append((log, place, line))
    keyed.sort(key=lambda each: each[:2])
    return b"".join(line for _, _, line in keyed)
