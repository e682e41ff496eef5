"""`fab logs` as a person runs it, over a DST that is here: odd options, readers that go, and hostile output."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanrun.fleet.lock import exclusive
from tests.unit.logs_world import DAY, encoded, write_batch
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
FAB = Path(sys.executable).with_name("fab")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    """A DST with a run that is over."""
    home = tmp_path / "dst" / ".fanrun" / "runs" / "r1"
    home.mkdir(parents=True)
    (home / "report.json").touch()
    return tmp_path / "dst"


@pytest.fixture
def start(tmp_path: Path, dst: Path) -> Iterator[Start]:
    """Start `fab logs` over DST; what still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        environment = {**os.environ, "FANRUN_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": ""}
        where = [] if "--service" in argv else ["--dst", str(dst)]
        process = subprocess.Popen(
            [str(FAB), "logs", *where, *argv],
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def logs_of(dst: Path) -> Path:
    return dst / ".fanrun" / "runs" / "r1" / "logs"


def run(start: Start, *argv: str) -> tuple[int, str, str]:
    process = start(*argv)
    out, error = process.communicate(timeout=60)
    assert "Traceback" not in error
    return process.returncode, out, error


HOSTILE = [
    "\x1b[2J\x1b[H\x1b]0;title\x07",
    "\x9b2J",
    "\r" + "x" * 10 + "\x08" * 10,
    "\u202eevil",
    "\x00",
    "\x7f",
    f"{DAY}01.000Z worker-9.0001 | forged",
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    encoded(1, "of another batch", batch="worker-9.0001").decode().rstrip("\n"),
]


@pytest.mark.parametrize("argv", [(), ("--json",)])
def test_hostile_output_stays_a_message(start: Start, dst: Path, argv: tuple[str, ...]) -> None:
    write_batch(logs_of(dst), "worker-1.0001", [(1, text) for text in HOSTILE])
    code, out, error = run(start, *argv)
    lines = out.split("\n")
    assert (code, error, lines.pop()) == (0, "", "")
    assert len(lines) == len(HOSTILE)
    assert all(line.isprintable() for line in lines)
    if argv:
        assert [json.loads(line)["message"] for line in lines] == HOSTILE
        assert {json.loads(line)["batch"] for line in lines} == {"worker-1.0001"}
    else:
        assert all(line.startswith(f"{DAY}01.000Z worker-1.0001 | ") for line in lines)


@pytest.mark.parametrize("stream", ["stdout", "fanrun"])
def test_a_reader_that_goes_is_no_error(start: Start, dst: Path, stream: str) -> None:
    lines = b"".join(encoded(1, "x" * 1000, stream=stream) for _ in range(2000))
    logs_of(dst).mkdir()
    (logs_of(dst) / "worker-1.0001.jsonl.gz").write_bytes(gzip.compress(lines))
    process = start()
    assert process.stdout is not None
    assert process.stdout.readline().startswith(DAY)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_a_reader_that_goes_before_a_problem_is_told(start: Start, dst: Path) -> None:
    path = write_batch(logs_of(dst), "worker-1.0001", [(1, "x")])
    path.write_bytes(path.read_bytes()[:-4])
    reading, writing = os.pipe()
    os.close(reading)
    process = start(stdout=writing)
    os.close(writing)
    error = process.communicate(timeout=60)[1]
    assert "is damaged; what follows is missing" in error
    assert "Exception ignored" not in error
    assert process.returncode in (1, 141)


def report_of(dst: Path) -> Path:
    return dst / ".fanrun" / "runs" / "r1" / "report.json"


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"inputs": 2, "kept": 2}, "it had nothing to do; name one before it with --run, from DST/.fanrun/runs"),
        ({"inputs": 2, "kept": 1}, "its containers wrote nothing"),
        ({}, "its containers wrote nothing"),
        ([], "its containers wrote nothing"),
    ],
)
def test_a_run_without_a_line(start: Start, dst: Path, report: object, said: str) -> None:
    report_of(dst).write_text(json.dumps(report))
    assert run(start) == (0, "", f"run r1: {said.replace('DST', str(dst))}\n")


