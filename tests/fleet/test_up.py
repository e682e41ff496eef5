"""A fleet from nothing to ready, repaired, scaled, and gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fleet.errors import CommandFailed
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from tests.fleet.harness import Fab, docker, ssh, tree
from tests.waiting import wait_until


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Fab]:
    """A fleet that a test may break; it is gone after it."""
    fab = Fab(tmp_path / "home", f"other-{os.getpid()}")
    try:
        yield fab
    finally:
        fab("down")
        assert fab.containers() == {}


def test_a_second_up_changes_nothing(fab: Fab) -> None:
    before = fab.containers()
    done = fab("up", "--hosts=2")
    assert "nothing to change" in done.stderr
    assert "provider local" in done.stderr
    assert fab.containers() == before


def test_status_shows_every_host(fab: Fab) -> None:
    rows = fab.status()
    assert list(rows) == ["hub", "worker-1", "worker-2"]
    assert all(row["reachable"] and row["docker"] and row["cpus"] and row["disk_free"] for row in rows.values())
    image = Folder(fab.home, fab.fleet).load().images["process.py"]
    for name in ("worker-1", "worker-2"):
        assert f"process.py {image.ref.rpartition('@')[2]}" in rows[name]["images"]
    table = fab("status").stdout
    assert all(name in table for name in rows)


def test_hosts_are_plain_and_keys_are_private(fab: Fab) -> None:
    assert len({row["address"] for row in fab.status().values()}) == 3
    for path in (fab.home / fab.fleet).iterdir():
        if path.name != "lock":
            assert path.stat().st_mode & 0o077 == 0, path
    known = (fab.home / fab.fleet / "known_hosts").read_text().splitlines()
    assert len(known) == 3
    assert all(line.split(" ")[1] == "ssh-ed25519" for line in known)


# As `fab up` wrote it when the registry was one process.


def test_exec_shows_every_result(fab: Fab) -> None:
    done = fab("exec", "--command", "hostname; echo 'a  b' >&2")
    assert done.stdout.splitlines() == ["worker-1: worker-1", "worker-2: worker-2"]
    assert done.stderr.splitlines().count("worker-1: a  b") == 1
    bad = fab("exec", "--command", '[ "$(hostname)" = worker-2 ]', code=1)
    assert "worker-1: error: exit 1" in bad.stderr
    assert "worker-2: error" not in bad.stderr


def test_ssh_reaches_the_host_named(fab: Fab) -> None:
    fab("ssh", "--host", "hub")  # its standard input is empty: the shell ends at once
    assert "worker-1, worker-2" in fab("ssh", "--host", "worker-9", code=2).stderr


def test_a_host_with_another_key_is_not_trusted(fab: Fab) -> None:
    key = "/etc/ssh/ssh_host_ed25519_key"
    fab.on("worker-1", f"cp -p {key} /var/tmp/kept && rm {key} && ssh-keygen -q -t ed25519 -N '' -f {key}")
    try:
        fab.on("worker-1", "kill -HUP 1")
        wait_until(lambda: "Host key verification failed" in ssh(fab, "worker-1", "true").stderr)
        row = fab.status(code=1)["worker-1"]
        assert not row["reachable"]
        assert "host key is not the pinned one" in row["error"]
        assert "worker-2: worker-2" in fab("exec", "--command", "hostname", code=1).stdout
    finally:
        fab.on("worker-1", f"rm {key}.pub; mv /var/tmp/kept {key} && kill -HUP 1")
        wait_until(lambda: ssh(fab, "worker-1", "true").returncode == 0)


def test_a_step_that_hangs_is_ended_on_its_host(fab: Fab) -> None:
    folder = Folder(fab.home, fab.fleet)
    remote = Remote(folder, folder.load().hub)
    try:
        with pytest.raises(CommandFailed, match="took too long, its last words: nearly there"):
            remote.run(["sh", "-c", "echo nearly there; sleep 77"], sudo=True, timeout=1)
    finally:
        remote.close()
    assert "sleep 77" not in fab.on("hub", "ps ax -o args | grep -v grep")


def test_status_fails_where_docker_does_not_answer(fab: Fab) -> None:
    fab.on("worker-1", "service docker stop")
    try:
        wait_until(lambda: "dockerd" not in fab.on("worker-1", "ps -eo comm"))
        row = fab.status(code=1)["worker-1"]
        assert (row["reachable"], row["docker"]) == (True, "")
        line = f"worker-1: its Docker does not answer; `fab up --fleet {fab.fleet}` repairs the fleet\n"
        assert fab("status", code=1).stderr == line
    finally:
        fab("up", "--hosts=2")
    assert fab.status()["worker-1"]["docker"]


@pytest.mark.long
def test_up_repairs_what_a_host_lost(fab: Fab) -> None:
    fab.on("worker-1", "service docker stop; rm -rf /etc/docker/certs.d /var/lib/fanrun /usr/bin/rsync")
    fab.on("hub", "service docker-registry stop; rm -rf /var/lib/docker-registry/* /etc/docker/registry/fanrun.crt")
    assert f"`fab up --fleet {fab.fleet}` sets it up or repairs it" in fab("deploy", code=1).stderr
    fab.on("worker-2", "docker image prune --all --force")
    docker("stop", "--time=1", fab.containers()["worker-2"])
    wait_until(lambda: "docker" not in fab.on("worker-1", "ps -eo comm"))
    done = fab("up", "--hosts=2").stderr
    for what in (
        "worker-1   work folder made",
        "worker-1   installed rsync",
        "worker-1   docker started",
        "worker-1   trusts the hub's registry",
        "hub        registry set up",
        "worker-2   started again",
        "worker-2   pulled process.py",
    ):
        assert what in done
    assert "nothing to change" in fab("up", "--hosts=2").stderr


def test_a_package_that_apt_can_not_download_is_not_called_installed(fab: Fab) -> None:
    """If a package is to be installed again, apt succeeds though it can't be downloaded."""
    folder = "/etc/apt-kept"
    fab.on("worker-1", f"mkdir {folder} && mv /etc/apt/sources.list* {folder}")
    fab.on("worker-1", "rm -rf /usr/bin/rsync /var/lib/apt/lists/*")
    try:
        said = fab("up", "--hosts=2", code=1).stderr
        assert "worker-1: could not install what brings rsync (apt did not bring them)" in said
    finally:
        fab.on("worker-1", f"mv {folder}/* /etc/apt; rmdir {folder}")
    assert "worker-1   installed rsync" in fab("up", "--hosts=2").stderr


