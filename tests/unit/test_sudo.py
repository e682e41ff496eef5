"""How root's rights are had on a host, and what becomes of a password."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.errors import FleetDamaged, HostError
from fanrun.fleet.layout import USUAL, Layout
from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.store import Folder
from fanrun.fleet.sudo import ASKING, NOT_INSTALLED, SudoPassword, explain_refusal, root_argv
from provision.hosts.scripts import host_script
from provision.providers.static.options import StaticOptions
from provision.providers.static.sudo_choice import find_conflict, lacks_password
from tests.unit.worker_scripts import stand_in

FREE = Host("worker-1", "worker", "10.0.0.1", "10.0.0.1", "bob")
ASKED = dataclasses.replace(FREE, sudo="password")
BARE = dataclasses.replace(FREE, sudo="none", work="/home/bob/.fanrun-host")
PASSWORD = """ a "b'c\\d $e é%s"""
READS = 'IFS= read -r line; printf "%s\\n" "$line" >>"{log}"; while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
"""A sudo that keeps the line that it reads, and runs the command."""


def test_commands_of_root() -> None:
    assert root_argv("free", ["id"]) == ["sudo", "-n", "id"]
    assert root_argv("none", ["id"]) == ["id"]
    assert root_argv("password", ["id"]) == [*ASKING, "id"]
    assert {"-k", "-S"} <= set(ASKING), "it reads a line each time, so that no command gets the password"


def test_where_files_are_and_how_docker_is_called() -> None:
    assert FREE.layout == USUAL
    assert ASKED.layout == Layout(docker_by_sudo=False)
    assert (BARE.layout.runs, BARE.layout.mark) == ("/home/bob/.fanrun-host/runs", "/home/bob/.fanrun-host/fleet")
    assert (BARE.layout.logs, BARE.layout.prefix) == ("/home/bob/.fanrun-host/logs", [])
    assert (USUAL.logs, USUAL.prefix) == ("/var/log/fanrun", ["sudo", "-n"])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Sorry, try again.\nsudo: no password was provided\nsudo: 1 incorrect password attempt\n", "tried once"),
        ("bob is not in the sudoers file.\n", "does not allow the login anything"),
        ("Sorry, user bob may not run sudo on one.\n", "does not allow the login anything"),
        ("env: 'sudo': No such file or directory\n", NOT_INSTALLED),
        ("sudo: unable to open /run/x\n\n", "sudo refuses (sudo: unable to open /run/x)"),
        ("", "sudo refuses (it said nothing)"),
    ],
)
def test_a_refusal_is_told_in_words(said: str, expected: str) -> None:
    assert expected in explain_refusal(said)


def test_a_host_gets_a_password_once_to_check_it() -> None:
    sudo, asked = SudoPassword(), list[bytes]()
    with pytest.raises(HostError, match="--ask-sudo-password asks you for it, --no-sudo uses"):
        sudo.line("10.0.0.1", lambda _: "")
    sudo.give("geheim é")

    def check(line: bytes, answer: str = "") -> str:
        asked.append(line)
        return answer

    for _ in range(2):
        assert sudo.line("10.0.0.1", check) == "geheim é\n".encode()
        with pytest.raises(HostError, match="wrong"):
            sudo.line("10.0.0.2", lambda line: check(line, "wrong"))
    assert len(asked) == 2
    assert "geheim" not in f"{sudo} {sudo!r}"


def test_a_password_is_in_no_file(folder: Folder) -> None:
    folder.create()
    folder.ensure_id()
    folder.sudo.give("geheim")
    folder.save(Fleet("default", "static", (ASKED,)))
    assert not [path for path in folder.path.iterdir() if b"geheim" in path.read_bytes()]


def test_what_is_kept_of_hosts(folder: Folder) -> None:
    """Earlier versions of Fanrun can read of usual hosts."""
    folder.create()
    fleet = Fleet("default", "static", (FREE, ASKED, BARE))
    folder.save(fleet)
    assert folder.load() == fleet
    kept = json.loads(folder.fleet_json.read_text())["fleet"]["hosts"]
    assert [host.get("sudo") for host in kept] == [None, "password", "none"]
    folder.save(Fleet("default", "static", (BARE,)))
    assert folder.layout("worker-1") == BARE.layout
    assert folder.layout("worker-2") == USUAL
    folder.fleet_json.write_text(folder.fleet_json.read_text().replace('"none"', '"sometimes"'))
    with pytest.raises(FleetDamaged, match="how sudo is used"):
        folder.load()


@pytest.mark.parametrize(
    ("host", "options", "expected"),
    [
        (None, StaticOptions(no_sudo=True, ask_sudo_password=True), "leave one of them out"),
        (None, StaticOptions(no_sudo=True, hub="a@10.0.0.9"), "leave --hub out"),
        (FREE, StaticOptions(no_sudo=True), "fleet sea was made with sudo; `fab down` ends it"),
        (ASKED, StaticOptions(no_sudo=True), "fleet sea was made with sudo; `fab down` ends it"),
        (BARE, StaticOptions(), "fleet sea was made with --no-sudo; `fab down` ends it"),
        (BARE, StaticOptions(no_sudo=True, ask_sudo_password=True), "of no use; leave it out"),
        (BARE, StaticOptions(no_sudo=True), ""),
        (ASKED, StaticOptions(ask_sudo_password=True), ""),
        (FREE, StaticOptions(ask_sudo_password=True), ""),
        (None, StaticOptions(no_sudo=True), ""),
    ],
)
def test_choices_that_exclude_each_other(host: Host | None, options: StaticOptions, expected: str) -> None:
    found = find_conflict("sea", [host] if host else [], options)
    assert expected in found
    assert bool(found) == bool(expected)


def test_a_fleet_whose_password_is_not_asked_for() -> None:
    assert lacks_password([FREE, BARE], StaticOptions()) == ""
    assert lacks_password([ASKED], StaticOptions(ask_sudo_password=True)) == ""
    assert "on worker-1; --ask-sudo-password asks you for it" in lacks_password([ASKED], StaticOptions())


def test_a_script_gives_sudo_the_password_and_no_command(shell: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    stand_in(tmp_path / "bin", "sudo", READS.format(log=log))
    script = host_script("as-root.sh") + 'as_root printf "%s\\n" "$1"; as_root cat'
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run(
        [shell, "-c", script, "sh", "password", "a b"],
        input=f"{PASSWORD}\n",
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("a b\n", "")
    assert log.read_text() == f"{PASSWORD}\n" * 2
