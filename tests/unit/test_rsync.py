"""The rsync commands of a run, at work from folder to folder on this machine."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from fanrun.fanout import transfer_commands
from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.workers.transfer import VANISHED
from tests.unit.samples import HOSTILE, read_tree, write_tree

PLACE = BatchFolder("20260101-000000-abcd", "worker-1.0001")


def local(argv: list[str]) -> list[str]:
    """One of our rsync argvs without its host."""
    return [part.removeprefix("worker-1:") for part in argv if not part.startswith("--rsh=")]


def push(src: Path, target: Path, keys: list[bytes]) -> subprocess.CompletedProcess[bytes]:
    argv = [*local(transfer_commands.push_argv("ssh", str(src), "worker-1", PLACE))[:-1], f"{target}/"]
    return subprocess.run(argv, input=transfer_commands.names(keys), capture_output=True, check=False)


def pull(target: Path, staging: Path) -> subprocess.CompletedProcess[bytes]:
    argv = local(transfer_commands.pull_argv("ssh", "worker-1", PLACE, str(staging)))
    return subprocess.run([*argv[:-2], f"{target}/", argv[-1]], capture_output=True, check=False)


def test_hostile_names_arrive_as_they_left(tmp_path: Path) -> None:
    written = write_tree(tmp_path / "src", (*HOSTILE, b"not asked for"))
    del written[b"not asked for"]
    done = push(tmp_path / "src", tmp_path / "in", list(HOSTILE))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert read_tree(tmp_path / "in") == written


def test_pushed_files_are_readable_and_links_are_files(tmp_path: Path) -> None:
    write_tree(tmp_path / "src", (b"folder/private", b"to"))
    (tmp_path / "src" / "link").symlink_to("to")
    (tmp_path / "src" / "folder" / "private").chmod(0o600)
    (tmp_path / "src" / "folder").chmod(0o700)
    assert push(tmp_path / "src", tmp_path / "in", [b"folder/private", b"link"]).returncode == 0
    modes = {path.name: stat.filemode(path.lstat().st_mode) for path in (tmp_path / "in").rglob("*")}
    assert modes == {"folder": "drwxr-xr-x", "private": "-rw-r--r--", "link": "-rw-r--r--"}


def test_a_vanished_input_keeps_no_other_back(tmp_path: Path) -> None:
    written = write_tree(tmp_path / "src", (b"a", b"b"))
    assert push(tmp_path / "src", tmp_path / "in", [b"a", b"gone", b"b"]).returncode in VANISHED
    assert read_tree(tmp_path / "in") == written


def test_results_come_home_without_links_and_devices(tmp_path: Path) -> None:
    written = write_tree(tmp_path / "out")
    (tmp_path / "out" / "link").symlink_to("/etc/passwd")
    (tmp_path / "out" / "up").symlink_to("..")
    os.mkfifo(tmp_path / "out" / "fifo")
    assert pull(tmp_path / "out", tmp_path / "staging").returncode == 0
    assert read_tree(tmp_path / "staging") == written
    assert not any((tmp_path / "staging" / name).exists() for name in ("link", "up", "fifo"))
