"""The hub's registry: its settings, and the scripts of its steps, run here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from provision.hosts import registry
from provision.hosts.common import ANY, read_file
from provision.registry.names import PUSH_PORT

FILES = Path(__file__).resolve().parents[2] / "provision/hosts/files"
OURS = "# Written by Fanrun.\n"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs that come first in the PATH of `run`."""
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def put(programs: Path, name: str, text: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{text}\n")
    (programs / name).chmod(0o755)


def run(programs: Path, script: str, *arguments: str) -> str:
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    argv = ["sh", "-c", script, "sh", *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout


def test_at_the_fleets_address_members_may_read_and_nothing_else() -> None:
    settings = yaml.safe_load(registry.config("10.0.0.10"))
    assert settings["http"]["addr"] == "10.0.0.10:5000"
    assert settings["http"]["tls"]["clientcas"] == [registry.CA]
    assert settings["storage"]["maintenance"]["readonly"] == {"enabled": True}
    assert "delete" not in settings["storage"]
    assert "debug" not in settings["http"]
    assert yaml.safe_load(registry.config(ANY))["http"]["addr"] == ":5000"


def test_what_can_be_written_to_is_on_loopback_alone() -> None:
    settings = yaml.safe_load(registry.push_config())
    assert settings["http"] == {"addr": f"127.0.0.1:{PUSH_PORT}"}
    assert "delete" not in settings["storage"]


class Hub(NamedTuple):
    """What a hub has: the settings of its registry, a note that Fanrun installed it, and what listens on its port."""

    config: str = ""
    is_noted: bool = False
    listener: str = ""


def test_both_have_one_store() -> None:
    stores = {
        yaml.safe_load(text)["storage"]["filesystem"]["rootdirectory"]
        for text in (registry.config("10.0.0.10"), registry.push_config())
    }
    assert stores == {"/var/lib/docker-registry"}


@pytest.mark.parametrize(
    ("hub", "found"),
    [
        (Hub(), []),
        (Hub(OURS, listener='"docker-registry",pid=7'), []),
        (Hub("version: 0.1", is_noted=True, listener='"docker-registry",pid=7'), []),
        (Hub("version: 0.1"), ["a docker-registry"]),
        (Hub(listener='"docker-registry",pid=7'), ["something on port 5000"]),
        (Hub(listener='"docker-proxy",pid=7'), ["something on port 5000"]),
        (Hub(OURS, is_noted=True, listener='"docker-proxy",pid=7'), ["something on port 5000"]),
        (Hub(OURS, is_noted=True), []),
    ],
)
def test_what_is_not_fanruns_is_named(tmp_path: Path, programs: Path, hub: Hub, found: list[str]) -> None:
    if hub.config:
        (tmp_path / "config.yml").write_text(hub.config)
    (tmp_path / "added").write_text("package docker-registry\n" if hub.is_noted else "package rsync\n")
    line = f"LISTEN 0 4096 *:5000 *:* users:(({hub.listener},fd=3))" if hub.listener else ""
    put(programs, "ss", f"case $* in *:5000*) echo '{line}' ;; esac")
    script = read_file("registry-foreign.sh").replace("/etc/docker/registry", str(tmp_path))
    assert run(programs, script, str(tmp_path / "added"), "5000", "4999").splitlines() == found


def test_something_else_on_the_port_for_pushes_is_named_too(tmp_path: Path, programs: Path) -> None:
    put(
        programs, "ss", """case $* in *:4999*) echo 'LISTEN 0 1 127.0.0.1:4999 *:* users:(("nc",pid=7,fd=3))' ;; esac"""
    )
    script = read_file("registry-foreign.sh").replace("/etc/docker/registry", str(tmp_path))
    assert run(programs, script, "/nowhere", "5000", "4999") == "something on port 4999\n"


def test_a_process_that_no_service_knows_any_more_is_ended(tmp_path: Path, programs: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        line = f'LISTEN 0 4096 *:5000 *:* users:(("docker-registry",pid={process.pid},fd=3))'
        put(programs, "ss", f"case $* in *:5000*) kill -0 {process.pid} && echo '{line}' ;; esac")
        put(programs, "service", f'echo "$*" >>{tmp_path}/log')
        put(programs, "sleep", ":")
        reaper = ["sh", "-c", read_file("registry-stop.sh"), "sh", "5000", "4999"]
        environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
        with subprocess.Popen(reaper, env=environment, stderr=subprocess.DEVNULL) as stopping:
            assert process.wait(20) == -15
            assert stopping.wait(20) == 0
    assert (tmp_path / "log").read_text() == "fanrun-registry stop\ndocker-registry stop\n"


@pytest.mark.parametrize(("own", "bound"), [("10.0.0.10", "10.0.0.10"), ("10.0.0.1", ANY), ("110.0.0.10", ANY)])
def test_the_address_to_listen_at(programs: Path, own: str, bound: str) -> None:
    put(programs, "getent", "echo '10.0.0.10 STREAM hub'")
    put(programs, "ip", f"echo '2: eth0    inet {own}/16 brd 10.0.255.255 scope global eth0'")
    assert run(programs, read_file("bind-address.sh"), "hub", ANY).strip() == bound


def test_a_name_without_an_address_is_listened_for_everywhere(programs: Path) -> None:
    put(programs, "getent", "exit 2")
    put(programs, "ip", "echo '1: lo    inet 127.0.0.1/8 scope host lo'")
    assert run(programs, read_file("bind-address.sh"), "hub", ANY).strip() == ANY


def test_what_the_members_process_is_expected_at() -> None:
    assert registry.places("10.0.0.10") == {"10.0.0.10:5000"}
    assert registry.places(ANY) == {"*:5000", "0.0.0.0:5000", "[::]:5000"}
    assert not registry.places("10.0.0.10") & registry.places(ANY)  # an open one from before is not taken for it
