"""Which Docker is asked, by the real client: it needs no daemon to tell."""

from __future__ import annotations

import platform
import socket
import subprocess
from pathlib import Path

import pytest

from provision.registry import daemon
from provision.registry.daemon import Daemon, Endpoint

FAR = "tcp://192.0.2.1:2375"
FILE = "unix:///nowhere/docker.sock"
HERE = socket.gethostname()


@pytest.fixture(autouse=True)
def contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of docker's settings with two contexts, of which none is chosen."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    for name, host in (("far", FAR), ("file", FILE)):
        docker("context", "create", name, f"--docker=host={host}")
    return tmp_path


def docker(*argv: str) -> None:
    subprocess.run(["docker", *argv], check=True, capture_output=True)


def test_a_context_is_looked_at_as_docker_does(contexts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert daemon.endpoint().context == "default"
    assert not daemon.endpoint().is_chosen
    docker("context", "use", "far")
    assert daemon.endpoint() == Endpoint("far", FAR)
    assert (daemon.endpoint().is_chosen, daemon.endpoint().is_file) == (True, False)
    monkeypatch.setenv("DOCKER_CONTEXT", "file")
    assert daemon.endpoint() == Endpoint("file", FILE)
    assert daemon.endpoint().is_file
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.2:1")
    monkeypatch.delenv("DOCKER_CONTEXT")
    assert daemon.endpoint() == Endpoint("default", "tcp://192.0.2.2:1")
    assert (daemon.endpoint().is_chosen, str(daemon.endpoint())) == (True, "DOCKER_HOST (tcp://192.0.2.2:1)")


@pytest.mark.parametrize(
    ("variables", "said", "told"),
    [
        ({}, "Cannot connect", "the docker daemon does not answer (Cannot connect): start Docker (script/setup"),
        (
            {"DOCKER_CONTEXT": "far"},
            "Cannot connect",
            f"docker context 'far' ({FAR}) does not answer (Cannot connect): start Docker there, or unset DOCKER_CONTE",
        ),
        ({"DOCKER_CONTEXT": "far"}, "Permission denied (publickey)", f"docker context 'far' ({FAR}) does not answer"),
        ({"DOCKER_CONTEXT": "file"}, "permission denied", "docker runs, but not for this user: sudo usermod"),
        (
            {"DOCKER_HOST": FILE},
            "Cannot connect",
            f"DOCKER_HOST ({FILE}) does not answer (Cannot connect): start Docker there, or unset DOCKER_HOST",
        ),
        (
            {"DOCKER_CONTEXT": "gone"},
            'context "gone" is not found',
            'docker has no daemon to ask (context "gone" is not found): unset DOCKER_CONTEXT',
        ),
    ],
)
def test_a_daemon_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str, told: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(daemon.no_answer(said)).startswith(told)


def test_a_context_that_was_removed_is_one_line(contexts: Path) -> None:
    (contexts / "config.json").write_text('{"currentContext": "gone"}')
    assert "choose another with `docker context use`" in str(daemon.no_answer('context "gone" is not found'))


def at(host: str, name: str, system: str = "Debian", is_rootless: bool = False) -> Daemon:
    """Return a daemon that answers at an address, and says that it runs on the machine `name`."""
    return Daemon(Endpoint("some", host), name, system, is_rootless)


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere a daemon is in a VM")
@pytest.mark.parametrize(
    ("found", "shares", "is_remote"),
    [
        (at("unix:///var/run/docker.sock", HERE), True, False),
        (at("unix:///run/user/1000/docker.sock", HERE, is_rootless=True), False, False),
        (at("unix:///home/ada/.colima/docker.sock", "colima", "Ubuntu"), False, False),
        (at("unix:///home/ada/.docker/desktop/docker.sock", "docker-desktop", "Docker Desktop"), False, False),
        (at("tcp://localhost:2375", "docker-desktop", "Docker Desktop"), False, False),
        (at("tcp://127.0.0.1:2375", HERE), False, False),
        (at("tcp://127.0.0.1:2375", "far"), False, True),
        (at("tcp://192.0.2.1:2375", HERE), False, True),
        (at("ssh://ada@192.0.2.1", "far"), False, True),
    ],
)
def test_where_a_daemon_is(found: Daemon, shares: bool, is_remote: bool) -> None:
    assert (found.shares_network, found.is_remote) == (shares, is_remote)
