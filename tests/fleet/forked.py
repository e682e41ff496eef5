"""`fab` as a fork of a process that has imported everything already: see fork_server.py."""

from __future__ import annotations

import atexit
import functools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.fleet.fork_server import CODE, NUMBER, PROCESS, ROOT, STATUS

SERVER = Path(__file__).with_name("fork_server.py")
READ_AT_START = ("GLIBC_", "LANG", "LC_", "LD_", "LOGURU_", "MALLOC_", "OPENSSL_", "PYTHON")
"""Variables that Python and libraries read when they start: in a fork it is too late for them."""


class ForkServer:
    """The client of one fork server."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self.environment = read_at_start(os.environ)
        with theirs:
            argv = [sys.executable, str(SERVER), str(theirs.fileno())]
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        atexit.register(self.end)

    def end(self) -> None:
        """End it; forks that still run go on."""
        self._control.close()
        self._process.wait()

    def request(self, start: Start, files: Sequence[int]) -> None:
        """Ask for one fork, with its standard input, output, error, and the socket for its status."""
        names = {"argv": list(start.argv), "cwd": str(start.cwd), "environment": dict(start.environment)}
        data = json.dumps({**names, "terminal": start.terminal}).encode()
        with self._lock:
            socket.send_fds(self._control, [NUMBER.pack(len(data))], files)
            self._control.sendall(data)


@dataclass(frozen=True)
class Start:
    """How `fab` is started. With `terminal`, its standard input is the terminal of a session of its own."""

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    terminal: bool = False


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a fork can't be given."""
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}


@functools.lru_cache(maxsize=1)
def server() -> ForkServer:
    """The one of this process; it ends with it."""
    return ForkServer()


def can_fork(start: Start) -> bool:
    """Whether a fork is the same as the program: it has this checkout's modules, and began with these variables."""
    return start.cwd == ROOT and read_at_start(start.environment) == server().environment


class Forked(subprocess.Popen[str]):
    """A `fab` that is a fork, for those who expect a Popen."""

    def __init__(self, start: Start, stdin: int, stdout: int, stderr: int) -> None:
        """Start it; the files stay the caller's."""
        self.args = list(start.argv)
        self.stdin = self.stdout = self.stderr = None
        self.returncode = None
        self._child_created = False  # Popen has nothing to clean up
        self._waiting = threading.Lock()
        self._readers: dict[str, Reader] = {}
        self._status, theirs = socket.socketpair()
        with theirs:
            server().request(start, [stdin, stdout, stderr, theirs.fileno()])
        self.pid = self._receive(PROCESS)

    @classmethod
    def piped(cls, start: Start, stdin: int) -> Forked:
        """Start it with pipes for its output; `stdin` is a file or DEVNULL."""
        (out, out_end), (err, err_end), null = os.pipe(), os.pipe(), os.open(os.devnull, os.O_RDWR)
        try:
            forked = cls(start, null if stdin == subprocess.DEVNULL else stdin, out_end, err_end)
        except BaseException:
            os.close(out)
            os.close(err)
            raise
        finally:
            for file in (out_end, err_end, null):
                os.close(file)
        forked.stdout, forked.stderr = (
            os.fdopen(file, encoding="utf-8", errors="surrogateescape") for file in (out, err)
        )
        return forked

    def _receive(self, expected: bytes) -> int:
        """Return a process ID or a return code; one that is taken for the other would be sent signals."""
        data = self._status.recv(STATUS.size)
        assert len(data) == STATUS.size, "the fork server has ended"
        kind, number = STATUS.unpack(data)
        assert kind == expected, f"the fork has ended with {number} before it began"
        return int(number)

    def poll(self) -> int | None:
        """Return the return code, None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the return code; TimeoutExpired if there is none by then."""
        if not self._waiting.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        try:
            if self.returncode is None:
                self._status.settimeout(timeout)
                self.returncode = self._receive(CODE)
                self._status.close()
        except (BlockingIOError, TimeoutError):
            raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
        finally:
            self._waiting.release()
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:  # noqa: A002 - Popen's name
        """Return the rest of its output when it has ended; it may be called again after a TimeoutExpired."""
        assert input is None
        assert self.stdout
        assert self.stderr
        end = None if timeout is None else time.monotonic() + timeout
        self._readers = self._readers or {"out": Reader(self.stdout), "err": Reader(self.stderr)}
        for reader in self._readers.values():
            reader.join(None if end is None else max(end - time.monotonic(), 0))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if end is None else max(end - time.monotonic(), 0))
        return self._readers["out"].text, self._readers["err"].text


class Reader(threading.Thread):
    """Reads a file to its end and closes it."""

    def __init__(self, file: IO[str]) -> None:
        super().__init__(daemon=True)
        self._file, self.text = file, ""
        self.start()

    def run(self) -> None:
        """Read all of it."""
        with self._file:
            self.text = self._file.read()
