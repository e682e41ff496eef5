"""A `fab` that the tests fork behaves as the installed program does."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.forked import Forked, Start, can_fork
from tests.fleet.harness import FAB, ROOT, Fab
from tests.waiting import wait_until


@pytest.fixture
def fab(tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "nowhere")


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return the exit code, and the output without what differs from one process to another."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, re.sub(r"fanrun-\w+\.log|\d+ms", "", err)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["status"], 2),
        (["status", "--no-such-option"], 2),
        (["no-such-task"], 2),
        (["up", "--hosts=many"], 2),
        (["verify", "--dst", "/nowhere"], 2),
        (["up", "--provider=static", "--scan", "--host=admin@127.0.0.1:9", "--dry-run"], 1),
    ],
)
def test_it_says_and_returns_the_same(fab: Fab, argv: list[str], code: int) -> None:
    forked, program = fab.start(*argv), fab.program().start(*argv)
    assert isinstance(forked, Forked)
    assert not isinstance(program, Forked)
    said = outcome(forked)
    assert said == outcome(program)
    assert said[0] == code, said


def test_a_good_task_of_both(fab: Fab, tmp_path: Path) -> None:
    for name, one in (("forked", fab), ("program", fab.program())):
        one("sample", "--count=3", f"--dst={tmp_path / name}")
    forked, program = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("forked", "program"))
    assert forked == program
    assert len(forked) == 3


SCRIPT = """
import atexit, json, os, random, signal, sys, tempfile, threading
from fabric import task

@task
def look(c):
    print(json.dumps({
        "argv": sys.argv, "path": [each for each in sys.path if each], "cwd": os.getcwd(), "executable": sys.executable,
        "environment": dict(os.environ), "umask": os.umask(0), "files": sorted(os.listdir("/proc/self/fd")),
        "SIGINT": str(signal.getsignal(signal.SIGINT)), "SIGCHLD": str(signal.getsignal(signal.SIGCHLD)),
        "SIGPIPE": str(signal.getsignal(signal.SIGPIPE)), "masked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "temporary": tempfile.gettempdir(), "group": os.getpgrp(), "session": os.getsid(0),
        "terminals": [stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "buffered": [stream.line_buffering for stream in (sys.stdout, sys.stderr)],
        "encodings": [stream.encoding for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "errors": [stream.errors for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "threads": threading.active_count(),
    }, sort_keys=True))

@task
def ends(c, how):
    atexit.register(print, "at the end")
    threading.Timer(0.2, print, ("from a thread",)).start()
    if how == "raise":
        raise ValueError("unexpected")
    if how == "exit":
        raise SystemExit(7)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)

@task
def waits(c):
    print(random.random(), flush=True)
    try:
        threading.Event().wait(60)
    finally:
        print("ended", flush=True)
"""


class Script:
    """The tasks of SCRIPT, by a fork of the checkout's server and by the program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tasks.py").write_text(SCRIPT)
        self.start = Start([], ROOT, {**os.environ, "TMPDIR": str(folder), "SOME": "ü"})

    def forked(self, *argv: str) -> subprocess.Popen[str]:
        start = Start(self._argv(argv), ROOT, self.start.environment)
        assert can_fork(start)
        return Forked.piped(start, subprocess.DEVNULL)

    def program(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._argv(argv),
            cwd=ROOT,
            env=dict(self.start.environment),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _argv(self, argv: tuple[str, ...]) -> list[str]:
        return [str(FAB), f"--search-root={self.folder}", "--collection=tasks", *argv]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_it_sees_the_same(script: Script) -> None:
    (code, out, _), (real_code, real_out, _) = (outcome(start("look")) for start in (script.forked, script.program))
    assert json.loads(out) == json.loads(real_out)
    assert code == real_code == 0


@pytest.mark.parametrize("how", ["well", "raise", "exit", "interrupt", "kill"])
def test_it_ends_the_same_way(script: Script, how: str) -> None:
    (code, out, err), (real_code, real_out, real_err) = (
        outcome(start("ends", how)) for start in (script.forked, script.program)
    )
    assert (code, out) == (real_code, real_out)
    assert err.splitlines()[-1:] == real_err.splitlines()[-1:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signals_reach_it(script: Script, number: signal.Signals) -> None:
    found = []
    for start in (script.forked, script.program):
        process = start("waits")
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        assert process.poll() is None
        process.send_signal(number)
        code, out, _ = outcome(process)
        found.append((code, out))
        process.send_signal(number)  # it has ended: nobody gets it
        assert process.wait() == process.poll() == code
    assert found[0] == found[1]


def test_each_has_its_own_dice(script: Script) -> None:
    processes = [script.forked("waits") for _ in range(2)]
    rolled = {process.stdout.readline() for process in processes if process.stdout}
    for process in processes:
        process.kill()
        process.communicate()
    assert len(rolled) == 2


def test_one_that_is_left_alone_outlives_the_tests_process(tmp_path: Path) -> None:
    """As the program does: the server's end is not the end of its forks."""
    (tmp_path / "tasks.py").write_text(SCRIPT)
    code = f"""
import subprocess
from tests.fleet.forked import *
start = Start({[str(FAB), f"--search-root={tmp_path}", "--collection=tasks", "waits"]}, ROOT, dict(os.environ))
forked = Forked.piped(start, subprocess.DEVNULL)
forked.stdout.readline()
print(forked.pid, server()._process.pid, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    forked, server = map(int, done.stdout.split())
    assert not Path(f"/proc/{server}").exists()
    assert "State:\tS" in Path(f"/proc/{forked}/status").read_text()
    os.kill(forked, signal.SIGKILL)
    wait_until(lambda: not running(forked))


def running(process: int) -> bool:
    """Whether it runs; an init that collects no children leaves it as a zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def test_what_a_fork_can_not_be_is_a_new_process(fab: Fab, tmp_path: Path) -> None:
    for name in ("PYTHONUTF8", "LC_ALL", "LOGURU_LEVEL"):
        process = dataclasses.replace(fab, environment={name: "1"}).start("status")
        assert not isinstance(process, Forked)
        process.communicate()
    elsewhere = Fab(tmp_path / "home", "nowhere", root=tmp_path).start("status")
    assert not isinstance(elsewhere, Forked)
    elsewhere.communicate()


def test_one_that_can_not_begin_has_no_process_id() -> None:
    """Its return code must not be taken for the ID of a process that signals are sent to."""
    impossible = Start([str(FAB), "--version"], ROOT, {**os.environ, "A\0B": ""})
    with pytest.raises(AssertionError, match="the fork has ended with 1 before it began"):
        Forked.piped(impossible, subprocess.DEVNULL)
    assert outcome(Forked.piped(Start([str(FAB), "--version"], ROOT, os.environ), subprocess.DEVNULL))[0] == 0
