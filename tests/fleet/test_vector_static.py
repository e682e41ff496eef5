"""Log shipping on machines that were there before: with and without systemd, and given back as they were.

The package is the tests' own, and stands for Vector (tests/fleet/vector_package.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from provision.hosts.spool import LOGS
from tests.fleet import vector_package
from tests.fleet.harness import Fab, docker
from tests.fleet.machines import Machines, machines
from tests.waiting import wait_until

pytestmark = pytest.mark.long

BY_SUDO = {"/home/admin/.sudo_as_admin_successful"}
USERS = "getent passwd vector; getent group vector; dpkg-query -W vector 2>/dev/null || :"
RUNNING = "ps -eo user,args | grep '[/]vector --config' || :"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """The second is run by systemd."""
    home, network = tmp_path_factory.mktemp("owner"), f"fanrun-vector-{os.getpid()}"
    with machines(home, network, "plain", "systemd", systemd=["systemd"]) as found:
        yield found


@pytest.fixture
def fab(tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "theirs")


def configurations(two: Machines, name: str) -> set[str]:
    """What Vector runs with on a machine."""
    return {line.split()[-1].rpartition("/")[2] for line in two.on(name, RUNNING).splitlines()}


def has_configurations(two: Machines, name: str, expected: set[str]) -> bool:
    return configurations(two, name) == expected


def check_old_logs_go(machines: Machines) -> None:
    """Check that the hub with systemd removes logs that are older than it keeps them."""
    run = f"{LOGS}/r"
    machines.on("systemd", f"install -d -o vector {run} && touch -d '20 days ago' {run}/w.jsonl {run}")
    machines.on("systemd", f"chown vector {run}/w.jsonl && systemctl start fanrun-logs && test ! -e {run}/w.jsonl")
    assert "fanrun-logs.timer" in machines.on("systemd", "systemctl list-timers --all")


def check_files_are_back(machines: Machines, name: str, before: set[str]) -> None:
    """Check that a machine has the files that it had before, and none of Fanrun's."""
    after = machines.files(name)
    assert before - after == set()
    assert {path for path in after - before if not path.startswith("/run/")} <= BY_SUDO


@pytest.mark.parametrize("hub", ["plain", "systemd"])
def test_it_is_installed_and_taken_away_again(two: Machines, fab: Fab, tmp_path: Path, hub: str) -> None:
    before = {name: two.files(name) for name in two.addresses}
    users = {name: two.on(name, USERS) for name in two.addresses}
    deb = vector_package.build(tmp_path)
    options = [*two.options(*two.addresses), f"--hub=admin@{two.addresses[hub]}"]
    told = fab("up", *options, f"--vector={deb}", FANRUN_LOGS="required").stderr
    assert f"go to hub:{LOGS}" in told
    assert "nothing to change" in fab("up").stderr
    ships, takes = "fanrun-vector.toml", "fanrun-vector-hub.toml"
    expected = {name: {ships, takes} if name == hub else {ships} for name in two.addresses}
    for name in two.addresses:
        wait_until(partial(has_configurations, two, name, expected[name]))
        assert "file /etc/systemd/system/vector.service\n" in two.on(name, "cat /var/lib/fanrun/added")
    two.start("systemd", again=True)
    wait_until(lambda: configurations(two, "systemd") == expected["systemd"])
    assert two.on("systemd", "systemctl is-enabled vector || :") == "masked\n"
    assert two.on("systemd", "systemctl show -p MemoryMax -p CPUWeight -p NRestarts fanrun-vector").split() == [
        "NRestarts=0",
        "CPUWeight=10",
        "MemoryMax=536870912",
    ]
    if hub == "systemd":
        check_old_logs_go(two)
    fab("down")
    for name in two.addresses:
        check_files_are_back(two, name, before[name])
        assert two.on(name, USERS) == users[name]
        assert configurations(two, name) == set()
        assert two.on(name, "ls -d /var/log/fanrun* /var/lib/fanrun* /var/lib/vector 2>/dev/null || :") == ""
    assert "fanrun" not in two.on("systemd", "systemctl list-units --all --plain --no-legend; ls -R /etc/systemd")


def test_the_hub_moves(two: Machines, fab: Fab, tmp_path: Path) -> None:
    """The one that was the hub before takes logs no more."""
    deb = vector_package.build(tmp_path)
    options = [*two.options(*two.addresses), f"--vector={deb}"]
    try:
        fab("up", *options, f"--hub=admin@{two.addresses['plain']}")
        wait_until(lambda: len(configurations(two, "plain")) == 2)
        fab("up", *options, f"--hub=admin@{two.addresses['systemd']}")
        wait_until(lambda: len(configurations(two, "systemd")) == 2)
        assert configurations(two, "plain") == {"fanrun-vector.toml"}
        assert "nothing to change" in fab("up").stderr
    finally:
        fab("down")


@pytest.mark.parametrize("version", ["0.48.0", "0.57.0"])
def test_a_vector_of_the_owners_own(two: Machines, fab: Fab, tmp_path: Path, version: str) -> None:
    """One of the pinned version is used, another is left alone; neither goes."""
    deb = vector_package.build(tmp_path, version)
    argv = ["docker", "cp", str(deb), f"{two.network}-plain:/root/vector.deb"]
    docker(*argv[1:])
    two.on("plain", "dpkg -i /root/vector.deb && rm /root/vector.deb")
    before, users = two.files("plain"), two.on("plain", USERS)
    try:
        told = " ".join(fab("up", *two.options("plain")).stderr.split())
        if version == "0.57.0":
            wait_until(lambda: len(configurations(two, "plain")) == 2)
            assert f"logs go to hub:{LOGS}" in told
        else:
            assert "has a Vector of its own (version 0.48.0), which is left alone" in told
            assert configurations(two, "plain") == set()
            assert (
                "ships logs with version 0.57.0; `logs: required`" in fab("up", code=1, FANRUN_LOGS="required").stderr
            )
    finally:
        fab("down")
    try:
        assert {path for path in two.files("plain") ^ before if not path.startswith("/run/")} <= BY_SUDO
        assert two.on("plain", USERS) == users
    finally:
        two.on("plain", "dpkg --purge vector; userdel vector; rm -rf /var/lib/vector")
