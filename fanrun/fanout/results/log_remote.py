"""Logs that are still on hosts: on workers, and at the hub where they are shipped to it."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from dataclasses import dataclass

from fanout.commands import LOGS, spool_path
from fanrun.fanout.results.log_lines import Line, parse
from provision.remote import Remote

CHUNK = 8 * 1024 * 1024
# A line may end in the middle of a character, and what a host writes comes as text.
READ = 'tail -c "+$(($2 + 1))" -- "$1" | head -c "$3" | gzip -1 | base64 -w 0'
LIST = 'cd "$1" 2>/dev/null || exit 0; for file in *.jsonl; do [ ! -f "$file" ] || echo "${file%.jsonl}"; done'


@dataclass
class RemoteFile:
    """A log on a host, read from `offset` on, in bytes; `host` is whose lines it has."""

    remote: Remote
    path: str
    host: str
    is_roots: bool = False
    offset: int = 0

    def read_more(self) -> list[Line]:
        """Return the whole lines that have come since the last time, as many as one look brings.

        Raises HostError if the host does not answer.
        """
        argv = ["sh", "-c", f'[ -e "$1" ] || exit 0; {READ}', "sh", self.path, str(self.offset), str(CHUNK)]
        done = self.remote.run(argv, sudo=self.is_roots)
        data = gzip.decompress(base64.b64decode(done.stdout)) if done.stdout.strip() else b""
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [line for line in map(parse, whole.splitlines()) if line]

    def read_to_end(self) -> Iterator[Line]:
        """Yield all lines that are there and were not read yet."""
        while lines := self.read_more():
            yield from lines


def worker_file(remote: Remote, run: str) -> RemoteFile:
    """Return a run's log on the worker that wrote it."""
    return RemoteFile(remote, spool_path(run), remote.host.name)


def list_shipped(hub: Remote, run: str) -> list[str]:
    """Return the workers whose lines of a run were shipped to the hub."""
    return hub.run(["sh", "-c", LIST, "sh", f"{LOGS}/{run}"], sudo=True).stdout.splitlines()


def hub_file(hub: Remote, run: str, worker: str) -> RemoteFile:
    """Return what was shipped to the hub of a run's log on a worker."""
    return RemoteFile(hub, f"{LOGS}/{run}/{worker}.jsonl", worker, is_roots=True)
