"""Machines that exist already: taken, worked with, and given back as they were."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.hosts.footprint import claim_argv
from tests.fleet.harness import Fab, docker, run_folder, tree
from tests.fleet.machines import Machines, machines
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
BY_SUDO = {"/home/admin/.sudo_as_admin_successful"}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """The third is run by systemd, as most people's are."""
    home, network = tmp_path_factory.mktemp("owner"), f"fanrun-machines-{os.getpid()}"
    with machines(home, network, "one", "two", "three", systemd=["three"]) as found:
        yield found


@pytest.fixture
def fab(tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "theirs")


def test_taken_worked_with_and_given_back(three: Machines, fab: Fab, tmp_path: Path, src: Path) -> None:
    three.on("two", OWN_DOCKER)
    three.on("three", "sysctl -w net.ipv4.ip_forward=0; iptables -A FORWARD -s 203.0.113.7 -j DROP")
    before = {name: three.files(name) for name in ("one", "two", "three")}
    network = three.network_of("three")
    keys = {name: three.on(name, "cat /home/admin/.ssh/authorized_keys") for name in before}

    planned = fab("up", *three.options("one", "two"), "--dry-run").stdout
    assert f"worker-2 is admin@{three.addresses['two']}" in planned
    assert three.files("one") - BY_SUDO == before["one"] - BY_SUDO
    fab("up", *three.options("one", "two"))
    assert "nothing to change" in fab("up").stderr
    added = {name: three.on(name, "cat /var/lib/fanrun/added") for name in ("one", "two")}
    assert "package docker-registry\n" in added["one"]
    assert not {"package docker.io", "package docker-registry", "package prometheus"} & set(added["two"].splitlines())
    hosts = fab.status()
    assert {name: row["address"] for name, row in hosts.items()} == {
        "hub": three.addresses["one"], "worker-1": three.addresses["one"], "worker-2": three.addresses["two"],
    }  # fmt: skip
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert len(tree(tmp_path / "dst")) == 12

    told = fab("up", *three.options("one", "three")).stderr
    assert "former-1" in told
    assert fab.status()["worker-2"]["address"] == three.addresses["three"]
    assert "docker0" in three.network_of("three")
    fab("run", "--src", str(src), "--dst", str(tmp_path / "again"))
    assert tree(tmp_path / "again") == tree(tmp_path / "dst")

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


@pytest.mark.parametrize("login", ["root", "toor", "admin in root's group"])
def test_no_program_runs_as_root(
    three: Machines, fab: Fab, tmp_path: Path, src: Path, program: str, login: str
) -> None:
    """Whatever the login is, and though its new files, like the inputs, are for nobody else."""
    before = three.files("one")
    user = login.split()[0]
    if user == "toor":
        three.on("one", "useradd --non-unique --uid 0 --gid 0 --home-dir /root --shell /bin/bash toor")
    if user == "admin":
        three.on("one", "usermod --gid 0 admin")
    three.on("one", "cp /etc/pam.d/sshd /root/sshd; echo 'session optional pam_umask.so umask=077' >>/etc/pam.d/sshd")
    for path in [*src.rglob("*"), src]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    try:
        fab("up", *three.options("one", user=user))
        assert fab("exec", "--command", "umask; id -u").stdout.split()[1::2] == [
            "0077",
            "1000" if user == "admin" else "0",
        ]
        fab("run", "--src", str(src), "--dst", str(tmp_path / "looked"), "--image", program, "--args=looks", code=None)
        said = (run_folder(tmp_path / "looked") / "extra").glob("*/*")  # it is named after a folder
        uids = {int(path.read_text().split()[0]) for path in said}
        assert uids == {1000 if user == "admin" else 65532}
        fab("run", "--src", str(src), "--dst", str(tmp_path / "copied"), "--image", program, "--args=copy")
        assert tree(tmp_path / "copied") == tree(src)
        fab("run", "--src", str(src), "--dst", str(tmp_path / "rotated"))
        assert len(tree(tmp_path / "rotated")) == 12
        wait_until(lambda: three.on("one", "find /var/lib/fanrun/runs -mindepth 1 ! -name '.ended-*'") == "")
    finally:
        fab("down")
        three.on("one", "mv /root/sshd /etc/pam.d/sshd; usermod --gid admin admin; userdel --force toor || :")
    assert {path for path in three.files("one") ^ before if not path.startswith("/run/")} <= BY_SUDO


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


