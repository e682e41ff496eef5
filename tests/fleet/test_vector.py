"""Log shipping as `fab up` brings it to hosts, with a small package of the tests' own that stands for Vector.

That package ships nothing: what Vector itself does with the configuration is tested where there is a `vector` on PATH
(tests/unit/test_vector_toml.py, test_vector_shipping.py).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fanrun.fleet.store import Folder
from provision.hosts import ca
from provision.hosts.spool import LOGS
from provision.hosts.vector import FOLDER
from tests.fleet import vector_package
from tests.fleet.beside import answered, ask
from tests.fleet.harness import Fab, docker, ssh
from tests.waiting import wait_until

HOSTS = ("hub", "worker-1", "worker-2")
pytestmark = pytest.mark.long

SERVICES = {"hub": ["fanrun-vector", "fanrun-vector-hub"], "worker-1": ["fanrun-vector"], "worker-2": ["fanrun-vector"]}

GET = """
import socket
connection = socket.create_connection(("127.0.0.1", 6001), timeout=10)
connection.sendall(b"GET /metrics HTTP/1.1\\r\\n\\r\\n")
print(connection.makefile().read())
"""


@pytest.fixture(scope="module")
def fab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    """A fleet of its own: what is installed on it stays."""
    fab = Fab(tmp_path_factory.mktemp("home"), f"logs-{os.getpid()}")
    try:
        yield fab
    finally:
        fab("down")


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vector_package.build(tmp_path_factory.mktemp("deb"))


def up(fab: Fab, *argv: str, code: int = 0, **environment: str) -> str:
    """What `fab up` says, with one space between words."""
    return " ".join(fab("up", *argv, code=code, **environment).stderr.split())


def running(fab: Fab, host: str) -> set[str]:
    """What Vector runs with on a host: "user configuration nice"."""
    lines = fab.on(host, "ps -eo user,nice,args | grep '[/]vector --config' || :").splitlines()
    return {f"{line.split()[0]} {line.split()[-1].rpartition('/')[2]} {line.split()[1]}" for line in lines}


def expected(host: str) -> set[str]:
    return {f"vector {name}.toml 10" for name in SERVICES[host]}


def test_without_a_package_and_a_repository_it_is_said_once(fab: Fab) -> None:
    told = up(fab, "--hosts=2")
    assert told.count("Vector can't be installed") == 1
    assert "logs Vector can't be installed (https://keys.datadoghq.com/" in told
    assert "could not be downloaded); logs stay on the workers and come home with the batches; `fab up --vector" in told
    again = up(fab)
    assert "nothing to change" in again
    assert again.count("Vector can't be installed") == 1
    for host, mode in zip(HOSTS, ("2770", "2750", "2750"), strict=True):
        assert fab.on(host, f"stat -c '%U %G %a' {LOGS}") == f"admin admin {mode}\n"
        assert fab.on(host, "ls /etc/apt/sources.list.d /var/lib/fanrun | grep -i vector || :") == ""


def test_where_logs_are_required_it_is_an_error(fab: Fab) -> None:
    told = up(fab, code=1, FANRUN_LOGS="required")
    assert "hub: Vector can't be installed" in told
    assert "`logs: required` asks for log shipping, and `fab up --vector FILE.deb" in told


@pytest.mark.parametrize(
    ("version", "package", "message"),
    [
        ("0.56.0", "vector", "is Vector 0.56.0-1; Fanrun ships logs with version 0.57.0"),
        ("0.57.0", "other", "is package other, not vector"),
    ],
)
def test_another_package_is_refused(fab: Fab, tmp_path: Path, version: str, package: str, message: str) -> None:
    file = vector_package.build(tmp_path, version, package)
    assert message in up(fab, f"--vector={file}", code=2)
    assert fab.on("hub", "command -v vector || :") == ""


def runs_as_expected(fab: Fab, host: str) -> bool:
    return running(fab, host) == expected(host)


def test_it_is_installed_and_runs_on_all(fab: Fab, deb: Path) -> None:
    told = up(fab, f"--vector={deb}", FANRUN_LOGS="required")
    assert f"logs go to hub:{LOGS}" in told
    for host in HOSTS:
        assert f"{host} installed Vector 0.57.0" in told
        wait_until(partial(runs_as_expected, fab, host), 20)
        assert fab.on(host, f"stat -c '%U %G' {LOGS}") == "admin vector\n"
        for file in fab.on(host, f"ls {FOLDER}/*.key").split():
            assert fab.on(host, f"stat -c '%U %a' {file}") == "vector 600\n"
        assert fab.on(host, "ls /var/lib/fanrun/vector* 2>/dev/null || :") == ""
    address = fab.status()["hub"]["address"]
    assert f'address = "{address}:6000"' in fab.on("hub", f"cat {FOLDER}/fanrun-vector-hub.toml")
    worker = fab.on("worker-2", f"cat {FOLDER}/fanrun-vector.toml")
    assert f'address = "{address}:6000"' in worker
    assert '.host = "worker-2"' in worker
    # Only the shipper reads what is root's, and it gets nothing else of root's.
    caps = "for pid in $(pgrep -u vector -f -- '--config'); do grep -h -e CapEff -e NoNewPrivs /proc/$pid/status; done"
    found = fab.on("worker-1", caps)
    assert "CapEff:\t0000000000000004\nNoNewPrivs:\t1\n" in found
    assert "0000000000000000\nNoNewPrivs:\t1\n" in fab.on("hub", caps)


def test_only_members_are_answered_where_logs_go(fab: Fab) -> None:
    """The addresses and the TLS are those of our configuration; the package of the tests does as that says."""
    addresses = {host: row["address"] for host, row in fab.status().items()}
    targets = [(address, port) for address in addresses.values() for port in (6000, 6001, 6002)]
    hub = f"{addresses['hub']}:6000"
    wait_until(lambda: "6000" in fab.on("hub", "ss -Hltn"))
    found = ask(fab, targets)
    assert answered(found) == {}
    assert {place for place, ways in found.items() if ways} == {hub}, "all else is on loopback"
    for host in HOSTS:
        assert "stands for Vector" in fab.on(host, f"python3 -c '{GET}'"), "something listens at loopback"
    folder = Folder(fab.home, fab.fleet)
    member = ca.client(folder.ca_key.read_text(), folder.ca_cert.read_text(), [addresses["worker-1"]])
    assert "stands for Vector" in ask(fab, targets, member)[hub]["TLS HTTP/2"]


def test_the_second_time_changes_nothing(fab: Fab, deb: Path) -> None:
    for argv in ([], [f"--vector={deb}"]):
        told = up(fab, *argv)
        assert "nothing to change" in told
        assert f"logs go to hub:{LOGS}" in told


def test_it_comes_back_after_its_death_and_after_a_reboot(fab: Fab) -> None:
    fab.on("worker-1", "pkill -9 -u vector -f -- '[-]-config'")
    wait_until(lambda: running(fab, "worker-1") == expected("worker-1"), 20)
    docker("restart", "--time=5", fab.containers()["hub"])
    wait_until(lambda: running(fab, "hub") == expected("hub"), 30)
    wait_until(lambda: ssh(fab, "hub", "true").returncode == 0)
    fab.on("worker-2", "service fanrun-vector stop")
    assert running(fab, "worker-2") == set()
    assert "worker-2 fanrun-vector started" in up(fab)
    assert running(fab, "worker-2") == expected("worker-2")


def test_files_that_came_before_an_interruption_are_taken(fab: Fab) -> None:
    """What runs was started before they were written."""
    fab.on("worker-2", f"touch {FOLDER}/host.crt")
    before = fab.on("worker-2", "pgrep -u vector -f -- '[-]-config'")
    assert "worker-2 fanrun-vector started anew" in up(fab)
    wait_until(lambda: running(fab, "worker-2") == expected("worker-2"), 20)
    assert fab.on("worker-2", "pgrep -u vector -f -- '[-]-config'") != before
    assert "nothing to change" in up(fab)


def test_a_configuration_that_vector_refuses_is_not_taken(fab: Fab) -> None:
    """Here the program itself refuses all, and what it runs with goes on."""
    fab.on(
        "worker-1",
        "cp /usr/bin/vector /root/vector && sed -i s/validate/refuse/ /usr/bin/vector && "
        f"echo >>{FOLDER}/fanrun-vector.toml",
    )
    before = fab.on("worker-1", "pgrep -u vector -f -- '[-]-config'")
    told = up(fab)
    assert "worker-1: Vector refuses its configuration" in told
    assert "it goes on as before; logs stay on the workers" in told
    assert fab.on("worker-1", "pgrep -u vector -f -- '[-]-config'") == before
    assert ".new.toml" not in fab.on("worker-1", f"ls {FOLDER}")
    fab.on("worker-1", "cp /root/vector /usr/bin/vector")
    assert "worker-1 fanrun-vector set up" in up(fab)


def test_old_logs_go(fab: Fab) -> None:
    make = (
        f"cd {LOGS} && install -d -o vector -g vector old new && echo a >old/worker-1.jsonl && "
        "echo b >new/worker-1.jsonl && touch -d '15 days ago' old/worker-1.jsonl old && chown vector: */*.jsonl"
    )
    fab.on("hub", make)
    fab.on("worker-1", f"cd {LOGS} && touch new.jsonl old.jsonl && touch -d '25 hours ago' old.jsonl")
    fab("up")
    assert fab.on("hub", f"cd {LOGS} && ls */*.jsonl") == "new/worker-1.jsonl\n"
    # As in docs/logs.md.
    argv = ["ssh", "-F", str(fab.home / fab.fleet / "ssh_config"), "hub", f'sudo sh -c "tail -n 5 {LOGS}/*/*.jsonl"']
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "b\n"
    assert fab.on("worker-1", f"ls {LOGS}") == "new.jsonl\n"


def test_it_is_switched_off_and_on(fab: Fab) -> None:
    told = up(fab, FANRUN_LOGS="off")
    assert "hub fanrun-vector and fanrun-vector-hub ended" in told
    assert "log shipping is off" in told
    assert [running(fab, host) for host in HOSTS] == [set(), set(), set()]
    assert "nothing to change" in up(fab, FANRUN_LOGS="off")
    docker("restart", "--time=5", fab.containers()["worker-1"])
    wait_until(lambda: fab.on("worker-1", "pgrep -c sshd || :") != "0\n", 20)
    assert running(fab, "worker-1") == set()
    assert "hub fanrun-vector-hub started" in up(fab)
    assert {host: running(fab, host) for host in HOSTS} == {host: expected(host) for host in HOSTS}
    docker("restart", "--time=5", fab.containers()["worker-1"])
    wait_until(lambda: running(fab, "worker-1") == expected("worker-1"), 30)
    wait_until(lambda: ssh(fab, "worker-1", "true").returncode == 0)
