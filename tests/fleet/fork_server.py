"""A process that has imported all that `fab` imports, and forks: each fork is a `fab` that starts at once.

The tests start `fab` hundreds of times, and half a second of each start is for imports. See `forked.py` for its client.
A request comes through the socket whose number is the argument: a length, a JSON object, and the files that the new
`fab` has as its standard input, output, error, and for its status. The fork writes its process ID there, and this
process writes the return code as `subprocess` tells it.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import socket
import struct
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

NUMBER = struct.Struct("!i")
STATUS = struct.Struct("!ci")
"""PROCESS with a process ID, or CODE with a return code."""
PROCESS, CODE = b"p", b"c"
ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("boto3", "botocore.session", "fabric.main")


def preload() -> None:
    """Import libraries and the project's packages, but not the fabfile: what it does as it is imported is `fab`'s."""
    for name in LIBRARIES:
        importlib.import_module(name)
    sys.path.append(str(ROOT))
    for name in ("fanrun", "provision"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)
    importlib.import_module("service")
    sys.path.remove(str(ROOT))
    assert threading.active_count() == 1, "a fork would lack the other threads"
    gc.collect()
    gc.freeze()


class Server:
    """Forks for each request, and tells how each fork has ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._statuses: dict[int, int] = {}

    def serve(self) -> None:
        """Answer requests until there are no more, and end then; return in the forks alone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, and for the forks
        signal.signal(signal.SIGCHLD, self._reap)
        while True:
            head, files, _, _ = socket.recv_fds(self._control, NUMBER.size, 4)
            if not head:
                os._exit(0)
            request = json.loads(self._receive(NUMBER.unpack(head)[0]))
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
            child = os.fork()
            if not child:
                self._become(request, files)
                return
            self._statuses[child] = files.pop()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            for file in files:
                os.close(file)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self._control.recv(size - len(data))
        return data

    def _reap(self, number: int, frame: FrameType | None) -> None:
        """Tell of every fork that has ended."""
        for child in list(self._statuses):
            try:
                ended, status = os.waitpid(child, os.WNOHANG)
            except ChildProcessError:  # the handler of another signal came in between, and reported this one
                continue
            if ended:
                file = self._statuses.pop(child)
                with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                    os.write(file, STATUS.pack(CODE, os.waitstatus_to_exitcode(status)))
                os.close(file)

    def _become(self, request: dict[str, Any], files: list[int]) -> None:
        """Make this fork what a new process of the request would be."""
        self._control.close()
        for file in self._statuses.values():
            os.close(file)
        status = files.pop()
        if request["terminal"]:
            os.setsid()
        for usual, file in enumerate(files):
            os.dup2(file, usual)
            os.close(file)
        if request["terminal"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
        tempfile.tempdir = None
        sys.argv = request["argv"]
        sys.orig_argv = [sys.executable, *sys.argv]
        sys.path[0] = os.path.dirname(sys.argv[0])
        for usual, name in enumerate(("stdin", "stdout", "stderr")):
            stream = stream_like(getattr(sys, name), usual)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        os.write(status, STATUS.pack(PROCESS, os.getpid()))
        os.close(status)


def stream_like(old: TextIO, file: int) -> TextIO:
    """Open a standard stream as Python does when it starts, which looks at what it opens."""
    buffered = not os.environ.get("PYTHONUNBUFFERED")
    raw = io.FileIO(file, "w" if file else "r", closefd=False)
    buffer = io.BufferedReader(raw) if file == 0 else io.BufferedWriter(raw) if buffered else raw
    line_buffering = buffered and (file == 2 or raw.isatty())
    return io.TextIOWrapper(buffer, old.encoding, old.errors, "\n", line_buffering, file != 0 and not buffered)


if __name__ == "__main__":
    preload()
    Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    from fabric.main import program  # from here on this is the script `fab`

    sys.exit(program.run())
