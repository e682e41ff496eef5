"""The ssh_config of a fleet, as OpenSSH reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.model import Fleet
from fanrun.fleet.private_files import control_folder
from fanrun.fleet.store import Folder
from tests.unit.samples import FLEET


def test_an_ssh_config_that_is_missing_is_written_again(folder: Folder) -> None:
    folder.create()
    folder.save(Fleet("default", "local"))
    text = folder.ssh_config.read_text()
    folder.ssh_config.unlink()
    folder.load()
    assert folder.ssh_config.read_text() == text


@pytest.mark.parametrize("name", ["plain", "two  words", "100%h %% %", "it's", "a#b", "=x", "ü"])
def test_ssh_reads_the_ssh_config(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path / name, "default")
    folder.create()
    folder.save(FLEET)
    done = subprocess.run(
        ["ssh", "-G", "-F", str(folder.ssh_config), "worker-1"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    expected = {
        "hostname": "127.0.0.1",
        "port": "2201",
        "user": "admin",
        "stricthostkeychecking": "true",
        "batchmode": "yes",
        "identitiesonly": "yes",
        "globalknownhostsfile": "/dev/null",
        "userknownhostsfile": str(folder.known_hosts),
        "hostkeyalgorithms": "ssh-ed25519",
        "controlmaster": "auto",
        "controlpersist": "60",
    }
    assert {key: found[key] for key in expected} == expected
    assert found["identityfile"].replace("%%", "%") == str(folder.key)  # ssh -G shows it as it was written
    assert found["controlpath"].startswith(f"{control_folder()}/")
    assert len(found["controlpath"]) < 80, "with what ssh adds to it, a socket's path has 104 characters at most"


def test_fleets_of_one_name_in_two_places_have_connections_of_their_own(tmp_path: Path) -> None:
    paths = set()
    for home in ("one", "two"):
        folder = Folder(tmp_path / home, "default")
        folder.create()
        folder.save(FLEET)
        paths |= {line for line in folder.ssh_config.read_text().splitlines() if "ControlPath" in line}
    assert len(paths) == 2
