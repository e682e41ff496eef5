"""What goes from a machine that is given back, as far as it needs no machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provision.hosts.footprint import DROP_KEY

THEIRS, OURS = b"ssh-ed25519 AAAA m\xfcller@laptop\n", b"ssh-ed25519 BBBB fanrun-default\n"


def drop(keys: Path, before: str = "") -> int:
    script = f"{before}\n{DROP_KEY}"
    argv = ["sh", "-c", script, "sh", str(keys), OURS.decode().strip()]
    return subprocess.run(argv, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}, check=False).returncode


@pytest.mark.parametrize(
    ("before", "after"),
    [(THEIRS + OURS, THEIRS), (OURS + THEIRS, THEIRS), (OURS, b""), (THEIRS, THEIRS), (THEIRS + OURS[:-1], THEIRS)],
)
def test_one_key_goes_and_others_stay_whatever_their_comment(tmp_path: Path, before: bytes, after: bytes) -> None:
    keys = tmp_path / "authorized_keys"
    keys.write_bytes(before)
    keys.chmod(0o640)
    assert drop(keys) == 0
    assert keys.read_bytes() == after
    assert keys.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["authorized_keys"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(THEIRS + OURS)
    (tmp_path / "keys").symlink_to("real")
    assert drop(tmp_path / "keys") == 0
    assert (tmp_path / "keys").is_symlink()
    assert (tmp_path / "real").read_bytes() == THEIRS


def test_where_nothing_can_be_written_all_stays(tmp_path: Path) -> None:
    keys = tmp_path / "authorized_keys"
    keys.write_bytes(THEIRS + OURS)
    assert drop(keys, "trap '' XFSZ; ulimit -f 0") != 0
    assert keys.read_bytes() == THEIRS + OURS
    assert [path.name for path in tmp_path.iterdir()] == ["authorized_keys"]


def test_no_file_is_no_mistake(tmp_path: Path) -> None:
    assert drop(tmp_path / "none") == 0