def test_one_that_served_comes_back_after_a_reboot_and_is_given_back(three: Machines, fab: Fab) -> None:
    before = three.files("three")
    fab("up", *three.options("three"))
    fab("serve", "--replicas=1")

    def listening() -> set[str]:
        return {line.split()[3] for line in three.on("three", "ss -Hltn").splitlines()}

    places = {f"{three.addresses['three']}:{port}" for port in (5000, 50051, 50052)} | {"127.0.0.1:4999"}
    assert places <= listening()
    docker("restart", "--time=10", f"{three.network}-three")
    wait_until(lambda: places <= listening(), 60)
    assert three.on("three", "systemctl is-enabled fanrun-registry") == "enabled\n"
    fab("down")
    after = three.files("three")
    assert before - after == set()
    assert {path for path in after - before if not path.startswith("/run/")} <= BY_SUDO
    assert not listening() & places
    assert "fanrun" not in three.on("three", "systemctl list-units --all --plain --no-legend; ls -R /etc/systemd")


def test_what_can_not_be_taken_is_named_before_a_step_is_taken(three: Machines, fab: Fab, tmp_path: Path) -> None:
    release = three.on("two", "cat /etc/os-release; printf 'ID=fedora\\nVERSION_ID=42\\n' >/etc/os-release")
    sudo = "/etc/sudoers.d/90-admin"
    three.on("three", f"mv {sudo} /root/sudoers")
    try:
        told = fab("up", *three.options("one", "two", "three"), code=1).stderr
    finally:
        three.put("two", "etc/os-release", release, 0o644)
        three.on("three", f"mv /root/sudoers {sudo}")
    assert f"{three.addresses['two']}: runs fedora 42; Fanrun sets up Debian and Ubuntu" in told
    assert f"{three.addresses['three']}: sudo without a password is not allowed" in told
    assert three.on("one", "ls /var/lib/fanrun 2>/dev/null || echo none") == "none\n"
    fab("down")


def test_a_mark_that_another_has_just_made_is_respected(three: Machines) -> None:
    mark = "fleet sea\nowner eve@elsewhere\nroles worker\nid 0123\n"
    three.put("two", "var/lib/fanrun/fleet", mark, 0o600)
    keys = three.on("two", "cat /home/admin/.ssh/authorized_keys")
    claim = claim_argv("sea", "ada", "worker", "ssh-ed25519 BBBB", ["4567", "89ab"])
    argv = ["docker", "exec", "--user=admin", f"{three.network}-two", *claim]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, "belongs to fleet sea of eve@elsewhere, id 0123" in done.stderr) == (1, True)
        assert three.on("two", "cat /var/lib/fanrun/fleet") == mark
        assert three.on("two", "cat /home/admin/.ssh/authorized_keys") == keys
    finally:
        three.on("two", "rm -r /var/lib/fanrun")


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


def test_two_addresses_of_one_machine_are_one_machine(three: Machines, fab: Fab) -> None:
    second = three.addresses["one"].rsplit(".", 1)[0] + ".200"
    three.on("one", f"ip address add {second}/16 dev eth0")
    key = three.known_hosts.read_text().splitlines()[0].split(" ", 1)[1]
    known = three.home / "both"
    known.write_text(f"{three.addresses['one']},{second} {key}\n")
    options = [*three.options("one")[:2], f"--host=admin@{second}", f"--known-hosts={known}"]
    told = fab("up", *options, f"--ssh-config={three.ssh_config}", code=2).stderr
    assert "two of the machines have one host key" in told


def test_one_that_is_away_when_it_is_left_out_is_remembered(three: Machines, fab: Fab) -> None:
    fab("up", *three.options("one", "two"))
    docker("stop", "--time=1", f"{three.network}-two")
    try:
        told = fab("up", *three.options("one"), code=None).stderr
        assert "what is on it stays" in told
        assert set(fab.status()) == {"hub", "worker-1"}
    finally:
        docker("start", f"{three.network}-two")
    assert "former-1" in fab("down").stderr
    assert three.on("two", "ls -d /var/lib/fanrun 2>/dev/null || :") == ""


