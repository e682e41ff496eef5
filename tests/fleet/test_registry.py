"""The fleet's registry: under the fleet's CA, open to nobody else, and back with its machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.store import Folder
from provision.registry import transfer as image
from provision.registry.names import PUSH_PORT
from tests.fleet.harness import Fab, docker, ssh, tree
from tests.waiting import wait_until

pytestmark = pytest.mark.long

OPEN = """# Written by Fanrun.
version: 0.1
storage:
  filesystem:
    rootdirectory: /var/lib/docker-registry
  delete:
    enabled: true
http:
  addr: :5000
  tls:
    certificate: /etc/docker/registry/fanrun.crt
    key: /etc/docker/registry/fanrun.key
"""


def test_the_registry_speaks_tls_under_the_fleets_ca(fab: Fab) -> None:
    hub = fab.status()["hub"]["address"]
    authority = str(fab.home / fab.fleet / "ca.crt")
    argv = ["openssl", "s_client", "-connect", f"{hub}:5000", "-verify_return_error", "-verify_ip", hub]
    good = subprocess.run([*argv, "-CAfile", authority], input="", capture_output=True, text=True, check=False)
    assert "Verify return code: 0 (ok)" in good.stdout
    assert subprocess.run(argv, input="", capture_output=True, text=True, check=False).returncode != 0


def registries(fab: Fab) -> list[str]:
    """Where the hub's registry listens."""
    lines = fab.on("hub", "ss -Hltnp | grep docker-registry || :").splitlines()
    return sorted(line.split()[3] for line in lines)


def test_the_open_registry_of_an_older_fleet_is_closed_and_keeps_what_it_has(fab: Fab) -> None:
    hub, stored = fab.status()["hub"]["address"], "find /var/lib/docker-registry -type f"
    before = set(fab.on("hub", stored).splitlines())
    closed = ["127.0.0.1:4999", f"{hub}:5000"]
    assert registries(fab) == closed
    fab.on(
        "hub",
        f"service fanrun-registry stop; service docker-registry stop; rm -f /etc/init.d/fanrun-registry\n"
        f"cat >/etc/docker/registry/config.yml <<'END'\n{OPEN}END\n"
        "service docker-registry start && timeout 20 sh -c 'until rm /run/docker-registry.pid; do sleep 0.1; done'",
    )
    wait_until(lambda: registries(fab) == ["*:5000"])
    fab.on("worker-2", "docker image prune --all --force")
    done = fab("up").stderr
    assert "hub        registry set up" in done
    assert "worker-2   pulled process.py" in done
    assert registries(fab) == closed
    assert before
    assert before <= set(fab.on("hub", stored).splitlines())
    assert "nothing to change" in fab("up").stderr


def test_a_worker_that_was_the_hub_of_an_older_fleet_has_no_open_registry(fab: Fab) -> None:
    config = "/etc/docker/registry/config.yml"
    fab.on(
        "worker-1",
        f"install -D /dev/null {config} && cat >{config} <<'END'\n{OPEN}END\n"
        "install -D -m 755 /dev/stdin /etc/init.d/docker-registry <<'END'\n#!/bin/sh\n"
        'echo "$1" >>/var/tmp/registry\nEND\n',
    )
    try:
        fab("up")
        assert fab.on("worker-1", "cat /var/tmp/registry") == "stop\n"
        assert 'addr: "127.0.0.1:4999"' in fab.on("worker-1", f"cat {config}")
        assert "nothing to change" in fab("up").stderr
    finally:
        fab.on("worker-1", f"rm -f {config} /etc/init.d/docker-registry /var/tmp/registry")


def test_the_registry_comes_back_with_its_machine(fab: Fab) -> None:
    before = registries(fab)
    assert len(before) == 2
    docker("restart", "--time=1", fab.containers()["hub"])
    wait_until(lambda: registries(fab) == before)
    wait_until(lambda: ssh(fab, "hub", "true").returncode == 0)
    assert "nothing to change" in fab("up").stderr


def test_an_image_reaches_the_hub_from_a_daemon_in_a_vm_too(fab: Fab, program: str) -> None:
    folder = Folder(fab.home, fab.fleet)
    hub = folder.load().hub
    image_id = image.inspect(program)
    digest = image.push(folder, hub, image_id, direct=False)
    fab.on("worker-1", f"docker pull --quiet {image.ref(hub, digest)}")
    assert program not in fab.on("hub", "docker image ls")
    # Other tests push at the same time, by ports of their own.
    assert f":{PUSH_PORT}/fanrun/image" not in docker("image", "ls")


def test_a_registry_that_is_just_starting_is_waited_for(fab: Fab, shell: str, src: Path, tmp_path: Path) -> None:
    tag = f"{shell.partition(':')[0]}-late"
    subprocess.run(["docker", "build", "--tag", tag, "-"], input=f"FROM {shell}\nENV LATE=1\n", text=True, check=True)
    services = "for name in fanrun-registry docker-registry; do service $name {}; done"
    fab.on("hub", services.format("stop"))
    assert registries(fab) == []
    fab.on("hub", f"(sleep 4; {services.format('start')}) >/dev/null 2>&1 &")
    options = ["--src", str(src), "--dst", str(tmp_path / "dst"), "--image", tag, "--args", "'cd $0; cp -r * $1/'"]
    fab("run", *options)
    assert tree(tmp_path / "dst") == tree(src)
    docker("rmi", tag)
