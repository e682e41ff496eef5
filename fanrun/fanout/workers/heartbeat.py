"""Signs of life: a worker that stops giving them is lost, whatever else it seems to do."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from typing import NamedTuple

from fanrun.fanout import commands
from fanrun.fanout.workers.link import Link
from fanrun.fleet import shell

MARK = shell.MARK.encode()
EVERY = 5
"""Seconds between two signs: each is a question to Docker, which takes CPU there."""
SILENCE = 12.0
"""Seconds without a sign after which a worker is given up, if it isn't busy."""
BUSY = 4.0
"""The load for each processor from which on a worker gets more time, in proportion."""
MOST = 5.0
"""How many times as much time it gets at the most."""
GAPS = 2.0
"""How many times the last time between two signs it may be silent."""
DELAY = 1.0
"""Seconds between two looks that count at the most: where this machine was held up, signs may be waiting."""
LATE = 124
"""What timeout(1) exits with when the question to Docker lasts too long."""
FULL = 16 * 1024 * 1024
"""A worker with fewer bytes free than this can't work."""


KEPT = 1000
"""Bytes of the last signs that are kept."""
TIMES = 2
"""A Docker that is late so many times in a row does not answer."""


class Sign(NamedTuple):
    """A sign of life: what the question to Docker exited with, the bytes free, the load for each processor."""

    docker: int
    free: int
    load: float

    @property
    def patience(self) -> float:
        """How many times the usual time it gets."""
        return min(max(self.load / BUSY, 1.0), MOST)


@dataclass
class _Beat:
    process: subprocess.Popen[bytes]
    pipe: int
    silent: float = 0.0
    gap: float = 0.0
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
        self.text = text[-KEPT:]
        self.gap, self.silent = self.silent, 0.0
        return self.text if self.begun else b""

    @property
    def patience(self) -> float:
        """Seconds that it may be silent."""
        signs = parse(self.text) if self.begun else []
        return min(max(SILENCE * (signs[-1].patience if signs else 1.0), GAPS * self.gap), MOST * SILENCE)


class Watch:
    """Listens to the workers' signs of life; for one thread alone."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._beats: dict[str, _Beat] = {}
        self._looked = time.monotonic()

    def add(self, link: Link, run: str) -> None:
        """Listen to a worker from now on, that works for that run."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        argv = link.argv(commands.beat_argv(run, EVERY))
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, start_new_session=True
        )
        os.close(theirs)
        self._beats[link.host] = _Beat(process, ours)
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
        before, self._looked = self._looked, time.monotonic()
        for beat in self._beats.values():
            beat.silent += min(self._looked - before, DELAY)
        for key, _ in self._selector.select(0):
            beat = self._beats[key.data]
            data = os.read(key.fd, 65536)
            reason = verdict(beat.hear(data)) if data else "its SSH connection ended"
            if reason:
                wrong[str(key.data)] = reason
        for name, beat in self._beats.items():
            if beat.silent > beat.patience:
                wrong.setdefault(name, f"no sign of life for {beat.silent:.0f} s")
        return wrong

    def close(self) -> None:
        """Listen to nobody any more."""
        for name in list(self._beats):
            self.drop(name)
        self._selector.close()


def parse(text: bytes) -> list[Sign]:
    """Read the whole lines of signs, as commands.BEAT writes them."""
    found = []
    for line in text.split(b"\n")[:-1]:
        words = line.split()
        if len(words) == 5 and all(word.replace(b".", b"", 1).isdigit() for word in words):
            docker, blocks, size, cpus = (int(float(words[place])) for place in (0, 1, 2, 4))
            found.append(Sign(docker, blocks * size, float(words[3]) / max(cpus, 1)))
    return found


def verdict(text: bytes) -> str:
    """What is wrong by the last whole lines of signs; "" if nothing is.

    A Docker that is late once may only be busy, on a busy worker more often.
    """
    signs = parse(text)
    if not signs:
        return ""
    last = signs[-1]
    times = int(TIMES * last.patience)
    is_late = len(signs) >= times and all(sign.docker == LATE for sign in signs[-times:])
    if last.docker not in (0, LATE) or is_late:
        return "its Docker does not answer"
    return f"its disk is full ({last.free // 1024**2} MB free)" if last.free < FULL else ""
