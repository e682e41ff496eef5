"""A program at a terminal, and a person who answers it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Talk:
    """What a program left: its exit code, and all that it wrote to the terminal."""

    code: int
    text: str


SECONDS = 120
"""How long a program may take."""


def talk(argv: Sequence[str], environment: Mapping[str, str], prompt: str, answer: bytes, *, cwd: Path) -> Talk:
    """Run a program at a terminal of its own and give the answer once the prompt is there."""

    def start(terminal: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(environment),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
        )

    return talk_to(start, prompt, answer)


def talk_to(start: Callable[[int], subprocess.Popen[Any]], prompt: str, answer: bytes) -> Talk:
    """Do the same with a program that `start` starts at the terminal that it is given."""
    master, slave = pty.openpty()
    try:
        process = start(slave)
    finally:
        os.close(slave)
    end = time.monotonic() + SECONDS
    try:
        text = _converse(master, prompt.encode(), answer, end)
        return Talk(process.wait(max(1.0, end - time.monotonic())), text.decode(errors="replace").replace("\r\n", "\n"))
    finally:
        os.close(master)
        if process.poll() is None:
            process.kill()
            process.wait()


def _converse(master: int, prompt: bytes, answer: bytes, end: float) -> bytes:
    """Answer the prompt; return all that is written until the program has ended, or until the time is over."""
    text, waiting = b"", True
    while time.monotonic() < end:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            part = os.read(master, 65536)
        except OSError:  # the program has ended
            break
        if not part:  # the same, on macOS
            break
        text += part
        if waiting and prompt in text:
            waiting = False
            os.write(master, answer)
    return text
