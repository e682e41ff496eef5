"""Commands of this machine that a run starts, waits for, and can end all at once."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

TERMINATE_SECONDS = 3.0
# For each piece that it sends ssh gets a buffer of some hundred KB and gives it back; glibc does that by the kernel,
# page by page, a third of all the CPU that ssh takes, unless told to keep them: man 3 mallopt.
KEEP_BUFFERS = {"MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2), "MALLOC_TRIM_THRESHOLD_": str(64 * 1024**2)}
SSH_FAILED = 255
"""The exit code by which ssh tells that it was not the remote command that failed."""


@dataclass(frozen=True)
class CommandResult:
    """How a command ended; `error` is what it wrote to standard error, `noise` what the login on a host printed."""

    exit_code: int
    output: bytes
    error: str
    noise: str = ""

    @property
    def reason(self) -> str:
        """The last line it wrote to standard error, or what its exit code says."""
        lines = [line for line in self.error.splitlines() if line.strip()]
        if not lines and self.exit_code == SSH_FAILED:
            return "the SSH connection was lost"
        return lines[-1].strip() if lines else f"exit {self.exit_code}"


class Stopped(Exception):
    """The run is being stopped: nothing new is started."""


class Executor:
    """Starts commands and knows which are running, so that `stop` can end them.

    Output goes to files, not pipes: a shared SSH connection goes to the background with its
    standard error still open, and a pipe would not end before it does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[subprocess.Popen[bytes], str] = {}
        self._stopped: set[str] = set()

    def call(
        self, argv: Sequence[str | bytes], *, stdin: bytes = b"", timeout: float | None = None, group: str = ""
    ) -> CommandResult:
        """Run a command to its end; one that lasts over `timeout` seconds is ended with code 124.

        Raises Stopped when its group, or everything, is being stopped.
        """
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            process = self._start(argv, (given, out, err), group)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                _end(process)
                code = 124
            finally:
                with self._lock:
                    del self._running[process]
            if self._is_stopped(group):
                raise Stopped
            out.seek(0)
            err.seek(0)
            return CommandResult(code, out.read(), err.read().decode(errors="replace"))

    def _start(self, argv: Sequence[str | bytes], files: Sequence[IO[bytes]], group: str) -> subprocess.Popen[bytes]:
        """Start a command with these files as standard input, output and error; raise Stopped if it may not start."""
        stdin, stdout, stderr = files
        with self._lock:
            if self._is_stopped(group):
                raise Stopped
            # A session of its own: Ctrl-C reaches Fanrun, which decides what to end.
            process = subprocess.Popen(
                argv, stdin=stdin, stdout=stdout, stderr=stderr, env=os.environ | KEEP_BUFFERS, start_new_session=True
            )
            self._running[process] = group
        return process

    def stop(self, group: str = "") -> None:
        """End every running command, or those of a group, and start no more of them."""
        with self._lock:
            self._stopped.add(group)
            running = [process for process, its in self._running.items() if group in ("", its)]
        for process in running:
            process.terminate()
        for process in running:
            _end(process)

    def _is_stopped(self, group: str) -> bool:
        return not self._stopped.isdisjoint({"", group})


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a command to end, and make it after TERMINATE_SECONDS seconds."""
    process.terminate()
    try:
        process.wait(TERMINATE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
