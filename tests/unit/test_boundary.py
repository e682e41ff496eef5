"""Errors as one line and an exit code, whatever raised them and wherever."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fanrun.fleet.errors import FanrunError, FleetError, RunUnfinished, ToolMissing, UsageError
from fanrun.fleet.exit_codes import explain
from fanrun.tasks import boundary
from fanrun.tasks.core import CommandLine

ROOT = Path(__file__).resolve().parents[2]
HOME = Path("/home/fleets")
TASK = """
import sys
from fanrun.fleet.exit_codes import explain
from fanrun.tasks import boundary
from fanrun.tasks.console import Console
boundary.install()
with boundary.exit_codes(Console(), 1):
    {body}
"""


def oserror(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("bad"), 2, "bad"),
        (ToolMissing("no ssh", tool="ssh"), 2, "no ssh"),
        (FleetError("none", fleet="x"), 2, "none"),
        (RunUnfinished("left"), 3, "left"),
        (FanrunError("failed"), 7, "failed"),
        (
            oserror(errno.EROFS, f"{HOME}/default"),
            2,
            f"{HOME}/default can't be used: Read-only file system; .*FANRUN_HOME",
        ),
        (oserror(errno.ENOTDIR, str(HOME)), 2, "Not a directory; .*FANRUN_HOME"),
        (oserror(errno.ENOSPC, "/dst/x"), 7, "/dst/x can't be used: No space left on device; make room there"),
        (oserror(errno.ENOSPC), 7, "a file can't be used: No space left on device; make room there"),
        (oserror(errno.EACCES, "/etc/x"), 7, "/etc/x can't be used: Permission denied; change its permissions"),
        (oserror(errno.ENOENT, str(HOME)), 2, "No such file or directory; .*FANRUN_HOME"),
        (oserror(errno.ENOENT, "/x"), 70, "^$"),
        (KeyError("x"), 70, "^$"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), 70, "^$"),
    ],
)
def test_what_an_error_is_told_as(error: BaseException, code: int, words: str) -> None:
    text, found = explain(error, HOME, 7)
    assert found == code
    assert re.search(words, text), text


def run(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a task's boundary."""
    return subprocess.run(
        [sys.executable, "-c", TASK.format(body=body)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("body", ["{}['x']", "raise ValueError('two\\nlines')", "open('/nowhere')", "assert False"])
def test_what_nobody_expected_is_one_line_and_a_log(tmp_path: Path, body: str) -> None:
    done = run(body, TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (70, "", 1)
    found = re.search(rf"error: unexpected \w+Error.*report it with ({tmp_path}/fanrun-\S+\.log), which", done.stderr)
    assert found, done.stderr
    log = Path(found[1])
    assert "Traceback (most recent call last):" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_where_no_log_can_be_kept_the_line_comes_all_the_same() -> None:
    body = "import tempfile; tempfile.tempdir = '/nowhere'; {}['x']"
    done = run(body)
    assert done.returncode == 70
    assert (
        done.stderr == "error: unexpected KeyError: 'x'; its traceback could not be kept (No such file or directory)\n"
    )


def test_an_error_in_a_thread_is_one_line(tmp_path: Path) -> None:
    done = run(
        "import threading; t = threading.Thread(target=lambda: {}['x']); t.start(); t.join()", TMPDIR=str(tmp_path)
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)
    assert "error: unexpected KeyError: 'x'; " in done.stderr


def test_a_name_that_the_terminal_has_no_letters_for() -> None:
    done = run("print('b\\udcff')", PYTHONUTF8="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "b\\udcff\n", "")


@pytest.mark.parametrize(
    ("closed", "body"), [("1", "print(1)"), ("2", "raise ValueError"), ("0", "sys.stdin.isatty()")]
)
def test_closed_streams(tmp_path: Path, closed: str, body: str) -> None:
    script = f'exec {closed}>&-; exec "$0" -c "$1"'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, TASK.format(body=body)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (70 if closed == "2" else 0, "", "")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_programs_started_here_have_all_streams(tmp_path: Path, closed: str) -> None:
    """Else a file that they open gets such a number, and what they say is written into it."""
    child = "import os; print([os.fstat(number) and number for number in range(3)])"
    body = (
        f"import subprocess, sys; code = subprocess.call([sys.executable, '-c', {child!r}], stdout=3); sys.exit(code)"
    )
    with (tmp_path / "said").open("wb") as said:
        done = subprocess.run(
            ["sh", "-c", f'exec {closed} 3>"$2"; exec "$0" -c "$1"', sys.executable, TASK.format(body=body), said.name],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, (tmp_path / "said").read_text()) == (0, "[0, 1, 2]\n"), done.stderr


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, b"\\xf6"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"}, b"\xf6"),
        ({"PYTHONIOENCODING": "ascii"}, b"\\xf6"),
        ({"PYTHONIOENCODING": "utf-8"}, "\xf6".encode()),
    ],
)
def test_names_of_files_are_utf_8_whatever_is_printed(
    tmp_path: Path, environment: dict[str, str], printed: bytes
) -> None:
    body = "import os, pathlib; pathlib.Path(os.sys.argv[1], '\\xf6').touch(); print(*os.listdir(os.sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", TASK.format(body=body), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, printed + b"\n", b"")
    assert os.listdir(os.fsencode(tmp_path)) == ["\xf6".encode()]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="macOS has no /dev/full")