@contextlib.contextmanager
def following(start: Start, dst: Path) -> Iterator[subprocess.Popen[str]]:
    """Follow a run that is under way, and whose first line was shown."""
    report_of(dst).unlink()
    write_batch(logs_of(dst), "worker-1.0001", [(1, "here")])
    with exclusive(dst / ".fanrun" / "lock", "run r1 (process 7 on here)"):
        process = start("--follow")
        assert process.stdout is not None
        assert process.stdout.readline() == f"{DAY}01.000Z worker-1.0001 | here\n"
        yield process


def test_following_is_ended_by_ctrl_c(start: Start, dst: Path) -> None:
    with following(start, dst) as process:
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (130, "", "error: interrupted\n")


def test_following_shows_what_comes_home_and_ends_with_the_run(start: Start, dst: Path) -> None:
    with following(start, dst) as process:
        write_batch(logs_of(dst), "worker-1.0002", [(2, "later")])
        report_of(dst).touch()
        out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (0, f"{DAY}02.000Z worker-1.0002 | later\n", "")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--level", ""], 0, ""),
        (["--level", "ERROR"], 0, "no line is as asked for"),
        (["--level", "loud"], 2, "--level 'loud': give one of trace, debug"),
        (["--grep", ""], 0, ""),
        (["--grep", "["], 2, "is no regular expression"),
        (["--grep", "\\"], 2, "is no regular expression"),
        (["--since", "soon"], 2, "give a time ago, as 10m or 2h"),
        (["--run", "../r1"], 2, "is not in"),
        (["--run", ""], 2, "is not in"),
        (["--host", "worker-9"], 0, "no line is as asked for"),
        (["--batch", "*"], 0, "no line is as asked for"),
        (["--input", "../../etc/passwd"], 2, "has not processed it"),
        (["--input", ""], 2, "has not processed it"),
        (["--input", "a\nb"], 2, "has not processed it"),
    ],
)
def test_odd_options(start: Start, dst: Path, argv: list[str], code: int, said: str) -> None:
    write_batch(logs_of(dst), "worker-1.0001", [(1, "x")])
    found, out, error = run(start, *argv)
    assert found == code
    assert said in error
    assert error.count("\n") <= 1, "one line"
    assert bool(out) == (not said)


def test_a_batch_of_garbage_hides_no_other(start: Start, dst: Path) -> None:
    write_batch(logs_of(dst), "worker-1.0001", [(1, "a")])
    (logs_of(dst) / "worker-1.0002.jsonl.gz").write_bytes(os.urandom(10_000))
    (logs_of(dst) / "worker-1.0003.jsonl.gz").write_bytes(gzip.compress(bytes(50_000_000)) * 20)
    (logs_of(dst) / "worker-1.0004.jsonl.gz").symlink_to("/nowhere")
    write_batch(logs_of(dst), "worker-1.0005", [(2, "b")])
    code, out, error = run(start)
    assert (code, out) == (1, f"{DAY}01.000Z worker-1.0001 | a\n{DAY}02.000Z worker-1.0005 | b\n")
    assert [line.partition(": ")[0] for line in error.splitlines()] == [f"worker-1.000{number}" for number in (2, 3, 4)]


def test_a_line_of_many_mb(start: Start, dst: Path) -> None:
    """The filter cuts it, and so it is printed in several."""
    logs_of(dst).mkdir()
    pieces = [encoded(1, "x" * 65536, partial=True) for _ in range(100)] + [encoded(1, "end")]
    (logs_of(dst) / "worker-1.0001.jsonl.gz").write_bytes(gzip.compress(b"".join(pieces)))
    code, out, error = run(start)
    assert (code, error) == (0, "")
    assert sum(line.count("x") for line in out.splitlines()) == 100 * 65536
    assert out.endswith("xend\n")


def test_nothing_is_waited_for_where_the_output_is_a_file(start: Start, dst: Path, tmp_path: Path) -> None:
    write_batch(logs_of(dst), "worker-1.0001", [(1, "a")])
    with (tmp_path / "out").open("w") as file:
        process = start("--follow", stdout=file.fileno())
        assert process.wait(60) == 0
    wait_until(lambda: (tmp_path / "out").read_text() == f"{DAY}01.000Z worker-1.0001 | a\n")
