"""Logs that are still on hosts: on workers, and at the hub where they are shipped to it."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from fanrun.fanout.commands import LOGS, spool_path
from fanrun.fanout.results.log_lines import Line, parse
from fanrun.fleet.errors import HostError
from fanrun.fleet.ssh import Remote

CHUNK = 8 * 1024 * 1024
# A line may end in the middle of a character, and what a host writes comes as text.
READ = 'tail -c "+$(($2 + 1))" -- "$1" | head -c "$3" | gzip -1 | base64 -w 0'
LIST = 'cd "$1" 2>/dev/null || exit 0; for file in *.jsonl; do [ ! -f "$file" ] || echo "${file%.jsonl}"; done'


@dataclass
class RemoteFile:
    """A log on a host, read from `offset` on, in bytes; `host` is whose lines it has.

    `is_there` and `is_at_end` are about the last look.
    """

    remote: Remote
    path: str
    host: str
    is_roots: bool = False
    offset: int = 0
    is_there: bool = False
    is_at_end: bool = False

    def read_more(self) -> list[Line]:
        """Return the whole lines that have come since the last time, as many as one look brings.

        Raises HostError if the host does not answer.
        """
        argv = ["sh", "-c", f'[ -e "$1" ] || exit 0; {READ}', "sh", self.path, str(self.offset), str(CHUNK)]
        done = self.remote.run(argv, sudo=self.is_roots)
        self.is_there = bool(done.stdout.strip())
        try:
            data = gzip.decompress(base64.b64decode(done.stdout)) if self.is_there else b""
        except (ValueError, EOFError, OSError, zlib.error) as error:
            raise HostError(f"what came of {self.path} can't be read ({error})", host=self.remote.host.name) from error
        self.is_at_end = len(data) < CHUNK
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole) or (0 if self.is_at_end else len(data))  # no line of ours is so long
        return [line for line in map(parse, whole.splitlines()) if line]

    def read_to_end(self) -> Iterator[Line]:
        """Yield all lines that are there and were not read yet."""
        yield from self.read_more()
        while not self.is_at_end:
            yield from self.read_more()


def worker_file(remote: Remote, run: str) -> RemoteFile:
    """Return a run's log on the worker that wrote it."""
    return RemoteFile(remote, spool_path(run), remote.host.name)


def list_shipped(hub: Remote, run: str) -> list[str]:
    """Return the workers whose lines of a run were shipped to the hub."""
    return hub.run(["sh", "-c", LIST, "sh", f"{LOGS}/{run}"], sudo=True).stdout.splitlines()


def hub_file(hub: Remote, run: str, worker: str) -> RemoteFile:
    """Return what was shipped to the hub of a run's log on a worker."""
    return RemoteFile(hub, f"{LOGS}/{run}/{worker}.jsonl", worker, is_roots=True)
