"""The lock: one process at a time, and the others are told which."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fanrun.fleet.errors import Busy
from fanrun.fleet.lock import exclusive

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from fanrun.fleet.lock import exclusive
with exclusive(Path(sys.argv[1]), "another one"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its standard input ends."""
    argv = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("end", ["by itself", "killed"])
def test_another_process_holds_it_until_it_ends(tmp_path: Path, end: str) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        for _ in range(2):  # who is refused leaves it as it is
            with pytest.raises(Busy, match=r"lock is held by another one; wait for it and try again") as caught:
                exclusive(path, "me").__enter__()
            assert caught.value.holder == "another one"
        if end == "killed":
            process.kill()
    with exclusive(path, "me"):
        assert path.read_text() == "me"


def test_it_holds_within_one_process_too_and_is_let_go_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    def fail() -> None:
        with exclusive(path, "a holder with a long name"):
            with pytest.raises(Busy, match="held by a holder with a long name;"):
                exclusive(path, "second").__enter__()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with exclusive(path, "short"):
        assert path.read_text() == "short"


def test_a_holder_without_a_name(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", ""), pytest.raises(Busy, match="held by another process") as caught:
        exclusive(tmp_path / "lock", "me").__enter__()
    assert caught.value.holder == "another process"
