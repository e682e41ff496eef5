"""Reference data on machines that exist, where the login is root and its new files are for nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.harness import Fab, Runs, log
from tests.fleet.machines import Machines
from tests.fleet.reference_data import Data

pytestmark = pytest.mark.long


def test_they_reach_programs_that_are_not_root(three: Machines, shell: str, tmp_path: Path) -> None:
    data, keys = Data(tmp_path), three.on("one", "cat ~/.ssh/authorized_keys")
    for path in (data.words, data.words / "list"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    runs = Runs(Fab(tmp_path / "home", "root"), shell, tmp_path)
    runs.write(*"abcdefgh")
    for name in ("one", "two"):
        three.on(name, "cp /etc/pam.d/sshd ~/sshd; echo 'session optional pam_umask.so umask=077' >>/etc/pam.d/sshd")
    try:
        runs.fab("up", *three.options("one", "two", user="root"))
        runs(
            "for file in *; do { id -u; cat /words/list; } >$1/$file; done",
            "--mount",
            f"{data.words}:words",
            "--jobs=1",
        )
        assert set(runs.results().values()) == {"65532\none"}
        assert "worker-2: reference data words fetched from the hub" in log(runs.dst)
        assert "worker-1: reference data" not in log(runs.dst), "it is the hub, which has them"
        told = runs.fab("clean", "--yes").stdout
        with_data = [line.partition(":")[0] for line in told.splitlines() if "reference data" in line]
        assert sorted(with_data) == ["worker-1", "worker-2"]
    finally:
        runs.fab("down")
        for name in ("one", "two"):
            three.on(name, "mv ~/sshd /etc/pam.d/sshd")
    assert three.on("one", "cat ~/.ssh/authorized_keys") == keys
