"""The command `fanrun` in the checkout: the same help and tasks as `fab`, from any folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fanrun.fleet import places
from fanrun.fleet.release import RELEASE
from fanrun.tasks import console
from tests.unit.fab_world import FAB, OWN, ROOT

FANRUN = str(Path(FAB).with_name("fanrun"))


def run(*argv: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=folder, env=OWN, capture_output=True, text=True, timeout=60, check=False)


def test_it_tells_its_own_version(tmp_path: Path) -> None:
    assert run(FANRUN, "--version", folder=tmp_path).stdout == f"fanrun {RELEASE}\n"


def test_it_is_a_module_as_well() -> None:
    assert run(sys.executable, "-m", "fanrun", "--version").stdout == f"fanrun {RELEASE}\n"


@pytest.mark.parametrize("argv", [(), ("--help", "run"), ("down", "--help"), ("--list",)])
def test_both_commands_give_the_same_help(argv: tuple[str, ...], tmp_path: Path) -> None:
    ours, fabs = run(FANRUN, *argv, folder=tmp_path), run(FAB, *argv)
    assert (ours.returncode, ours.stderr) == (fabs.returncode, fabs.stderr) == (0, "")
    assert ours.stdout.replace("fanrun", "fab").split() == fabs.stdout.split()


def test_the_help_has_groups_and_three_examples(tmp_path: Path) -> None:
    done = run(FANRUN, "--help", folder=tmp_path)
    assert done.stdout == run(FANRUN, folder=tmp_path).stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("  fanrun ")] == [
        "  fanrun up --hosts=2                         make a fleet of two workers and a",
        "  fanrun run --src ./dataset --dst ./output   process all files of a folder",
        "  fanrun down                                 end the fleet",
    ]
    assert all(f"\n{title}:\n" in done.stdout for title in ("Fleet", "Runs", "Service", "Hosts", "Options"))


def test_a_message_names_the_command_that_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(FANRUN, "run", folder=tmp_path)
    assert done.stderr == "error: fanrun run needs --src and --dst; `fanrun --help run` shows all it takes\n"
    monkeypatch.setattr(sys, "argv", ["/x/bin/fanrun"])
    word = console.Console().word
    assert word("/data/fab run: `fab up`, then fab --list") == "/data/fab run: `fanrun up`, then fanrun --list"
    assert word("my-fab up") == "my-fab up"


def test_no_folder_of_the_caller_is_imported_from(tmp_path: Path) -> None:
    for name in ("loguru", "provision", "service", "fabric", "fabfile"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    assert run(FANRUN, "--list", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("environment", "settings", "state"),
    [
        ({}, "~/.config/fanrun", "~/.local/state/fanrun"),
        ({"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, "/c/fanrun", "/s/fanrun"),
        ({"XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": ""}, "~/.config/fanrun", "~/.local/state/fanrun"),
    ],
)
def test_where_things_are_kept_once_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], settings: str, state: str
) -> None:
    assert places.settings_folder(environment) == ROOT
    assert places.state_folder(environment) == ROOT / ".fanrun"
    monkeypatch.setattr(places, "IS_CHECKOUT", False)
    assert places.settings_folder(environment) == Path(settings).expanduser()
    assert places.state_folder(environment) == Path(state).expanduser()
