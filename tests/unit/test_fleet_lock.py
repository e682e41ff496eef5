"""One process at a time changes a fleet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanrun.fleet.errors import FleetError
from fanrun.fleet.store import Folder


def test_a_lock_leaves_no_folder_behind_where_nothing_was_begun(folder: Folder) -> None:
    folder.path.rmdir()
    with folder.lock():
        assert folder.path.exists()
    assert not folder.path.exists()
    with folder.lock():
        folder.ensure_id()
    assert folder.id


ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from fanrun.fleet.errors import FleetError
from fanrun.fleet.store import Folder
try:
    with Folder(Path(sys.argv[1]), "default").lock():
        print("held", flush=True)
        sys.stdin.read()
except FleetError as error:
    print(error)
"""


def holder(folder: Folder) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", HOLDER, str(folder.path.parent)]
    return subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_one_process_at_a_time_changes_a_fleet(folder: Folder) -> None:
    with folder.lock():
        said, _ = holder(folder).communicate(timeout=20)
    assert said == f"fleet default is being changed by process {os.getpid()}; wait for it and try again\n"
    said, _ = holder(folder).communicate(timeout=20)
    assert said == "held\n"


def test_a_killed_process_holds_nothing(folder: Folder) -> None:
    with holder(folder) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FleetError, match=f"changed by process {other.pid};"), folder.lock():
            pass
        other.kill()
    with folder.lock():
        pass


def test_a_lock_is_given_back_after_an_error(folder: Folder) -> None:
    with pytest.raises(ZeroDivisionError), folder.lock():
        raise ZeroDivisionError
    with folder.lock():
        pass
