"""Signs of life: a worker that stops giving them is lost, whatever else it seems to do."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from dataclasses import dataclass

from fanout import commands
from fanout.link import Link
from provision import shell

MARK = shell.MARK.encode()
EVERY = 5
"""Seconds between two signs: each is a question to Docker, which takes CPU there."""
SILENCE = 12.0
"""Seconds without a sign after which a worker is given up."""
LATE = 124
"""What timeout(1) exits with when the question to Docker lasts too long."""
FULL = 16 * 1024 * 1024
"""A worker with fewer bytes free than this can't work."""


@dataclass
class _Beat:
    process: subprocess.Popen[bytes]
    pipe: int
    last: float
    text: bytes = b""
    begun: bool = False
    """Whether the signs have begun; what came before them, a login printed."""

    def hear(self, data: bytes) -> bytes:
        """Take in what has come; return the last signs, b"" before the first."""
        text = self.text + data
        if not self.begun:
            _, mark, after = text.partition(MARK)
            self.begun = bool(mark)
            text = after if mark else text
        self.text = text[-200:]
        return self.text if self.begun else b""


class Watch:
    """Listens to the workers' signs of life; for one thread alone."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._beats: dict[str, _Beat] = {}

    def add(self, link: Link, run: str) -> None:
        """Listen to a worker from now on, that works for that run."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        argv = link.argv(commands.beat_argv(run, EVERY))
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, start_new_session=True
        )
        os.close(theirs)
        self._beats[link.host] = _Beat(process, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, link.host)

    def drop(self, name: str) -> None:
        """Listen to it no more; harmless if nobody does."""
        beat = self._beats.pop(name, None)
        if beat is not None:
            self._selector.unregister(beat.pipe)
            os.close(beat.pipe)
            beat.process.kill()
            beat.process.wait()

    def check(self) -> dict[str, str]:
        """Read what has come, without waiting: {worker: what is wrong} of those that are to be given up."""
        wrong = {}
        for key, _ in self._selector.select(0):
            beat = self._beats[key.data]
            beat.last = time.monotonic()
            data = os.read(key.fd, 65536)
            reason = verdict(beat.hear(data)) if data else "its SSH connection ended"
            if reason:
                wrong[str(key.data)] = reason
        for name, beat in self._beats.items():
            silent = time.monotonic() - beat.last
            if silent > SILENCE:
                wrong.setdefault(name, f"no sign of life for {silent:.0f} s")
        return wrong

    def close(self) -> None:
        """Listen to nobody any more."""
        for name in list(self._beats):
            self.drop(name)
        self._selector.close()


def verdict(text: bytes) -> str:
    """What is wrong by the last whole lines of signs, as commands.BEAT writes them; "" if nothing is.

    A Docker that is late once may only be busy.
    """
    found = [line.split() for line in text.split(b"\n")[:-1]]
    lines = [tuple(map(int, line)) for line in found if len(line) == 3 and all(word.isdigit() for word in line)]
    if not lines:
        return ""
    docker, blocks, size = lines[-1]
    if docker not in (0, LATE) or [line[0] for line in lines[-2:]] == [LATE, LATE]:
        return "its Docker does not answer"
    free = blocks * size
    return f"its disk is full ({free // 1024**2} MB free)" if free < FULL else ""
