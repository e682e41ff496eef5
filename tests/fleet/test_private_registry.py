"""A container image in a private registry: the user's Docker logs in and pulls it, and workers pull it from the hub."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import bcrypt
import pytest

from provision.providers.local.host_image import IMAGE as DEBIAN
from tests.fleet.harness import Runs, docker
from tests.fleet.small_image import small_image
from tests.fleet.test_secrets import holding
from tests.waiting import wait_until

PASSWORD = f"staple-{os.urandom(8).hex()}"
CONFIG = """version: 0.1
storage: {filesystem: {rootdirectory: /data}}
http: {addr: ":5000", secret: x}
auth: {htpasswd: {realm: private, path: /registry/users}}
"""


class Private(NamedTuple):
    """A registry that asks for a password: its container, the name of an image in it, a DOCKER_CONFIG with a login."""

    container: str
    image: str
    config: Path


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Private]:
    """A registry with an image that only who has logged in may pull."""
    folder, config = tmp_path / "registry", tmp_path / "docker"
    folder.mkdir()
    (folder / "config.yml").write_text(CONFIG)
    (folder / "users").write_bytes(b"ada:" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)) + b"\n")
    options = ["--detach", "--publish=127.0.0.1::5000", f"--volume={folder}:/registry:ro"]
    container = docker("run", *options, DEBIAN, "docker-registry", "serve", "/registry/config.yml").strip()
    try:
        name = docker("port", container, "5000/tcp").strip()
        wait_until(lambda: log_in(name, config))
        image = f"{name}/fanrun-test-private"
        docker("tag", small_image(), image)
        docker("--config", str(config), "push", "--quiet", image)
        docker("rmi", image)
        yield Private(container, image, config)
        docker("rmi", image)
    finally:
        docker("rm", "--force", "--volumes", container)


def log_in(registry: str, config: Path) -> bool:
    """Return whether one can log in, which is not so before the registry has started."""
    argv = ["docker", "--config", str(config), "login", "--username=ada", "--password-stdin", registry]
    return subprocess.run(argv, input=PASSWORD, text=True, capture_output=True, check=False).returncode == 0


def test_workers_need_no_login(runs: Runs, private: Private, tmp_path: Path) -> None:
    runs.write("a", "b")
    argv = ["run", "--src", str(runs.src), "--image", private.image, "--each", "cp {in} {out}.copy"]
    told = runs.fab(*argv, "--dst", str(runs.dst), code=2).stderr
    assert f"there is no image '{private.image}' here and it can't be pulled (" in told
    assert "log in with `docker login`" in told
    runs.fab(*argv, "--dst", str(runs.dst), DOCKER_CONFIG=str(private.config))
    assert runs.results() == {"a.copy": "a", "b.copy": "b"}
    docker("stop", "--time=0", private.container)
    runs.fab(*argv, "--dst", str(tmp_path / "again"))
    for host in ("hub", "worker-1", "worker-2"):
        assert private.image not in runs.fab.on(host, "docker image ls 2>/dev/null || :")
        assert runs.fab.on(host, "find / -xdev -path '*/.docker/config.json'") == ""
    assert holding(PASSWORD.encode(), runs.fab.home) == []
