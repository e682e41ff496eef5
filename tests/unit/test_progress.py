"""Progress: plain lines where nobody watches, lines in place on a terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator

import pyte
import pytest

from fanrun.fleet.progress import Board
from tests.waiting import wait_until


def test_lines_are_printed_when_they_change() -> None:
    stream = io.StringIO()
    board = Board(stream=stream)
    for text in ("waiting", "waiting", "ready", "waiting"):
        board.say("hub", text)
    board.close()
    assert stream.getvalue() == "hub        waiting\nhub        ready\nhub        waiting\n"


def test_passing_lines_are_printed_after_a_silence_only() -> None:
    stream = io.StringIO()
    board = Board(stream=stream, pause=3600)
    board.step("hub", "dropped")
    board.say("hub", "kept")
    board.say("hub", "dropped", passing=True)
    assert stream.getvalue() == "hub        kept\n"
    board = Board(stream=stream, pause=0)
    board.step("hub", "step by step")
    assert stream.getvalue().endswith("kept\nhub        step by step\n")


def test_the_whole_is_counted_and_its_end_is_told() -> None:
    stream = io.StringIO()
    board = Board(total=4, unit="images", stream=stream, pause=3600)
    for count in (1, 2, 1):
        board.advance(count)
    (line,) = stream.getvalue().splitlines()
    assert re.fullmatch(r"total      4/4 images, [0-9.]+ images/s", line)


def test_without_a_total_nothing_is_counted() -> None:
    stream = io.StringIO()
    Board(stream=stream).advance(3)
    assert stream.getvalue() == ""


def test_a_whole_that_is_known_late_is_counted_from_where_it_is() -> None:
    stream = io.StringIO()
    board = Board(unit="inputs", stream=stream, pause=0)
    for done in (0, 3, 3, 4):
        board.count(done, 4)
    board.close()
    lines = [line.split(",")[0] for line in stream.getvalue().splitlines()]
    assert lines[0] == "total      0/4 inputs"
    assert lines[-1] == "total      4/4 inputs"


def test_a_written_line_has_one_end() -> None:
    stream = io.StringIO()
    board = Board(stream=stream)
    board.write("WARNING: one\n")
    board.write("two")
    assert stream.getvalue() == "WARNING: one\ntwo\n"


def test_lines_of_many_threads_are_whole() -> None:
    stream = io.StringIO()
    board = Board(stream=stream)

    def work(name: str) -> None:
        for step in range(50):
            board.say(name, f"step {step}")

    threads = [threading.Thread(target=work, args=(f"worker-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 400
    assert all(re.fullmatch(r"worker-\d   step \d+", line) for line in lines)


class Screen:
    """A terminal of so many columns that shows what a board writes, at any time."""

    def __init__(self, columns: int, lines: int = 24) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.raw = b""
        self._feed = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
        self.stream = os.fdopen(slave, "w")
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while block := os.read(self._master, 65536):
                self.raw += block
                self._feed.feed(block)
        except OSError:  # how Linux says that the other side is closed
            pass

    def resize(self, columns: int, lines: int = 24) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def shown(self) -> list[str]:
        """The lines that are not empty."""
        return [line.rstrip() for line in list(self.screen.display) if line.strip()]

    def close(self) -> None:
        self.stream.close()
        self._thread.join(20)
        os.close(self._master)


@pytest.fixture(params=[80, 120])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen(request.param)
    yield screen
    screen.close()


def test_a_terminal_shows_a_bar_and_a_line_a_host(terminal: Screen) -> None:
    board = Board(total=4, unit="files", stream=terminal.stream)
    for text in ("waiting", "ready"):
        for name in ("hub", "worker-1"):
            board.step(name, text)
    board.advance(1)
    wait_until(lambda: any("1/4 files" in line for line in terminal.shown()))
    total, hub, worker = terminal.shown()
    assert re.fullmatch(r"total +\S+ +1/4 files, [0-9.]+ files/s +0:0\d", total)
    assert re.fullmatch(r"hub +ready +0:0\d", hub)
    assert re.fullmatch(r"worker-1 +ready +0:0\d", worker)
    board.write("WARNING: said above\n")
    board.advance(3)
    board.close()
    board.close()
    wait_until(lambda: terminal.shown()[-1:] == ["worker-1   ready"])
    warning, total, hub, worker = terminal.shown()
    assert (warning, hub, worker) == ("WARNING: said above", "hub        ready", "worker-1   ready")
    assert total.startswith("total      4/4 files, ")


def test_the_clock_moves_though_nothing_is_said(terminal: Screen) -> None:
    board = Board(stream=terminal.stream, title="up")
    wait_until(lambda: terminal.shown() and terminal.shown()[0].endswith("0:00"))
    wait_until(lambda: terminal.shown()[0].endswith("0:01"))
    assert re.fullmatch(r"up +[-\\|/] +0:01", terminal.shown()[0])
    board.close()
    wait_until(lambda: not terminal.shown())


def test_a_long_text_and_many_hosts_stay_in_their_lines(terminal: Screen) -> None:
    board = Board(total=10, unit="files", stream=terminal.stream)
    for number in range(60):
        board.say(f"worker-{number}", "x" * 500)
    wait_until(lambda: len(terminal.shown()) > 20)
    assert len(terminal.shown()) <= 24
    terminal.resize(60)
    wait_until(lambda: all(len(line) <= 60 for line in terminal.shown()) and len(terminal.shown()) > 20)
    board.close()


def test_a_terminal_gets_its_bar_when_the_whole_is_known(terminal: Screen) -> None:
    board = Board(unit="inputs", stream=terminal.stream, title="verify")
    for done in range(8):
        board.count(done, 7)
    wait_until(lambda: any("7/7 inputs" in line for line in terminal.shown()))
    board.close()
    assert b"7/7 inputs" in terminal.raw


def test_a_terminal_that_can_not_move_its_cursor_gets_plain_lines(
    terminal: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    board = Board(stream=terminal.stream)
    board.say("hub", "made")
    board.close()
    wait_until(lambda: terminal.shown() == ["hub        made"])
    assert b"\x1b" not in terminal.raw


@pytest.mark.parametrize(("value", "coloured"), [("", True), ("1", False)])
def test_colours_are_left_out_where_somebody_says_so(
    terminal: Screen, monkeypatch: pytest.MonkeyPatch, value: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    board = Board(total=4, unit="files", stream=terminal.stream)
    board.advance(2)
    wait_until(lambda: b"2/4" in terminal.raw)
    board.close()
    assert bool(re.search(rb"\x1b\[[0-9;]*m", terminal.raw.replace(b"\x1b[0m", b""))) == coloured


def test_lines_that_are_said_by_many_threads_do_not_lock_each_other(terminal: Screen) -> None:
    board = Board(total=400, unit="files", stream=terminal.stream)

    def work(name: str) -> None:
        for step in range(50):
            board.say(name, f"step {step}")
            board.write(f"{name}: {step}")
            board.advance(1)

    threads = [threading.Thread(target=work, args=(f"worker-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    board.close()
    wait_until(lambda: terminal.raw.count(b": 49") == 8)
