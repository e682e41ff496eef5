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
from collections.abc import Callable

from fanrun.fleet.progress import Board


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
    assert re.fullmatch(r"total      4/4 images, [0-9.]+/s", line)


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


def on_terminal(work: Callable[[Board], None], *, total: int | None = None) -> str:
    """What a board writes to a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    read: list[bytes] = []

    def drain() -> None:
        try:
            while block := os.read(master, 65536):
                read.append(block)
        except OSError:  # how Linux says that the other side is closed
            pass

    reader = threading.Thread(target=drain)
    reader.start()
    with os.fdopen(slave, "w") as stream:
        work(Board(total=total, unit="images", stream=stream))
    reader.join(20)
    os.close(master)
    return b"".join(read).decode()


def test_a_terminal_shows_a_line_a_host_and_a_bar() -> None:
    def work(board: Board) -> None:
        for text in ("waiting", "ready"):
            for name in ("hub", "worker-1"):
                board.say(name, text)
        board.advance(1)
        board.advance(1)
        board.write("WARNING: said above\n")
        board.close()
        board.close()

    text = on_terminal(work, total=2)
    for expected in ("hub        ready", "worker-1   ready", "2/2", "WARNING: said above"):
        assert expected in text
    assert "\x1b[A" in text, "lines are drawn in place"
    assert "\r" in text


def test_a_terminal_gets_its_bar_when_the_whole_is_known() -> None:
    def work(board: Board) -> None:
        board.say("hub", "ready")
        for done in range(8):
            board.count(done, 7)
        board.close()

    text = on_terminal(work)
    assert "7/7" in text
    assert "hub        ready" in text


def test_a_terminal_without_a_total_has_no_bar() -> None:
    def work(board: Board) -> None:
        board.advance(1)
        board.step("hub", "made")
        board.close()

    text = on_terminal(work)
    assert "hub        made" in text
    assert "it/s" not in text
    assert "%" not in text
