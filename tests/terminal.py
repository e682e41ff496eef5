"""A program at a terminal, and a person who answers it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Talk:
    """What a program left: its exit code, and all that it wrote to the terminal."""

    code: int
    text: str


def talk(
    argv: Sequence[str], environment: Mapping[str, str], prompt: str, answer: bytes, *, cwd: Path, seconds: float = 120
) -> Talk:
    """Run a program at a terminal of its own and give the answer once the prompt is there."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        argv, cwd=cwd, env=dict(environment), stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
    )  # fmt: skip
    os.close(slave)
    text, waiting, end = b"", True, time.monotonic() + seconds
    try:
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
            if waiting and prompt.encode() in text:
                waiting = False
                os.write(master, answer)
        return Talk(process.wait(max(1.0, end - time.monotonic())), text.decode(errors="replace").replace("\r\n", "\n"))
    finally:
        os.close(master)
        if process.poll() is None:
            process.kill()
            process.wait()
