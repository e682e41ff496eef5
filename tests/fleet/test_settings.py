"""What this machine is set to for other uses changes nothing: docker, rsync, Fabric, the terminal, HOME."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, docker, tree
from tests.unit.test_environment import FOREIGN
from tests.unit.test_ssh import ELSEWHERE

pytestmark = pytest.mark.long

PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A terminal that has ASCII alone."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A HOME with settings of Fabric, in which an input has a name that is not ASCII."""
    (tmp_path / "home" / "src").mkdir(parents=True)
    for name in ("a.txt", "ö.txt"):
        (tmp_path / "home" / "src" / name).write_text(name)
    (tmp_path / "home" / ".fabric.yaml").write_text(ELSEWHERE.replace("ssh_config_path: /nowhere\n", ""))
    return tmp_path / "home"


def within(fab: Fab, environment: Mapping[str, str]) -> Fab:
    """The same fleet, from another environment."""
    return dataclasses.replace(fab, environment=environment)


def test_a_run_in_foreign_surroundings(fab: Fab, program: str, home: Path) -> None:
    here = within(fab, {**FOREIGN, **PLAIN, "HOME": str(home), "DOCKER_CONTENT_TRUST": "1"})
    here("deploy")
    assert "nothing to change" in here("up").stderr
    here("run", "--src=~/src", "--dst=~/ü", "--image", program, "--args", "copy")
    assert tree(home / "ü") == {b"a.txt": b"a.txt", "ö.txt".encode(): "ö.txt".encode()}
    assert "2 of 2 inputs" in fab("verify", "--dst=~/ü", HOME=str(home)).stdout
    done = here("run", "--src=~/src", "--dst=~/ä", "--image", program, "--args", "forgets", code=1)
    assert "  2 inputs: the program ended well but left no result for it\n    a.txt" in done.stdout
    assert "    \\xf6.txt" in done.stdout


def test_a_home_that_can_not_be_written(fab: Fab, program: str, home: Path, tmp_path: Path) -> None:
    fab("deploy", HOME="/proc")
    fab("run", f"--src={home}/src", f"--dst={tmp_path}/dst", "--image", program, "--args", "copy", HOME="/proc")
    assert len(tree(tmp_path / "dst")) == 2


@contextlib.contextmanager
def contexts(folder: Path, host: str) -> Iterator[dict[str, str]]:
    """Variables for a docker client whose current context is `some`, a daemon at `host`."""
    variables = {"DOCKER_CONFIG": str(folder)}
    for argv in (["create", "some", f"--docker=host={host}"], ["use", "some"]):
        subprocess.run(["docker", "context", *argv], check=True, capture_output=True, env={**os.environ, **variables})
    yield variables


@contextlib.contextmanager
def forwarded(container: str) -> Iterator[str]:
    """The URL of a port of this machine behind which the daemon in a container is."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            argv = ["docker", "exec", "--interactive", container, "docker", "system", "dial-stdio"]
            with subprocess.Popen(argv, stdin=self.request, stdout=subprocess.PIPE) as there:
                assert there.stdout
                while data := os.read(there.stdout.fileno(), 65536):
                    self.request.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_context_of_this_machine_is_as_good_as_none(fab: Fab, tmp_path: Path) -> None:
    with contexts(tmp_path, "unix:///var/run/docker.sock") as variables:
        assert "nothing to change" in within(fab, variables)("up").stderr


def test_a_context_of_another_machine(fab: Fab, home: Path, tmp_path: Path) -> None:
    """Its images are brought to the hub, but it has no hosts for us."""
    name, worker = "fanrun-test:elsewhere", fab.containers()["worker-1"]
    held = docker("exec", worker, "docker", "image", "ls", "--quiet").split()[0]
    docker("exec", worker, "docker", "tag", held, name)
    with forwarded(worker) as host, contexts(tmp_path, host) as variables:
        there, other = within(fab, variables), Fab(tmp_path / "fleets", f"{fab.fleet}-other", environment=variables)
        for argv in (["up"], ["up", "--dry-run"]):
            told = other(*argv, code=2).stderr
            assert f"error: docker context 'some' ({host}) is the Docker of another machine (worker-1)" in told
        assert not (other.home / other.fleet).exists()
        told = there("down", code=1).stderr
        assert f"another Docker than the one that answers here, by docker context 'some' ({host})" in told
        there("run", f"--src={home}/src", f"--dst={tmp_path}/dst", "--image", name, code=None)
    assert name in (fab.home / fab.fleet / "fleet.json").read_text(), "it was pushed"
