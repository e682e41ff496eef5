"""The command `fanrun`, installed from a clean copy of the checkout and used from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.harness import ROOT, tree

pytestmark = pytest.mark.long
FLEET = ("--fleet", "installed")


class Person:
    """Somebody who has installed Fanrun and works in a folder of their own."""

    def __init__(self, top: Path) -> None:
        self.top, self.folder = top, top / "work"
        self.folder.mkdir()
        places = {"XDG_CONFIG_HOME": top / "config", "XDG_STATE_HOME": top / "state", "UV_TOOL_DIR": top / "tools"}
        places["UV_TOOL_BIN_DIR"] = top / "bin"
        own = {key: value for key, value in os.environ.items() if not key.startswith("FANRUN_")}
        self.environment = {**own, **{name: str(path) for name, path in places.items()}, "UV_SYSTEM_CERTS": "1"}
        self.environment["PATH"] = f"{top / 'bin'}:{own['PATH']}"

    def run(self, *argv: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder; it must end with `code`."""
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def install(self) -> None:
        """Install Fanrun with uv, from a copy of the files that git knows."""
        clean = self.top / "clean"
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        clean.mkdir()
        tar = ["tar", "--create", "--null", "--files-from=-"]
        packed = subprocess.run(tar, cwd=ROOT, input=names, capture_output=True, check=True).stdout
        subprocess.run(["tar", "--extract"], cwd=clean, input=packed, check=True)
        self.run(str(Path(sys.executable).with_name("uv")), "tool", "install", str(clean))


def test_the_whole_demo_from_another_folder(tmp_path: Path) -> None:
    person = Person(tmp_path)
    person.install()
    assert person.run("fanrun", "--version").stdout.startswith("fanrun ")
    assert "fanrun run --src ./dataset --dst ./output" in person.run("fanrun", "--help").stdout
    assert person.run("fanrun", "rnu", code=2).stderr == "error: there is no task 'rnu'; did you mean run?\n"
    assert "`fanrun up --fleet installed` starts one" in person.run("fanrun", "status", *FLEET, code=2).stderr
    person.run("fanrun", "sample", "--dst=dataset")
    try:
        person.run("fanrun", "up", "--hosts=1", *FLEET)
        person.run("fanrun", "run", "--src=dataset", "--dst=output", *FLEET)
        assert tree(person.folder / "output").keys() == tree(person.folder / "dataset").keys()
        person.run("fanrun", "verify", "--dst=output")
        assert (tmp_path / "state" / "fanrun" / "installed" / "fleet.json").exists()
    finally:
        person.run("fanrun", "down", *FLEET)
    assert not (tmp_path / "state" / "fanrun" / "installed").exists()
    assert sorted(path.name for path in person.folder.iterdir()) == ["dataset", "output"]


def test_settings_are_read_from_the_persons_own_folder(tmp_path: Path) -> None:
    person = Person(tmp_path)
    person.install()
    (tmp_path / "config" / "fanrun").mkdir(parents=True)
    (tmp_path / "config" / "fanrun" / "fabric.yaml").write_text("fanrun: {fleet: blue}\n")
    (person.folder / "fabric.yaml").write_text("fanrun: {fleet: red}\n")
    assert "there is no fleet blue" in person.run("fanrun", "status", code=2).stderr
