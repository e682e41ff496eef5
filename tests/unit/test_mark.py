"""The mark on a host: run on files here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.model import old_id
from fanrun.fleet.script import script_argv
from provision.hosts import mark
from provision.hosts.scripts import host_script


def ensure(path: Path, *words: str) -> str:
    argv = script_argv(mark.SCRIPT, str(path), *words)
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_host_is_marked_once(tmp_path: Path) -> None:
    path = tmp_path / "fleet"
    assert ensure(path, "sky", "0123", "2") == "marked\n"
    assert mark.read_mark(path.read_text()) == {"fleet": "sky", "id": "0123", "version": "2"}
    assert ensure(path, "sky", "0123", "2") == ""
    assert [each.name for each in tmp_path.iterdir()] == ["fleet"]


@pytest.mark.parametrize("words", [("sky", "0123", "3"), ("sky", "4567", "2"), ("sea", "0123", "2")])
def test_what_changes_is_marked_anew_and_all_else_stays(tmp_path: Path, words: tuple[str, str, str]) -> None:
    path = tmp_path / "fleet"
    path.write_text("fleet sky\nid 0123\nversion 2\nowner eve\nroles hub worker\nkey ssh-ed25519 AAAA sky\n")
    assert ensure(path, *words) == "marked\n"
    others = {"owner": "eve", "roles": "hub worker", "key": "ssh-ed25519 AAAA sky"}
    assert mark.read_mark(path.read_text()) == dict(zip(("fleet", "id", "version"), words, strict=True)) | others


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("fleet sky\nid 0123\nkey ssh-ed25519 AAAA sky\n", "0123"),
        ("fleet sky\nowner eve\nkey ssh-ed25519 AAAA sky\n", old_id("ssh-ed25519 AAAA sky")),
    ],
)
def test_a_mark_from_before_ids_has_one_made_from_its_key(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "fleet").write_text(text)
    script = host_script("fleet-id.sh") + 'fleet_id "$1"'
    done = subprocess.run(
        ["sh", "-eu", "-c", script, "sh", str(tmp_path / "fleet")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
