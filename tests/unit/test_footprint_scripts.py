"""A machine is claimed, what is added to it is noted, and it is given back as it was: under a folder of this one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.probe import MARK, WORK
from provision.hosts import footprint
from provision.hosts.footprint import Claim
from provision.hosts.mark import read_mark
from provision.hosts.scripts import host_argv
from tests.unit.worker_scripts import stand_in

KEY, THEIRS = "ssh-ed25519 AAAA sea", "ssh-ed25519 BBBB theirs\n"
PROGRAMS = (
    "apt-get",
    "docker",
    "dockerd",
    "dpkg",
    "dpkg-query",
    "groupdel",
    "ip",
    "iptables",
    "gpasswd",
    "service",
    "systemctl",
    "update-rc.d",
    "userdel",
    "usermod",
)
"""What these scripts could change this machine with."""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with a home, and with stand-ins that do nothing."""
    for name in PROGRAMS:
        stand_in(tmp_path / "bin", name, f'echo "{name} $*" >>"{tmp_path}/log"')
    stand_in(tmp_path / "bin", "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    (tmp_path / "home").mkdir()
    return tmp_path


def run(machine: Path, argv: list[str], home: str = "home") -> subprocess.CompletedProcess[str]:
    """Run a command with the machine's folders in the place of real ones."""
    work = {WORK: f"{machine}/work", footprint.ADDED: f"{machine}/work/added"}
    work[MARK] = f"{machine}/work/fleet"
    environment = {"PATH": f"{machine}/bin:{os.environ['PATH']}", "HOME": f"{machine}/{home}"}
    real = [work.get(word, word) for word in argv]
    return subprocess.run(real, capture_output=True, text=True, env=environment, check=False)


def claim(machine: Path, *ids: str, key: str = KEY, home: str = "home") -> subprocess.CompletedProcess[str]:
    return run(machine, footprint.claim_argv(Claim("sea", "eve@here", "hub worker", key, ids)), home)


def added(machine: Path) -> list[str]:
    return (machine / "work" / "added").read_text().splitlines()


def test_a_machine_is_nobodys_until_it_is_claimed(machine: Path) -> None:
    before = footprint.parse(run(machine, footprint.look_argv()).stdout)
    assert (before.fleet, before.id, before.owner, before.machine) == ("", "", "", os.uname().machine)
    done = claim(machine, "4567", "0123")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    after = footprint.parse(run(machine, footprint.look_argv()).stdout)
    assert (after.fleet, after.id, after.owner, after.roles) == ("sea", "4567", "eve@here", ("hub", "worker"))
    assert (machine / "home/.ssh/authorized_keys").read_text() == f"{KEY}\n"
    assert (machine / "home/.ssh").stat().st_mode & 0o777 == 0o700
    assert added(machine) == [f"folder {machine}/home/.ssh", f"keys {machine}/home/.ssh/authorized_keys"]


def test_a_fleet_claims_its_machine_again_and_its_old_key_goes(machine: Path) -> None:
    keys = machine / "home/.ssh/authorized_keys"
    keys.parent.mkdir()
    keys.write_text(THEIRS.rstrip("\n"))
    claim(machine, "0123")
    with (machine / "work/fleet").open("a") as mark:
        mark.write("version 3\n")
    assert claim(machine, "4567", "0123", key="ssh-ed25519 CCCC sea").returncode == 0
    assert keys.read_text() == f"{THEIRS}ssh-ed25519 CCCC sea\n"
    mark_now = read_mark((machine / "work/fleet").read_text())
    assert (mark_now["id"], mark_now["version"], added(machine)) == ("4567", "3", [])


def test_with_another_login_the_key_moves(machine: Path) -> None:
    for name in ("home", "other"):
        (machine / name / ".ssh").mkdir(parents=True)
        (machine / name / ".ssh/authorized_keys").write_text(THEIRS)
    claim(machine, "0123")
    assert claim(machine, "0123", home="other").returncode == 0
    assert (machine / "home/.ssh/authorized_keys").read_text() == THEIRS
    assert (machine / "other/.ssh/authorized_keys").read_text() == f"{THEIRS}{KEY}\n"


def test_a_machine_of_another_fleet_is_left_alone(machine: Path) -> None:
    claim(machine, "0123")
    before = (machine / "work/fleet").read_text()
    done = claim(machine, "4567", key="ssh-ed25519 CCCC sky")
    assert done.returncode == 1
    assert done.stderr == "belongs to fleet sea of eve@here, id 0123, since a moment ago\n"
    assert (machine / "work/fleet").read_text() == before
    assert "CCCC" not in (machine / "home/.ssh/authorized_keys").read_text()
    done = run(machine, footprint.remove_argv(["4567"]))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (machine / "work/fleet").read_text() == before


def test_paths_and_services_are_noted_once_and_before_they_are_there(machine: Path) -> None:
    (machine / "work").mkdir()
    there = machine / "there"
    there.touch()
    for argv in (
        footprint.note_file_argv(str(there)),
        footprint.note_file_argv("/nowhere/a b"),
        footprint.note_tree_argv("/nowhere/tree"),
        footprint.note_service_argv("fanrun-test"),
        footprint.note_service_argv("fanrun-test"),
    ):
        assert run(machine, argv).stderr == ""
    assert added(machine) == ["file /nowhere/a b", "tree /nowhere/tree", "service fanrun-test"]


def test_packages_are_noted_with_those_that_they_bring(machine: Path) -> None:
    (machine / "work").mkdir()
    plan = "Inst libnew (1.0 Debian:12 [amd64])\nInst tool:arm64 (2) []\nInst old [1] (2 Debian)\nConf tool (2)"
    stand_in(machine / "bin", "apt-get", f"echo '{plan}'")
    done = run(machine, footprint.note_packages_argv(["tool"]))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert added(machine)[0] == "package libnew"
    assert (machine / "work/kept").is_dir()


def test_packages_that_would_remove_others_are_not_noted(machine: Path) -> None:
    (machine / "work").mkdir()
    stand_in(machine / "bin", "apt-get", "echo 'Inst tool (2)'; echo 'Remv one [1]'; echo 'Remv two [1]'")
    done = run(machine, footprint.note_packages_argv(["tool"]))
    assert (done.returncode, done.stderr) == (1, "that would remove one two which others brought\n")
    assert not (machine / "work/added").exists()


def test_a_machine_is_given_back_as_it_was(machine: Path) -> None:
    claim(machine, "0123")
    for argv in (footprint.note_file_argv(f"{machine}/etc/new/a b"), footprint.note_tree_argv(f"{machine}/tree")):
        run(machine, argv)
    for name in ("etc/new/a b", "tree/deep/leaf", "work/runs/r1/x", "home/.fanrun-1"):
        (machine / name).parent.mkdir(parents=True, exist_ok=True)
        (machine / name).touch()
    done = run(machine, footprint.remove_argv(["4567", "0123"]))
    assert (done.returncode, done.stdout, done.stderr) == (0, "key and folders removed\n", "")
    assert sorted(path.name for path in machine.iterdir()) == ["bin", "home", "log"]
    assert list((machine / "home").iterdir()) == []
    done = run(machine, footprint.remove_argv(["0123"]))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "there is nothing left to remove"


def test_a_login_that_joined_the_group_docker_leaves_it(machine: Path) -> None:
    claim(machine, "0123")
    stand_in(machine / "bin", "id", 'case $1 in -u) echo 1000;; -nG) echo "bob sudo";; *) echo root;; esac')
    joined = host_argv("docker-member.sh", footprint.ADDED, "bob")
    done = run(machine, joined)
    assert (done.stdout, done.stderr) == ("added\n", "")
    assert "member docker:bob" in added(machine)
    run(machine, footprint.remove_argv(["0123"]))
    log = (machine / "log").read_text().splitlines()
    assert [line for line in log if line.startswith(("usermod", "gpasswd"))] == [
        "usermod --append --groups docker bob",
        "gpasswd --delete bob docker",
    ]


def test_a_member_of_the_group_docker_stays_one(machine: Path) -> None:
    claim(machine, "0123")
    stand_in(machine / "bin", "id", 'case $1 in -u) echo 1000;; -nG) echo "bob docker";; esac')
    done = run(machine, host_argv("docker-member.sh", footprint.ADDED, "bob"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not [line for line in added(machine) if line.startswith("member")]
