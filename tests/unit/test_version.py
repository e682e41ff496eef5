"""The version in pyproject.toml is the one of everything that is released."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fanrun.fleet.release import RELEASE

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "Dockerfile": r"ARG VERSION=(\S+)",
    "service/Dockerfile": r"ARG VERSION=(\S+)",
    "manifests/base/api.yaml": r"image: fanrun/\w+:(\S+)",
    "manifests/base/processor.yaml": r"image: fanrun/\w+:(\S+)",
    "manifests/batch/job.yaml": r"image: fanrun/\w+:(\S+)",
    "manifests/batch/kustomization.yaml": r"newTag: (\S+)",
    "manifests/overlays/production/kustomization.yaml": r"newTag: (\S+)",
    "docs/kubernetes.md": r"fanrun/\w+:([0-9]\S+)",
}


def released() -> str:
    """Return the version in pyproject.toml."""
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("name", PLACES)
def test_each_file_names_the_release(name: str) -> None:
    assert set(re.findall(PLACES[name], (ROOT / name).read_text("utf-8"))) == {released()}


def test_no_other_file_names_a_version_of_the_images() -> None:
    argv = ["git", "grep", "-lE", r"ARG VERSION=|image: fanrun/|newTag:", "--", ":!tests", ":!*.md"]
    found = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert sorted(found) == sorted(name for name in PLACES if not name.endswith(".md"))


def test_the_code_and_the_changelog_name_it() -> None:
    assert released() == RELEASE
    assert f"## [{released()}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_process_py_tells_it() -> None:
    argv = [sys.executable, str(ROOT / "process.py"), "--version"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == f"process.py {released()}\n"
