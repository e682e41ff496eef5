"""A machine where sudo is not used: what it lacks, and how it is claimed and given back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provision.hosts import footprint
from provision.hosts.bare_facts import BareFacts, find_missing
from provision.hosts.footprint import Claim
from provision.hosts.scripts import host_argv
from tests.unit.worker_scripts import stand_in

DENIED = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
OURS, OTHERS = "fanrun.invalid/fanrun/image:0123-aa", "fanrun.invalid/fanrun/image:4567-bb"
DOCKER = f"""echo "$*" >>"$HOME/log"
case "$1 $2" in
  "version --format") echo ok ;;
  "image ls") printf '%s\\n' {OURS} {OTHERS} mine:1 ;;
  "ps -aq") [ "$4" != label=fanrun.run=20260101-a ] || echo c1 ;;
esac
"""


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (BareFacts(docker="ok", security="[name=seccomp,profile=builtin]"), ""),
        (BareFacts(missing=("docker", "rsync")), "not there: docker, rsync"),
        (
            BareFacts("bob", missing=("rsync",), docker=DENIED),
            "not there: rsync; docker: the login is not in the group docker (`sudo usermod -aG docker bob` on",
        ),
        (BareFacts(docker="Cannot connect to the Docker daemon"), "docker: it does not answer (Cannot connect"),
        (BareFacts(docker="ok", security="[name=rootless]"), "docker: it runs rootless or with userns-remap"),
        (BareFacts(docker="ok", is_prepared=True), "belongs to a fleet that was made with sudo"),
    ],
)
def test_all_that_is_missing_is_named(facts: BareFacts, expected: str) -> None:
    found = find_missing(facts)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home, and before it programs that stand in for Docker and for what asks for root's rights."""
    stand_in(tmp_path / "bin", "docker", DOCKER)
    stand_in(tmp_path / "bin", "sudo", 'echo "sudo $*" >>"$HOME/log"; exit 1')
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run(home: Path, argv: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{home.parent}/bin:{os.environ['PATH']}", "HOME": str(home)}
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)


def claim(home: Path) -> subprocess.CompletedProcess[str]:
    wanted = Claim("sea", "eve@here", "hub worker", "ssh-ed25519 AAAA sea", ["0123"])
    return run(home, footprint.claim_argv(wanted, "none", f"{home}/{footprint.HOME_FOLDER}"))


def log(home: Path) -> list[str]:
    return (home / "log").read_text().splitlines() if (home / "log").exists() else []


def test_a_machine_says_what_it_has_without_sudo(home: Path) -> None:
    facts = footprint.parse(run(home, footprint.look_argv("none")).stdout)
    assert (facts.sudo, facts.bare.work, facts.bare.docker) == ("none", f"{home}/.fanrun-host", "ok")
    assert "docker" not in facts.bare.missing
    assert claim(home).stderr == ""
    assert footprint.parse(run(home, footprint.look_argv("none")).stdout).id == "0123"
    assert not [line for line in log(home) if line.startswith("sudo")]


def test_all_of_a_fleet_is_in_the_home_and_goes(home: Path) -> None:
    claim(home)
    work = home / ".fanrun-host"
    (work / "runs/20260101-a/1.out").mkdir(parents=True)
    (work / "runs/20260101-a/1.out").chmod(0o500)
    assert (home / ".ssh/authorized_keys").exists()
    done = run(home, footprint.remove_home_argv(str(work), ["4567"]))
    assert (done.returncode, done.stdout, work.exists()) == (0, "", True), "it is another fleet's"
    done = run(home, footprint.remove_home_argv(str(work), ["0123"]))
    assert (done.returncode, done.stdout, done.stderr) == (0, "images removed\nkey and folder removed\n", "")
    assert [path.name for path in home.iterdir()] == ["log"]
    assert "rm -f -v c1" in log(home)
    assert [line for line in log(home) if line.startswith("rmi")] == [f"rmi {OURS}"]


def test_nothing_is_forgotten_where_docker_does_not_answer(home: Path) -> None:
    claim(home)
    stand_in(home.parent / "bin", "docker", "echo gone >&2; exit 1")
    done = run(home, footprint.remove_home_argv(f"{home}/.fanrun-host", ["0123"]))
    assert done.returncode == 1
    assert done.stderr == "Docker does not answer, so what Fanrun has in it can't be removed (gone)\n"
    assert (home / ".fanrun-host/fleet").exists()


def test_images_that_are_needed_stay(home: Path) -> None:
    for kept, expected in (([OURS], []), ([], [f"rmi {OURS}"])):
        run(home, host_argv("remove-own-images.sh", "fanrun/image", "0123", *kept))
        assert [line for line in log(home) if line.startswith("rmi")] == expected