def test_scales_up_and_down(fab: Fab, program: str, src: Path, tmp_path: Path) -> None:
    fab("up", "--hosts=3")
    assert list(fab.status()) == ["hub", "worker-1", "worker-2", "worker-3"]
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", program, "--args", "copy")
    assert tree(tmp_path / "dst") == tree(src)
    done = fab("up", "--hosts=2").stderr
    assert "worker-3   removed" in done
    assert list(fab.status()) == list(fab.containers()) or set(fab.status()) == set(fab.containers())


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_up_goes_on_after_it_was_cut_short(other: Fab, sign: signal.Signals, code: int) -> None:
    up = other.start("up", "--hosts=1")
    wait_until(lambda: set(other.containers("status=running")) == {"hub", "worker-1"}, timeout=120)
    up.send_signal(sign)
    _, err = up.communicate(timeout=30)
    assert up.returncode == code, err
    assert "Traceback" not in err
    if sign == signal.SIGINT:
        assert "what exists: hub (running), worker-1 (running); " in err
        assert f"`fab up --fleet {other.fleet}` goes on from here" in err
        other("up", "--hosts=1")
        assert all(row["reachable"] and row["docker"] for row in other.status().values())


def test_down_leaves_nothing(other: Fab) -> None:
    up = other.start("up", "--hosts=1")
    wait_until(lambda: len(other.containers()) > 0, timeout=120)
    up.kill()
    up.communicate()
    volumes = docker("inspect", "--format={{range .Mounts}}{{.Name}} {{end}}", *other.containers().values()).split()
    assert volumes
    (other.home / other.fleet / "fleet.json").unlink(missing_ok=True)  # found by label all the same
    other("down")
    assert other.containers() == {}
    assert not (other.home / other.fleet).exists()
    assert not set(volumes) & set(docker("volume", "ls", "--quiet").split())
    assert "other" not in docker("network", "ls", f"--filter=name=fanrun-{other.fleet}-", "--format={{.Name}}")
    assert "there were no hosts" in other("down").stderr


def test_a_fleet_in_change_is_not_changed_by_another(other: Fab) -> None:
    up = other.start("up", "--hosts=1")
    wait_until(lambda: (other.home / other.fleet / "fleet.json").exists())
    assert f"is being changed by process {up.pid}" in other("up", code=2).stderr
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=30)
