"""The script of a batch, under real shells on this machine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from fanrun.fanout.results.container_end import parse_ending
from tests.unit.samples import write_tree
from tests.unit.worker_scripts import Limits, batch_argv, code_of, manifest_of, run_batch, stand_in
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "exit 125"], 125),
        (["sh", "-c", "kill -9 $$"], 137),
        (["/nowhere/program"], 127),
        (["sh", "-c", 'test $# = 2 && test "$1" = \'a  b\' && test -z "$2"', "sh", "a  b", ""], 0),
        (["cat"], 0),
    ],
)
def test_batch_keeps_the_exit_code(shell: str, tmp_path: Path, program: list[str], code: int) -> None:
    target = tmp_path / "a batch's target"
    done = run_batch(shell, target, *program)
    assert done.returncode == 0, done.stderr
    assert code_of(target) == code
    printed = {"log.jsonl.gz", "times"} if (target / "log").read_bytes() else set()
    names = {path.name for path in target.iterdir()}
    assert names == {"data", "exit", "links", "log", "manifest", "report.jsonl"} | printed
    assert (target / "manifest").read_bytes() == (target / "report.jsonl").read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a file")
def test_a_batch_of_roots_gives_the_program_what_it_writes_to(shell: str, request: pytest.FixtureRequest) -> None:
    script = 'cd "$0" && echo {} >>report.jsonl && mkdir -m 700 data/d && umask 077 && echo x >data/d/a && id -u'
    drop = ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups"]
    target = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="fanrun-test-")) / "out"  # pytest's folders are root's alone
    target.parent.chmod(0o755)
    request.addfinalizer(lambda: shutil.rmtree(target.parent))
    done = run_batch(shell, target, *drop, "sh", "-c", script, str(target))
    assert done.returncode == 0, done.stderr
    assert (target / "log").read_text() == "65532\n"
    assert code_of(target) == 0
    assert (target / "manifest").read_bytes().split(b"\0")[:-1] == manifest_of({b"d/a": b"x\n"})


def test_batch_tells_how_long_the_program_took(shell: str, tmp_path: Path) -> None:
    run_batch(shell, tmp_path / "out", "sleep", "0.2")
    assert 0.2 <= parse_ending((tmp_path / "out" / "exit").read_bytes(), b"").seconds < 60


def test_batch_tells_what_is_free(shell: str, tmp_path: Path) -> None:
    run_batch(shell, tmp_path, "true")
    disk = os.statvfs(tmp_path)
    ending = parse_ending((tmp_path / "exit").read_bytes(), b"")
    assert ending.free == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.1)
    assert ending.inodes == (pytest.approx(disk.f_ffree, rel=0.1) if disk.f_files else None)


def test_batch_that_can_not_keep_its_results_says_so(shell: str, tmp_path: Path) -> None:
    """A disk that is full, as sha256sum finds it."""
    stand_in(tmp_path / "bin", "sha256sum", "exit 1")
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    done = run_batch(shell, tmp_path / "out", "touch", f"{tmp_path}/out/data/a", path=path)
    assert done.returncode == 1
    assert done.stderr.startswith(b"it can't keep its results (")
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "out" / "exit").exists()


def test_batch_keeps_the_last_64_kib_of_output(shell: str, tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo $i 789012345678901234567890; echo $i error >&2; i=$((i+1)); done"
    run_batch(shell, tmp_path, "sh", "-c", script)
    log = (tmp_path / "log").read_bytes()
    assert len(log) == 65536
    assert b"\n2999 789012345678901234567890\n" in log
    assert b"\n2999 error\n" in log


def test_batch_hashes_results_with_hostile_names(shell: str, tmp_path: Path) -> None:
    written = write_tree(tmp_path / "made")
    run_batch(shell, tmp_path / "out", "cp", "-r", f"{tmp_path}/made/.", f"{tmp_path}/out/data/")
    *records, end = (tmp_path / "out" / "manifest").read_bytes().split(b"\0")
    assert end == b""
    assert sorted(records) == manifest_of(written)


def test_batch_opens_results_that_nobody_may_read(shell: str, tmp_path: Path) -> None:
    written = write_tree(tmp_path / "data", (b"locked", b"folder/inner", b"folder/er/most"))
    locked = [tmp_path / "data" / name for name in ("folder/er/most", "folder/er", "folder", "locked")]
    run_batch(shell, tmp_path, "chmod", "000", *map(str, locked))
    assert sorted((tmp_path / "manifest").read_bytes().split(b"\0")[:-1]) == manifest_of(written)
    assert all(path.stat().st_mode & stat.S_IRUSR for path in locked)  # whoever runs this: root could read them closed


def test_batch_hashes_regular_files_alone(shell: str, tmp_path: Path) -> None:
    script = "cd $0; echo x >file; ln -s file link; ln -s /etc/passwd out; mkfifo fifo; mkdir empty"
    run_batch(shell, tmp_path, "sh", "-c", script, f"{tmp_path}/data")
    assert code_of(tmp_path) == 0
    assert (tmp_path / "manifest").read_bytes().split(b"\0")[:-1] == manifest_of({b"file": b"x\n"})


def test_batch_that_can_not_end_leaves_no_exit(shell: str, tmp_path: Path) -> None:
    assert run_batch(shell, tmp_path, "rm", "-r", f"{tmp_path}/data").returncode == 1
    assert not (tmp_path / "exit").exists()
    (tmp_path / "file").touch()
    assert run_batch(shell, tmp_path / "file", "touch", f"{tmp_path}/began").returncode == 1
    assert not (tmp_path / "began").exists()


def test_a_batch_without_these_files_does_not_begin(shell: str, tmp_path: Path) -> None:
    """Docker would make folders in the place of its files, and the program would be blamed."""
    argv = batch_argv(shell, tmp_path / "out", "touch", f"{tmp_path}/began")
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"it can't keep its results (")
    assert not (tmp_path / "began").exists()


def test_what_is_spent_is_deleted_where_room_is_short_and_nobody_waits(shell: str, tmp_path: Path) -> None:
    """Names are taken as they are; what isn't there is no error; until room is short it only gets out of the way."""
    for name in ("-f x", "it's", "kept"):
        write_tree(tmp_path / name, (b"a/b",))
    tools = tmp_path / "bin"
    stand_in(tools, "nice", f'until [ -e "{tmp_path}/go" ]; do sleep 0.05; done; exec "$@"')
    path = f"{tools}:{os.environ['PATH']}"
    spent = [tmp_path / "-f x", tmp_path / "it's", tmp_path / "none"]
    script = 'cd "$1"; for path in "-f x" "it\'s" none; do [ ! -e "$path" ] || exit 7; done; [ -e kept ]'
    run_batch(shell, tmp_path / "out", "sh", "-c", script, "sh", str(tmp_path), path=path, limits=Limits(spent=spent))
    assert code_of(tmp_path / "out") == 0
    (tmp_path / "go").touch()
    left = {
        "bin",
        "go",
        "kept",
        "out",
        *("slot.0", "turn", "identity"),
        *("log_filter.py", "log_files.py", "log_spool.py", "__pycache__"),
    }
    assert {path.name for path in tmp_path.iterdir()} == {*left, ".gone--f x", ".gone-it's"}
    (tmp_path / "go").unlink()
    run_batch(shell, tmp_path / "out", "true", path=path, limits=Limits(room=2**62))
    assert (tmp_path / ".gone-it's" / "a" / "b").exists()
    (tmp_path / "go").touch()
    wait_until(lambda: {path.name for path in tmp_path.iterdir()} == left)
