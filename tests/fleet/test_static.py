"""Machines that exist already: taken, worked with, and given back as they were."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, run_folder, tree
from tests.fleet.machines import BY_SUDO, Machines
from tests.variants import some
from tests.waiting import wait_until

# A person's own Docker, with an image and a container of theirs.
OWN_DOCKER = """
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -o Dpkg::Options::=--force-confold install -y --no-install-recommends docker.io docker-cli
timeout 30 sh -c 'until docker version; do sleep 0.2; done'
tar -c -C / etc/hostname | docker import - mine:1 && docker create --name theirs mine:1 true
"""
DOCKERS_OWN = ("/var/lib/docker/", "/var/lib/containerd/", "/run/", "/etc/docker")


@pytest.fixture
def fab(tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "theirs")


@pytest.mark.long
def test_taken_worked_with_and_given_back(three: Machines, fab: Fab, tmp_path: Path, src: Path) -> None:
    three.on("two", OWN_DOCKER)
    three.on("three", "sysctl -w net.ipv4.ip_forward=0; iptables -A FORWARD -s 203.0.113.7 -j DROP")
    before = {name: three.files(name) for name in ("one", "two", "three")}
    network = three.network_of("three")
    keys = {name: three.on(name, "cat /home/admin/.ssh/authorized_keys") for name in before}

    planned = fab("up", *three.options("one", "two"), "--dry-run").stdout
    assert f"worker-2 is admin@{three.addresses['two']}" in planned
    assert three.files("one") - BY_SUDO == before["one"] - BY_SUDO
    take_and_run(three, fab, src, tmp_path)

    # The machine with a Docker of its own got all of it back already.
    after = three.files("two")
    assert {path for path in before["two"] - after if not path.startswith(DOCKERS_OWN)} == set()
    assert {path for path in after - before["two"] if not path.startswith(DOCKERS_OWN)} <= BY_SUDO
    assert three.on("two", "docker image ls --format '{{.Repository}}'; docker ps -a --format '{{.Names}}'") == (
        "mine\ntheirs\n"
    )
    # Something of the owner's keeps asking Docker; by its socket that would start it once more.
    three.on("three", "setsid sh -c 'while command -v docker; do docker version; done' >/dev/null 2>&1 &")
    fab("down")
    for name in ("one", "three"):
        gone, left = before[name] - three.files(name), three.files(name) - before[name]
        assert not gone
        assert {path for path in left if not path.startswith("/run/")} <= BY_SUDO
    assert {name: three.on(name, "cat /home/admin/.ssh/authorized_keys") for name in keys} == keys
    assert three.network_of("three") == network
    assert "no hosts" in fab("down").stderr
    assert "no hosts" in fab("down", *three.options("one", "three")).stderr


def take_and_run(three: Machines, fab: Fab, src: Path, top: Path) -> None:
    """Take two machines, run, replace one of them by the third, and run again."""
    fab("up", *three.options("one", "two"))
    assert "nothing to change" in fab("up").stderr
    added = {name: three.on(name, "cat /var/lib/fanrun/added") for name in ("one", "two")}
    assert "package docker-registry\n" in added["one"]
    assert not {"package docker.io", "package docker-registry", "package prometheus"} & set(added["two"].splitlines())
    hosts = fab.status()
    assert {name: row["address"] for name, row in hosts.items()} == {
        "hub": three.addresses["one"],
        "worker-1": three.addresses["one"],
        "worker-2": three.addresses["two"],
    }
    fab("run", "--src", str(src), "--dst", str(top / "dst"))
    assert len(tree(top / "dst")) == 12

    told = fab("up", *three.options("one", "three")).stderr
    assert "former-1" in told
    assert fab.status()["worker-2"]["address"] == three.addresses["three"]
    assert "docker0" in three.network_of("three")
    fab("run", "--src", str(src), "--dst", str(top / "again"), "--mount", f"{src}:plates")
    kept = {name: [each["name"] for each in row["reference"]] for name, row in fab.status().items()}
    assert kept == {"hub": ["plates"], "worker-1": ["plates"], "worker-2": ["plates"]}
    assert fab("status").stdout.count("kept on ") == 2, "the hub is the first worker"
    three.on(
        "one", "echo 'restrict ssh-ed25519 AAAA fanrun-reference-killed-worker-2' >>/home/admin/.ssh/authorized_keys"
    )
    assert tree(top / "again") == tree(top / "dst")


@pytest.mark.long
@pytest.mark.parametrize("login", some(["root", "toor", "admin in root's group"], "root"))
def test_no_program_runs_as_root(three: Machines, fab: Fab, src: Path, program: str, login: str) -> None:
    """Whatever the login is, and though its new files, like the inputs, are for nobody else."""
    before, user, top = three.files("one"), login.split()[0], src.parent
    if user == "toor":
        three.on("one", "useradd --non-unique --uid 0 --gid 0 --home-dir ~ --shell /bin/bash toor")
    if user == "admin":
        three.on("one", "usermod --gid 0 admin")
    three.on("one", "cp /etc/pam.d/sshd ~/sshd; echo 'session optional pam_umask.so umask=077' >>/etc/pam.d/sshd")
    for path in [*src.rglob("*"), src]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    try:
        fab("up", *three.options("one", user=user))
        uid = "1000" if user == "admin" else "0"
        assert fab("exec", "--command", "umask; id -u").stdout.split()[1::2] == ["0077", uid]
        # With one container all inputs are one batch.
        looks = ("--image", program, "--args=looks", "--jobs=1")
        fab("run", "--src", str(src), "--dst", str(top / "looked"), *looks, code=None)
        said = (run_folder(top / "looked") / "extra").glob("*/*")  # it is named after a folder
        uids = {int(path.read_text().split()[0]) for path in said}
        assert uids == {1000 if user == "admin" else 65532}
        fab("run", "--src", str(src), "--dst", str(top / "copied"), "--image", program, "--args=copy")
        assert tree(top / "copied") == tree(src)
        fab("run", "--src", str(src), "--dst", str(top / "rotated"))
        assert len(tree(top / "rotated")) == 12
        wait_until(lambda: three.on("one", "find /var/lib/fanrun/runs -mindepth 1 ! -name '.ended-*'") == "")
    finally:
        fab("down")
        three.on("one", "mv ~/sshd /etc/pam.d/sshd; usermod --gid admin admin; userdel --force toor || :")
    assert {path for path in three.files("one") ^ before if not path.startswith("/run/")} <= BY_SUDO


@pytest.mark.long
def test_behind_a_jump_host_and_found_without_the_folder(three: Machines, fab: Fab, tmp_path: Path, src: Path) -> None:
    """The machine's name is known behind the jump host alone; who has lost the folder names the fleet's id."""
    config = tmp_path / "config"
    config.write_text(
        f"Host plate\n  HostName three\n  User admin\n  ProxyJump gate\n"
        f"Host gate\n  HostName {three.addresses['one']}\n  User admin\n  UserKnownHostsFile {three.known_hosts}\n"
        f"Host *\n  IdentityFile {three.home / 'key'}\n  IdentitiesOnly yes\n"
    )
    before = three.files("three")
    options = ["--host=plate", f"--known-hosts={three.known_hosts}", f"--ssh-config={config}"]
    fab("up", "--provider=static", *options)
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert len(tree(tmp_path / "dst")) == 12

    known = (fab.home / "theirs" / "id").read_text().strip()
    subprocess.run(["rm", "-r", str(fab.home)], check=True)
    told = fab("down", "--provider=static", *options, code=1).stderr
    assert f"left alone: id {known}, of " in told
    assert f"`fab down --provider=static --host=plate --fleet=theirs --take-over={known}` ends it" in told
    assert "fanrun" in three.on("three", "cat /home/admin/.ssh/authorized_keys")
    assert f"--take-over={known} --fleet theirs`" in fab("up", "--provider=static", *options, code=2).stderr
    assert "hub, worker-1" in fab("down", "--provider=static", *options, f"--take-over={known}").stderr
    assert {path for path in three.files("three") ^ before if not path.startswith("/run/")} <= BY_SUDO
    assert "fanrun" not in three.on("three", "cat /home/admin/.ssh/authorized_keys")


@pytest.mark.long
def test_one_that_served_comes_back_after_a_reboot_and_is_given_back(three: Machines, fab: Fab) -> None:
    before = three.files("three")
    fab("up", *three.options("three"))
    fab("serve", "--replicas=1")

    def listening() -> set[str]:
        return {line.split()[3] for line in three.on("three", "ss -Hltn").splitlines()}

    places = {f"{three.addresses['three']}:{port}" for port in (5000, 50051, 50052)} | {"127.0.0.1:4999"}
    assert places <= listening()
    three.start("three", again=True)
    wait_until(lambda: places <= listening(), 60)
    assert three.on("three", "systemctl is-enabled fanrun-registry") == "enabled\n"
    fab("down")
    after = three.files("three")
    assert before - after == set()
    assert {path for path in after - before if not path.startswith("/run/")} <= BY_SUDO
    assert not listening() & places
    assert "fanrun" not in three.on("three", "systemctl list-units --all --plain --no-legend; ls -R /etc/systemd")


@pytest.mark.long
def test_another_login_takes_the_machine_over(three: Machines, fab: Fab, tmp_path: Path, src: Path) -> None:
    three.on(
        "three",
        "useradd --create-home --shell /bin/sh bob && echo 'bob ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/bob && "
        "install -d -m 700 -o bob /home/bob/.ssh && cp /home/admin/.ssh/authorized_keys /home/bob/.ssh/ && "
        "chown bob /home/bob/.ssh/authorized_keys",
    )
    keys = "cat /home/{}/.ssh/authorized_keys"
    before = three.on("three", keys.format("bob"))
    fab("up", *three.options("three"))
    fab("up", *[option.replace("admin@", "bob@") for option in three.options("three")])
    assert three.on("three", keys.format("admin")) == before
    assert "fanrun" in three.on("three", keys.format("bob"))
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    fab("down")
    assert three.on("three", keys.format("bob")) == before
