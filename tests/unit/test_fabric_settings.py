"""Settings from files and from the environment: used for what they are for, or refused in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.fab_world import FAB, ROOT, FabWorld, fabfile_tasks

TASKS = tuple(fabfile_tasks())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The project in a folder of its own."""
    for name in ("fabfile.py", "fanrun", "imaging", "provision", "service", "process.py"):
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    return tmp_path


def test_settings_of_another_provider_wait_for_it(fab_world: FabWorld) -> None:
    """Only flags are refused: these come from a file, and from the environment."""
    done = fab_world.fab("--config={top}/away.yaml", "down", "--dry-run", home="none")
    assert (done.returncode, "script/setup" in done.stderr) == (2, True), "Docker is asked: the provider is local"
    assert "--region" not in done.stderr


def test_a_fleet_that_a_setting_names_is_named_in_hints(fab_world: FabWorld) -> None:
    for argv, fleet in (("status", "blue"), ("status --fleet=default", "default")):
        done = fab_world.fab("--config={top}/away.yaml", *argv.split(" "), home="none")
        assert f"no fleet {fleet}; `fab up --fleet {fleet}` starts one" in done.stderr


@pytest.mark.parametrize(
    ("content", "tasks"),
    [("fanrun: {", TASKS), ("- a", ("down", "sample")), ("a", ("down", "sample")), (None, ("down", "sample"))],
)
def test_a_broken_fabric_yaml_is_one_line(checkout: Path, content: str | None, tasks: Sequence[str]) -> None:
    file = checkout / "fabric.yaml"
    file.mkdir() if content is None else file.write_text(content)
    for task in tasks:
        done = subprocess.run([FAB, task], cwd=checkout, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
        assert done.stderr.startswith(f"error: {file} can't be ")


@pytest.mark.parametrize(
    ("text", "variables", "named"),
    [
        ("ssh_config_path: /nowhere", {}, "{home}/.fabric.yaml"),
        ("tasks: {executor_class: none}", {}, "{home}/.fabric.yaml"),
        ("", {"FABRIC_PORT": "ssh", "FABRIC_USER": "me"}, "FABRIC_PORT, FABRIC_USER"),
    ],
)
def test_settings_that_fabric_stops_at_are_named(
    tmp_path: Path, text: str, variables: dict[str, str], named: str
) -> None:
    if text:
        (tmp_path / ".fabric.yaml").write_text(text)
    done = subprocess.run(
        [FAB, "status"],
        cwd=ROOT,
        env={**os.environ, **variables, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith("error: Fabric stops at its settings (")
    assert done.stderr.endswith(f"); correct them: {named.format(home=tmp_path)}\n")


def test_packages_that_are_missing_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "loguru.py").write_text("raise ModuleNotFoundError('No module', name='loguru')")
    done = subprocess.run(
        [FAB, "status"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "error: Python's package loguru is not installed here; script/setup installs it, use .venv/bin/fab\n"
    )
