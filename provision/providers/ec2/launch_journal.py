"""Launches that were begun and not seen through, in a file of the fleet's folder."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

from fanrun.fleet.private_files import write_private
from provision.providers.ec2.api import LAG


class LaunchJournal:
    """The client tokens of launches: noted before the call, so that whatever happens then it is known of."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tokens(self) -> set[str]:
        """Return the tokens of launches that may have made instances."""
        return self._read()[0]

    def add(self) -> str:
        """Note a launch that begins now; return its token."""
        token = secrets.token_hex(16)
        self._write({*self.tokens(), token})
        return token

    def remove(self, token: str) -> None:
        """Forget a launch that made no instances."""
        self._write(self.tokens() - {token})

    def clear(self) -> None:
        """Forget all launches."""
        self._path.unlink(missing_ok=True)

    def listing_delay(self) -> float:
        """Return for how many seconds new instances may still be missing in listings; 0 or less if for none."""
        return self._read()[1] + LAG - time.time()

    def _read(self) -> tuple[set[str], float]:
        """Return the tokens, and when the last one was noted.

        A file that can't be read stands for a launch that no listing shows, so that it is waited for.
        """
        try:
            data = json.loads(self._path.read_text("utf-8"))
            return set(map(str, data["tokens"])), float(data["time"])
        except FileNotFoundError:
            return set(), 0.0
        except (ValueError, TypeError, KeyError):
            return {"unknown"}, self._path.stat().st_mtime

    def _write(self, tokens: set[str]) -> None:
        write_private(self._path, json.dumps({"tokens": sorted(tokens), "time": time.time()}).encode())
