"""What a command on a host writes, read up to a bound: a host may send more than was asked for, and without an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

PIECE = 64 * 1024
STDERR = 64 * 1024
"""Bytes of standard error that are read; the rest is of no use."""


class TooMuch(Exception):
    """A host sends more than was asked for."""


class Channel(Protocol):
    """The part of paramiko's Channel that is used here."""

    def settimeout(self, timeout: float | None) -> None:
        """Let reading end with TimeoutError after so many seconds."""

    def recv(self, nbytes: int) -> bytes:
        """Read at most so many bytes of standard output; none at its end."""

    def recv_stderr(self, nbytes: int) -> bytes:
        """Read at most so many bytes of standard error; none at its end."""

    def recv_exit_status(self) -> int:
        """Wait for the exit code and return it; below 0 if the connection was lost."""

    @property
    def status_event(self) -> threading.Event:
        """Set once the exit code is known."""


@dataclass(frozen=True)
class Collected:
    """What a command wrote to both streams, and its exit code; below 0 if the connection was lost."""

    out: str
    error: str
    exit_code: int


def collect(channel: Channel, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> Collected:
    """Read a channel to its end.

    Raises TooMuch beyond `most` bytes, and TimeoutError where it has not ended within so many seconds.
    """
    end = clock() + seconds

    def read(receive: Callable[[int], bytes], limit: int) -> bytes:
        """Return all that comes, but no more than one piece over the limit."""
        pieces, size = list[bytes](), 0
        while size <= limit:
            if (left := end - clock()) <= 0:
                raise TimeoutError(f"no end of what it sends within {seconds:g} s")
            channel.settimeout(left)
            if not (piece := receive(PIECE)):
                break
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    out = read(channel.recv, most)
    if len(out) > most:
        raise TooMuch(f"it sends more than the {most} bytes that were asked for")
    error = read(channel.recv_stderr, STDERR)
    if not channel.status_event.wait(max(0.0, end - clock())):  # to ask for the code would wait without an end
        raise TimeoutError(f"no exit code within {seconds:g} s")
    code = channel.recv_exit_status()
    return Collected(out.decode(errors="replace"), error.decode(errors="replace"), code)
