"""Files and folders that only their owner may read: the fleet's, and that of SSH's control sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fleet.errors import FleetError
from fanrun.fleet.private_files import control_folder, write_private
from fanrun.fleet.store import Folder
from tests.unit.permissions import mode


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with path.open("rb") as reader:
        write_private(path, b"new")
        assert reader.read() == b"old"
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)


def test_a_private_file_that_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_private(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_ctrl_c_while_a_private_file_is_renamed_is_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def interrupted(source: Path, target: Path) -> None:
        rename(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_private(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_command_left_of_a_private_file_goes_with_the_next_one(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle: nothing is tidied up."""
    for name in ("key", "ca.key", "known_hosts", "ssh_config"):
        with monkeypatch.context() as killed:
            killed.setattr(os, "fsync", lambda _: 1 / 0)
            killed.setattr(Path, "unlink", lambda _: None)
            with pytest.raises(ZeroDivisionError):
                write_private(folder.path / name, b"secret")
    assert len(list(folder.path.iterdir())) == 4
    (folder.path / ".mine").write_text("a person's own")
    with folder.lock():
        assert sorted(path.name for path in folder.path.iterdir()) == [".mine", "lock"]


@pytest.fixture
def control_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The control folder of a user that nobody is."""
    uid = 4_000_000 + os.getpid()
    path = Path(f"/tmp/fanrun-{uid}")
    monkeypatch.setattr(os, "getuid", lambda: uid)
    yield path
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        path.rmdir()


@pytest.mark.parametrize("what", ["someone else's", "link", "broken link", "file"])
def test_a_control_folder_that_is_not_ones_own_is_refused(control_path: Path, what: str) -> None:
    if what == "link":
        control_path.symlink_to("/tmp")
    elif what == "broken link":
        control_path.symlink_to("/nowhere/at/all")
    elif what == "file":
        control_path.touch()
    with pytest.raises(FleetError, match="is not a private folder of yours; remove it and try again"):
        control_folder()


def test_the_control_folder_is_private() -> None:
    assert mode(control_folder()) == 0o700
    assert control_folder().stat().st_uid == os.getuid()
