"""What a host sends is read up to a bound, in bytes and in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fanrun.fleet.channel import STDERR, Collected, TooMuch, collect


class Host:
    """A command on a host, which sends these pieces; each takes a second."""

    def __init__(self, out: Iterator[bytes], error: Iterator[bytes], code: int | None = 0) -> None:
        self.out, self.error, self.code = out, error, code
        self.now, self.left = 0.0, 0.0
        self.status_event = threading.Event()
        if code is not None:
            self.status_event.set()

    def settimeout(self, timeout: float | None) -> None:
        assert timeout is not None
        self.left = timeout

    def recv(self, nbytes: int) -> bytes:
        self.now += 1
        return next(self.out, b"")[:nbytes]

    def recv_stderr(self, nbytes: int) -> bytes:
        self.now += 1
        return next(self.error, b"")[:nbytes]

    def recv_exit_status(self) -> int:
        assert self.code is not None
        return self.code


def endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def collected(host: Host, most: int = 100, seconds: float = 1000) -> Collected:
    return collect(host, most, seconds, lambda: host.now)


def test_what_comes_is_returned() -> None:
    assert collected(Host(iter([b"caf\xc3", b"\xa9"]), iter([b"x"]), 3)) == Collected("caf\u00e9", "x", 3)
    assert collected(Host(iter([b"x" * 100]), iter(()))) == Collected("x" * 100, "", 0)


def test_what_does_not_end_is_too_much() -> None:
    host = Host(endless(b"x" * 30), iter(()))
    with pytest.raises(TooMuch, match="more than the 100 bytes"):
        collected(host)
    assert host.now == 4


def test_standard_error_that_does_not_end_is_cut() -> None:
    assert len(collected(Host(iter([b"a"]), endless(b"x" * 1000))).error) <= STDERR + 1000


def test_a_host_that_sends_little_for_ever_is_not_waited_for() -> None:
    host = Host(endless(b"x"), iter(()))
    with pytest.raises(TimeoutError, match="within 20 s"):
        collected(host, seconds=20)
    assert host.left == 1, "the last piece is not waited for longer than that"


def test_a_host_that_never_says_how_the_command_ended_is_not_waited_for() -> None:
    with pytest.raises(TimeoutError, match="no exit code"):
        collected(Host(iter([b"a"]), iter(()), None), seconds=2.01)
