"""Machines that can not be taken, and keys that are not trusted: nothing is changed there."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from provision.hosts.footprint import Claim, claim_argv
from tests.fleet.harness import Fab
from tests.fleet.machines import Machines


@pytest.fixture
def fab(tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "theirs")


def test_what_can_not_be_taken_is_named_before_a_step_is_taken(three: Machines, fab: Fab, tmp_path: Path) -> None:
    release = three.on("two", "cat /etc/os-release; printf 'ID=fedora\\nVERSION_ID=42\\n' >/etc/os-release")
    sudo = "/etc/sudoers.d/90-admin"
    three.on("three", f"mv {sudo} ~/sudoers")
    try:
        told = fab("up", *three.options("one", "two", "three"), code=1).stderr
    finally:
        three.put("two", "etc/os-release", release, 0o644)
        three.on("three", f"mv ~/sudoers {sudo}")
    assert f"{three.addresses['two']}: runs fedora 42; Fanrun works on Debian and Ubuntu" in told
    assert f"{three.addresses['three']}: sudo asks for a password there, or does not allow" in told
    assert three.on("one", "ls /var/lib/fanrun 2>/dev/null || echo none") == "none\n"
    fab("down")


def test_a_mark_that_another_has_just_made_is_respected(three: Machines) -> None:
    mark = "fleet sea\nowner eve@elsewhere\nroles worker\nid 0123\n"
    three.put("two", "var/lib/fanrun/fleet", mark, 0o600)
    keys = three.on("two", "cat /home/admin/.ssh/authorized_keys")
    claim = claim_argv(Claim("sea", "ada", "worker", "ssh-ed25519 BBBB", ["4567", "89ab"]))
    argv = ["docker", "exec", "--user=admin", f"{three.network}-two", *claim]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, "belongs to fleet sea of eve@elsewhere, id 0123" in done.stderr) == (1, True)
        assert three.on("two", "cat /var/lib/fanrun/fleet") == mark
        assert three.on("two", "cat /home/admin/.ssh/authorized_keys") == keys
    finally:
        three.on("two", "rm -r /var/lib/fanrun")


def test_two_addresses_of_one_machine_are_one_machine(three: Machines, fab: Fab) -> None:
    second = three.addresses["one"].rsplit(".", 1)[0] + ".200"
    three.on("one", f"ip address add {second}/16 dev eth0")
    key = three.known_hosts.read_text().splitlines()[0].split(" ", 1)[1]
    known = three.home / "both"
    known.write_text(f"{three.addresses['one']},{second} {key}\n")
    options = [*three.options("one")[:2], f"--host=admin@{second}", f"--known-hosts={known}"]
    told = fab("up", *options, f"--ssh-config={three.ssh_config}", code=2).stderr
    assert "two of the machines have one host key" in told


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
        "up",
        "--dry-run",
        "--scan",
        "--provider=static",
        f"--host=admin@{three.addresses['one']}",
        f"--known-hosts={tmp_path / 'empty'}",
        f"--ssh-config={three.ssh_config}",
    ]
    os.write(ours, f"{answer}\n".encode())
    process = fab.start(*argv, stdin=theirs)
    out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, shown in err) == (code, True), err
    assert ("worker-1 is admin@" in out) == (answer == "yes")
