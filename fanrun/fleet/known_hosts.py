"""The known_hosts file of a fleet: which host key is accepted at which address."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from fanrun.fleet.model import Host, known_as
from fanrun.fleet.private_files import write_private

FIRST = "first-login"
_CHANGING = threading.Lock()
"""Held while a file is changed: many hosts are set up at once."""


class KnownHosts:
    """The host keys that are pinned in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pin(self, address: str, port: int, public_key: str, *, first: bool = False, keep: bool = False) -> None:
        """Make `public_key` ("ssh-ed25519 AAAA…") the one key accepted at that address; `keep`: besides others.

        `first` is one for the first login alone, that others than the host may have read.
        """
        place = known_as(address, port)
        with _CHANGING:
            lines = [line for line in self._lines() if keep or line.split(" ")[0] != place]
            lines.append(f"{place} {public_key}{f' {FIRST}' if first else ''}")
            write_private(self._path, "\n".join([*lines, ""]).encode())

    def prefer_next(self, address: str, port: int = 22) -> bool:
        """Put the key that stands first for that address behind its others; False if there are none.

        Paramiko accepts the first one alone.
        """
        place = known_as(address, port)
        with _CHANGING:
            lines = self._lines()
            mine = [line for line in lines if line.split(" ")[0] == place]
            if len(mine) > 1:
                lines.remove(mine[0])
                write_private(self._path, "\n".join([*lines, mine[0], ""]).encode())
            return len(mine) > 1

    def is_first(self, address: str, port: int = 22) -> bool:
        """Whether a key for the first login alone is accepted at that address."""
        place = known_as(address, port)
        return any(line.startswith(f"{place} ") and line.endswith(f" {FIRST}") for line in self._lines())

    def keep_only(self, hosts: Iterable[Host]) -> None:
        """Drop the keys of addresses where none of these hosts is: another machine may come to be there."""
        if self._path.exists():
            places = {known_as(host.address, host.port) for host in hosts}
            lines = [line for line in self._lines() if line.split(" ")[0] in places]
            write_private(self._path, "".join(f"{line}\n" for line in lines).encode())

    def has(self, address: str, port: int = 22) -> bool:
        """Whether the file has a key for that address."""
        place = known_as(address, port)
        return any(line.split(" ")[0] == place for line in self._lines())

    def key(self, address: str, port: int = 22) -> str:
        """The key that the file has first for that address, "ssh-ed25519 AAAA…"; "" if it has none."""
        place = known_as(address, port)
        return next((" ".join(line.split(" ")[1:3]) for line in self._lines() if line.split(" ")[0] == place), "")

    def places(self) -> set[str]:
        """The addresses that the file has keys for, as `known_as` writes them."""
        return {line.split(" ")[0] for line in self._lines()}

    def _lines(self) -> list[str]:
        return self._path.read_text("utf-8", "replace").splitlines() if self._path.exists() else []