def test_output_that_finds_no_room() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", TASK.format(body="print(1)")],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == "error: a file can't be used: No space left on device; make room there\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("fabric.yaml", b"fanrun: {", "fabric.yaml can't be read: while parsing"),
        ("fabric.yaml", b"a: b: c", "can't be read: mapping values are not allowed here"),
        ("fabric.yaml", b"- hosts", "can't be used: it holds a list; write `fanrun:`"),
        ("fabric.yaml", b"fanrun: {1: 2, x: 3}", "can't be used: the name 1 is not a text"),
        ("fabric.yaml", b"hosts", "can't be used: it holds a str"),
        ("fabric.yaml", b"fanrun:\n  fleet: \xff", "can't be read: 'utf-8' codec can't decode"),
        ("fabric.yaml", b"\0", "can't be read: unacceptable character"),
        ("fabric.yaml", b"!!python/object:x {}", "can't be read: could not determine a constructor"),
        ("fabric.json", b"{", "can't be read: Expecting property name"),
        ("fabric", b"", "name a file whose name ends in .yaml, .yml, .json or .py"),
        ("fabric.yaml", b"", ""),
        ("fabric.yaml", b"fanrun:\n  fleet: blue\n", ""),
        ("fabric.py", b"x = (", ""),
    ],
)
def test_a_file_of_settings(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    told = boundary.unreadable(tmp_path / name)
    assert words in told
    assert bool(words) == bool(told)
    assert "\n" not in told


def test_settings_that_are_a_folder_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "fabric.yaml").mkdir()
    assert boundary.unreadable(tmp_path / "fabric.yaml").endswith("can't be read: Is a directory")
    assert boundary.unreadable(tmp_path / "none.yaml") == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Host *\n  User admin\n", ""),
        (b'Host *\n  "foo\n', "config can't be read: Unparsable line \"foo; correct it"),
        (b"Host \xff\n", "config can't be read: 'utf-8' codec can't decode"),
        (None, ""),
    ],
)
def test_settings_of_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(boundary, "SSH_CONFIGS", (path,))
    told = boundary.outside(KeyError("bad"), CommandLine(task="down"), [])
    assert (words in told, bool(told), "\n" in told) == (True, bool(words), False)


def test_errors_outside_of_tasks() -> None:
    missing = ModuleNotFoundError("No module named 'loguru'", name="loguru")
    assert "package loguru is not installed here; script/setup" in boundary.outside(missing, CommandLine(), [])
    assert boundary.outside(ModuleNotFoundError("", name="provision.x"), CommandLine(), []) == ""
    asked = CommandLine(task="down", flags=("prompt-for-passphrase",))
    assert "fab down does not take --prompt-for-passphrase" in boundary.outside(EOFError(), asked, [])
    assert "the command line can't be read: bad; " in boundary.outside(ValueError("bad"), CommandLine(), [])
    assert boundary.outside(KeyError("bad"), CommandLine(), []) == ""