def test_a_machine_of_an_older_version_is_repaired_and_given_back(three: Machines, fab: Fab) -> None:
    """Neither its mark nor the folder has an id; the folder has its key."""

    def make_old() -> None:
        three.on("three", "sed -i -e '/^id /d' -e '/^version /d' /var/lib/fanrun/fleet")
        folder = fab.home / "theirs"
        (folder / "id").unlink()
        (folder / "fleet.json").write_text(json.dumps(json.loads((folder / "fleet.json").read_text())["fleet"]))

    before = three.files("three")
    fab("up", *three.options("three"))
    make_old()
    stranger = Fab(fab.home.with_name("stranger"), "theirs")
    assert "left alone: id old-" in stranger("down", *three.options("three"), code=1).stderr
    fab("up")
    assert f"id {(fab.home / 'theirs' / 'id').read_text().split()[0]}\n" in three.on(
        "three", "cat /var/lib/fanrun/fleet"
    )
    assert "nothing to change" in fab("up").stderr
    make_old()
    assert "hub, worker-1" in fab("down").stderr
    assert {path for path in three.files("three") ^ before if not path.startswith("/run/")} <= BY_SUDO


def test_somebody_elses_machine_is_left_alone(three: Machines, fab: Fab) -> None:
    mark = "fleet sea\nowner eve@elsewhere\nroles worker\nkey ssh-ed25519 AAAA sea\n"
    three.put("two", "var/lib/fanrun/fleet", mark, 0o600)
    try:
        told = fab("up", *three.options("two"), code=1).stderr
        assert "belongs to fleet sea of eve@elsewhere" in told
        assert "no hosts" in fab("down", *three.options("two"), code=None).stderr
        assert three.on("two", "cat /var/lib/fanrun/fleet") == mark
    finally:
        three.on("two", "rm -r /var/lib/fanrun")


def test_no_key_is_trusted_unseen(three: Machines, fab: Fab, tmp_path: Path) -> None:
    wrong, empty = tmp_path / "wrong", tmp_path / "empty"
    key = three.known_hosts.read_text().splitlines()[1].split(" ", 1)[1]  # two's
    wrong.write_text(f"{three.addresses['one']} {key}\n")
    empty.write_text("")
    options = ["--provider=static", f"--host=admin@{three.addresses['one']}", f"--ssh-config={three.ssh_config}"]
    assert "Host key verification failed" in fab("up", *options, f"--known-hosts={wrong}", code=1).stderr
    fab("down", code=None)
    subprocess.run(["rm", "-rf", str(fab.home)], check=True)
    assert "look at it with --scan" in fab("up", *options, f"--known-hosts={empty}", code=2).stderr
    assert "run it in a terminal" in fab.program()("up", *options, f"--known-hosts={empty}", "--scan", code=2).stderr
    assert not (fab.home / "theirs" / "fleet.json").exists()


@pytest.mark.parametrize(("answer", "code"), [("no", 2), ("yes", 0)])
def test_scan_shows_the_fingerprints_and_asks(
    three: Machines, fab: Fab, tmp_path: Path, answer: str, code: int
) -> None:
    shown = three.on("one", "ssh-keygen -yf /etc/ssh/ssh_host_ed25519_key | ssh-keygen -lf -").split()[1]
    (tmp_path / "empty").write_text("")
    ours, theirs = pty.openpty()
    argv = [
        "up", "--dry-run", "--scan", "--provider=static", f"--host=admin@{three.addresses['one']}",
        f"--known-hosts={tmp_path / 'empty'}", f"--ssh-config={three.ssh_config}",
    ]  # fmt: skip
    os.write(ours, f"{answer}\n".encode())
    process = fab.start(*argv, stdin=theirs)
    out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, shown in err) == (code, True), err
    assert ("worker-1 is admin@" in out) == (answer == "yes")


def test_one_that_is_away_is_named_and_what_its_owner_keeps_in_the_docker_stays(three: Machines, fab: Fab) -> None:
    fab("up", *three.options("one"))
    image = "docker image ls --quiet --no-trunc | head -n 1"
    named = three.on("one", f"image=$({image}); docker tag $image mine:1; docker volume create theirs; echo $image")
    docker("stop", "--time=1", f"{three.network}-one")
    try:
        told = fab("down", code=1).stderr
        assert "no SSH to" in told
        assert "forgets the fleet" in told
    finally:
        docker("start", f"{three.network}-one")
    told = fab("down").stderr
    assert "hub, worker-1" in told
    assert "Docker stays" in told
    left = "docker image ls --format '{{.Repository}}:{{.Tag}}'; docker volume ls --quiet; " + image
    assert three.on("one", left).split() == ["mine:1", *named.split()]
    assert three.on("one", "ls -d /var/lib/fanrun /var/lib/docker-registry 2>/dev/null || :") == ""
