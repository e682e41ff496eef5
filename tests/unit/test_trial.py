"""`fab run --try` where there is no Docker that it can use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.fab_world import OWN, run_fab
from tests.unit.samples import write_tree
from tests.unit.worker_scripts import stand_in


@pytest.mark.parametrize("argv", [(), ("--image=x",)])
def test_a_docker_on_another_machine_is_one_line(tmp_path: Path, argv: tuple[str, ...]) -> None:
    write_tree(tmp_path / "src", (b"a",))
    script = (
        "case $1 in version) echo 20.1;; info) printf 'elsewhere\\tDebian\\t[]';;"
        " context) printf 'far\\tssh://far';; *) exit 1;; esac"
    )
    stand_in(tmp_path / "bin", "docker", script)
    environment = {name: value for name, value in OWN.items() if name != "DOCKER_HOST"}
    mine = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "TMPDIR": str(tmp_path), "FANRUN_HOME": f"{tmp_path}/home"}
    done = run_fab(["run", f"--src={tmp_path}/src", "--try=3", *argv], {**environment, **mine})
    assert done.returncode == 2
    assert "--try needs the Docker of this machine itself, run by root on Linux" in done.stderr
    assert "and docker context 'far' (ssh://far) is another; `fab up` starts a fleet" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.glob("fanrun-*")) == []
