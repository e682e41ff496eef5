"""Shell scripts in files, as they are read and sent."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.script import read_script, script_argv

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for folder in ("fanrun", "provision") for path in (ROOT / folder).rglob("*.sh"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is found by the name of whatever package is asked for."""
    monkeypatch.setattr("fanrun.fleet.script.resources.files", lambda name: tmp_path)
    return tmp_path


def test_scripts_are_joined_without_their_comments(package: Path) -> None:
    (package / "one.sh").write_text('# shellcheck shell=sh\n# Says it.\nsay() { echo "# $1"; }  # twice\n')
    (package / "two.sh").write_text('#!/bin/sh\n  # why\n\nsay "$1#"\n')
    text = read_script("any", "one.sh", "two.sh")
    assert text == 'say() { echo "# $1"; }  # twice\n\nsay "$1#"\n'
    argv = script_argv(text, "it's", "b")
    assert argv == ["sh", "-c", text, "sh", "it's", "b"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"# it's#\n"


def test_the_files_are_found() -> None:
    assert {"batch.sh", "probe.sh", "mark.sh"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_says_what_it_does(path: Path) -> None:
    first, *others = path.read_text("utf-8").splitlines()
    assert first in ("# shellcheck shell=sh", "# shellcheck shell=bash")
    assert others[0].startswith("# ")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_is_checked(path: Path) -> None:
    patterns = [word for word in (ROOT / "script/lint").read_text("utf-8").split() if word.endswith("*.sh")]
    assert any(path in ROOT.glob(pattern) for pattern in patterns)
