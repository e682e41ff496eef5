"""Heartbeats: a worker whose signs of life stop is lost, whatever else it seems to do."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from fanrun.fanout import run_commands
from fanrun.fanout.schedule.jobs import Sample
from fanrun.fanout.workers.link import Link
from fanrun.fanout.workers.usage import UsageMeter
from fanrun.fleet import shell

MARK = shell.MARK.encode()
INTERVAL = 5
"""Seconds between two signs: each is a question to Docker, which takes CPU there."""
MAX_SILENCE = 12.0
"""Seconds without a sign after which a worker is given up, if it isn't busy."""
BUSY_LOAD = 4.0
"""The load for each processor from which on a worker gets more time, in proportion."""
MAX_PATIENCE = 5.0
"""How many times as much time it gets at the most."""
MAX_GAPS = 2.0
"""How many times the last time between two signs it may be silent."""
MAX_STEP = 1.0
"""Seconds between two looks that count at the most: where this machine was held up, signs may be waiting."""
TIMED_OUT = 124
"""What timeout(1) exits with when the question to Docker lasts too long."""
MIN_FREE_BYTES = 16 * 1024 * 1024
"""A worker with fewer bytes free than this can't work."""


NOTICE = re.compile(rb"^notice (terminate|stop|hibernate) ([0-9]{4}-[0-9-]{5}T[0-9:]{8}Z)\n", re.MULTILINE)
"""Amazon's announcement that it ends a spot instance, and when (UTC): spot_notice.py writes it."""
KEPT_BYTES = 1000
"""Bytes of the last signs that are kept."""
TIMED_OUT_ANSWERS = 2
"""A Docker that is late so many times in a row does not answer."""


class Sign(NamedTuple):
    """A sign of life: what the question to Docker exited with, the bytes free, the load for each processor."""

    docker: int
    free: int
    load: float

    @property
    def patience(self) -> float:
        """How many times the usual time it gets."""
        return min(max(self.load / BUSY_LOAD, 1.0), MAX_PATIENCE)


@dataclass
class _Listener:
    process: subprocess.Popen[bytes]
    pipe: int
    silent: float = 0.0
    gap: float = 0.0
    text: bytes = b""
    meter: UsageMeter = field(default_factory=UsageMeter)
    started: bool = False
    """Whether the signs have started; a login may print text before them."""

    def hear(self, data: bytes) -> bytes:
        """Take in what has come; return the last signs, b"" before the first."""
        text = self.text + data
        if not self.started:
            _, mark, after = text.partition(MARK)
            self.started = bool(mark)
            text = after if mark else text
        if self.started:
            text = self.meter.take(text)
        self.text = text[-KEPT_BYTES:]
        self.gap, self.silent = self.silent, 0.0
        return self.text if self.started else b""

    @property
    def patience(self) -> float:
        """Seconds that it may be silent."""
        signs = parse(self.text) if self.started else []
        return min(
            max(MAX_SILENCE * (signs[-1].patience if signs else 1.0), MAX_GAPS * self.gap), MAX_PATIENCE * MAX_SILENCE
        )


class Heartbeat:
    """Listens to the workers' signs of life; used by one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._listeners: dict[str, _Listener] = {}
        self._looked = time.monotonic()

    def add(self, link: Link, run: str, *, usage: bool = False) -> None:
        """Listen from now on to a worker of that run; with `usage` also to what its containers use."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        argv = link.argv(run_commands.heartbeat_argv(run, INTERVAL, usage=usage, layout=link.layout))
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, start_new_session=True
        )
        os.close(theirs)
        self._listeners[link.host] = _Listener(process, ours)
        self._selector.register(ours, selectors.EVENT_READ, link.host)

    def drop(self, name: str) -> None:
        """Stop listening to a worker; harmless if nobody listens."""
        listener = self._listeners.pop(name, None)
        if listener is not None:
            self._selector.unregister(listener.pipe)
            os.close(listener.pipe)
            listener.process.kill()
            listener.process.wait()

    def check(self) -> dict[str, str]:
        """Read what has come, without waiting: {worker: what is wrong} of those that are to be given up."""
        wrong = {}
        before, self._looked = self._looked, time.monotonic()
        for listener in self._listeners.values():
            listener.silent += min(self._looked - before, MAX_STEP)
        for key, _ in self._selector.select(0):
            listener = self._listeners[key.data]
            data = os.read(key.fd, 65536)
            reason = verdict(listener.hear(data)) if data else "its SSH connection ended"
            if reason:
                wrong[str(key.data)] = reason
        for name, listener in self._listeners.items():
            if listener.silent > listener.patience:
                wrong.setdefault(name, f"no sign of life for {listener.silent:.0f} s")
        return wrong

    def notices(self) -> dict[str, str]:
        """Return what is announced of workers that their provider will end, for people."""
        return {name: text for name, listener in self._listeners.items() if (text := announced(listener.text))}

    def samples(self) -> dict[str, list[Sample]]:
        """Return what each worker's containers used since the last time."""
        return {name: samples for name, listener in self._listeners.items() if (samples := listener.meter.read())}

    def close(self) -> None:
        """Stop listening to all workers."""
        for name in list(self._listeners):
            self.drop(name)
        self._selector.close()


def announced(text: bytes) -> str:
    """Return what a notice among the signs announces, for people; "" if there is none."""
    found = NOTICE.findall(text)
    return f"gets the spot notice: {found[-1][0].decode()} at {found[-1][1].decode()}" if found else ""


def parse(text: bytes) -> list[Sign]:
    """Read the whole lines of signs, as run_commands.HEARTBEAT writes them."""
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
    times = int(TIMED_OUT_ANSWERS * last.patience)
    is_late = len(signs) >= times and all(sign.docker == TIMED_OUT for sign in signs[-times:])
    if last.docker not in (0, TIMED_OUT) or is_late:
        return "its Docker does not answer"
    return f"its disk is full ({last.free // 1024**2} MB free)" if last.free < MIN_FREE_BYTES else ""
