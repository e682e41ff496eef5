"""Machines as they are: the login may use Docker and not sudo. A fleet works there, and changes nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, tree
from tests.fleet.machine_images import WITH_DOCKER
from tests.fleet.machines import Machines, machines
from tests.waiting import wait_until

LOGIN = """
set -e
useradd --create-home --shell /bin/bash bob
install -d -m 700 -o bob /home/bob/.ssh
cp /home/admin/.ssh/authorized_keys /home/bob/.ssh/
chown -R bob: /home/bob
usermod --append --groups docker bob
"""
STATE = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log \) -prune -o \
  -type f -path '/etc/*' -exec sha256sum {} + | sort
dpkg-query -W; getent passwd; getent group
docker image ls --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'
docker ps --all --no-trunc --format '{{.ID}} {{.Names}}'; docker network ls; docker volume ls
sha256sum /home/*/.ssh/authorized_keys
"""
"""What nobody may change there: files of /etc, packages, users, what is in Docker, keys that log in."""
OWN = "tar -c -C / etc/hostname | docker import - mine:1 >/dev/null; docker create --name theirs mine:1 true >/dev/null"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two machines with Docker, rsync and Python, on which bob may use Docker, and nobody may use sudo."""
    home, network = tmp_path_factory.mktemp("bare"), f"fanrun-bare-{tmp_path_factory.getbasetemp().name}"
    with machines(home, network) as found:
        for name in ("one", "two"):
            found.add(name, WITH_DOCKER)
            found.on(name, "service docker start; timeout 60 sh -c 'until docker version; do sleep 0.3; done'")
            found.on(name, LOGIN + OWN)
            found.on(name, "rm -f /etc/sudoers.d/*; mv /usr/bin/sudo /usr/bin/sudo.gone")
        yield found


@pytest.fixture
def fab(tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "asis")


def seen(bare: Machines, name: str) -> tuple[set[str], str]:
    """Return the files of a machine, and what is not to change on it."""
    return bare.files(name), bare.on(name, STATE)


def options(bare: Machines, *names: str) -> list[str]:
    return [*bare.options(*names, user="bob"), "--no-sudo"]


@pytest.mark.long
def test_used_as_they_are_and_left_as_they_were(bare: Machines, fab: Fab, src: Path, program: str) -> None:
    before = {name: seen(bare, name) for name in ("one", "two")}
    told = fab("up", *options(bare, "one", "two")).stderr
    assert "log shipping needs sudo; logs stay on the workers" in told
    assert "nothing to change" in fab("up").stderr, "the choice is remembered"
    hosts = fab.status()
    assert {row["reachable"] and bool(row["docker"]) and bool(row["images"]) for row in hosts.values()} == {True}
    changed = {name: seen(bare, name)[0] ^ before[name][0] for name in before}
    outside = [path for paths in changed.values() for path in paths if not path.startswith("/home/bob/.fanrun-host")]
    assert [path for path in outside if not path.startswith("/run/")] == []

    work(bare, fab, src, program)
    fab("down")
    for name, (files, state) in before.items():
        assert {path for path in bare.files(name) ^ files if not path.startswith("/run/")} == set()
        assert bare.on(name, STATE) == state
    assert "no hosts" in fab("down").stderr


def work(bare: Machines, fab: Fab, src: Path, program: str) -> None:
    """Do with the fleet all that can be done with it."""
    top = src.parent
    fab("run", "--src", str(src), "--dst", str(top / "dst"))
    assert len(tree(top / "dst")) == 12
    assert "12 of 12" in fab("verify", "--dst", str(top / "dst")).stdout
    fab("run", "--src", str(src), "--dst", str(top / "copy"), "--image", program, "--args=copy")
    assert tree(top / "copy") == tree(src)
    # Somebody has cleaned up the Docker of a worker.
    bare.on("two", "docker image ls --format '{{.Repository}}:{{.Tag}}' | grep fanrun | xargs docker rmi")
    again = ("run", "--src", str(src), "--dst", str(top / "again"), "--force")
    assert "worker-2   has process.py" in fab(*again).stderr
    assert tree(top / "again") == tree(top / "dst")
    fab("logs")
    assert "worker-1 is free" in fab("drain", "--host=worker-1").stderr
    fab("drain", "--host=worker-1", "--undo")
    assert "was made with --no-sudo" in fab("serve", "--replicas=1", code=2).stderr
    fab("deploy")


@pytest.mark.long
def test_what_is_missing_is_named_for_each_machine_before_anything_changes(bare: Machines, fab: Fab) -> None:
    before = {name: seen(bare, name) for name in ("one", "two")}
    bare.on("one", "mv /usr/bin/rsync ~; mv /usr/bin/python3 ~")
    bare.on("two", "gpasswd --delete bob docker")
    try:
        told = fab("up", *options(bare, "one", "two"), code=1).stderr
    finally:
        bare.on("one", "mv ~/rsync ~/python3 /usr/bin/")
        bare.on("two", "usermod --append --groups docker bob")
    assert f"{bare.addresses['one']}: not there: rsync, python3;" in told
    why = "docker: the login is not in the group docker (`sudo usermod -aG docker bob` on the machine)"
    assert f"{bare.addresses['two']}: {why}" in told
    assert "Traceback" not in told
    assert "no hosts" in fab("down").stderr
    for name, (files, _) in before.items():
        assert {path for path in bare.files(name) ^ files if not path.startswith("/run/")} == set()


@pytest.mark.long
@pytest.mark.parametrize("shell", ["csh", "fish", "root"])
def test_other_logins(bare: Machines, fab: Fab, tmp_path: Path, src: Path, shell: str) -> None:
    """Those whose shell is no sh, and root itself."""
    if shell != "root":
        bare.on("one", f"apt-get -q update; apt-get -q install -y --no-install-recommends {shell}")
        bare.on("one", f"chsh -s /usr/bin/{shell} bob; su - bob -c true")
    user = "root" if shell == "root" else "bob"
    before = seen(bare, "one")
    fab("up", *bare.options("one", user=user), "--no-sudo")
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert len(tree(tmp_path / "dst")) == 12
    fab("down")
    assert {path for path in bare.files("one") ^ before[0] if not path.startswith("/run/")} == set()
    assert bare.on("one", STATE) == before[1]


@pytest.mark.long
def test_a_run_that_was_killed_leaves_nothing_after_down(
    bare: Machines, fab: Fab, tmp_path: Path, src: Path, program: str
) -> None:
    before = seen(bare, "one")
    fab("up", *options(bare, "one"))
    arguments = ("run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", program, "--args=slow 1000")
    process = fab.program().start(*arguments)
    wait_until(lambda: bare.on("one", "docker ps --quiet --filter label=fanrun.run"), 60)
    process.kill()
    process.communicate()
    fab("down")
    assert {path for path in bare.files("one") ^ before[0] if not path.startswith("/run/")} == set()
    assert bare.on("one", STATE) == before[1]


@pytest.mark.long
def test_the_opposite_choice_is_answered(bare: Machines, fab: Fab) -> None:
    fab("up", *options(bare, "one"))
    try:
        told = fab("up", code=2, FANRUN_NO_SUDO="false").stderr
        assert "fleet asis was made with --no-sudo; `fab down --fleet asis` ends it" in told
        assert "is of no use; leave it out" in fab("up", "--ask-sudo-password", code=2).stderr
        assert "end hub, worker-1" in fab("down", "--dry-run", FANRUN_NO_SUDO="false").stdout
        bare.on("one", "mv /usr/bin/rsync ~")
        assert "worker-1: not there: rsync" in fab("up", code=1).stderr
        bare.on("one", "mv ~/rsync /usr/bin/")
        known = (fab.home / "asis" / "id").read_text().strip()
        subprocess.run(["rm", "-r", str(fab.home)], check=True)
        told = fab("down", *options(bare, "one"), code=1).stderr
        assert f"--host=bob@{bare.addresses['one']} --fleet=asis --take-over={known}` ends it" in told
        assert "`fab down --provider=static --no-sudo" in told
        assert "hub, worker-1" in fab("down", *options(bare, "one"), f"--take-over={known}").stderr
    finally:
        fab("down")
    assert bare.on("one", "ls -A /home/bob | grep fanrun || :") == ""
