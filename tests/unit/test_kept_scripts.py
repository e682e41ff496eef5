"""The scripts for reference data on hosts, under real shells on this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fanrun.fanout import reference_commands as commands
from fanrun.fanout.cleaning import clean_argv, describe
from fanrun.fanout.commands import SCRIPTS
from fanrun.fanout.reference import Version
from fanrun.fleet.layout import Layout
from fanrun.fleet.script import read_script
from tests.unit.samples import write_tree
from tests.unit.worker_scripts import docker, run_script, stand_in
from tests.waiting import wait_until

VERSION = Version("db", "0" * 64, 5)


def content(shell: str, folder: Path) -> str:
    """Return the hash of a folder as a host computes it."""
    script = ["sh", "-c", f'{read_script(SCRIPTS, "kept.sh")} content "$1"', "sh"]
    return run_script(shell, script, folder).stdout.decode().strip()


def keep(shell: str, kept: Path, *keys: bytes) -> str:
    """Bring a version to its place as the client does it at the hub; return its hash."""
    write_tree(kept / "new" / "data", keys)
    digest = content(shell, kept / "new" / "data")
    (kept / "db").mkdir(exist_ok=True)
    (kept / "new").rename(kept / "db" / f".{digest}.r1")
    done = run_script(shell, commands.complete_argv("r1", VERSION), kept, "r1", "db", digest, "5", "")
    assert (done.returncode, done.stderr) == (0, b"")
    return digest


def receive(shell: str, top: Path, digest: str, *, size: int = 5, read: str = "") -> subprocess.CompletedProcess[bytes]:
    argv = commands.receive_argv("r2", VERSION)
    return run_script(shell, argv, top / "kept", top / "runs", "r2", "db", digest, str(size), read)


def test_a_version_that_is_there_is_known_and_a_damaged_one_is_not(shell: str, tmp_path: Path) -> None:
    digest = keep(shell, tmp_path / "kept", b"a", b"d/b")
    assert receive(shell, tmp_path, digest).stdout == b"have\n"
    file = tmp_path / "kept" / "db" / digest / "data" / "a"
    then = file.stat()
    file.write_bytes(bytes(then.st_size))
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert receive(shell, tmp_path, digest).stdout == b"have\n", "it looks as it did"
    assert receive(shell, tmp_path, digest, read="read").stdout.startswith(b"take")
    assert not file.exists()


def test_what_is_not_what_was_sent_gets_no_name(shell: str, tmp_path: Path) -> None:
    write_tree(tmp_path / "kept" / "db" / f".{VERSION.digest}.r" / "data", (b"a",))
    done = run_script(
        shell, commands.complete_argv("r", VERSION), tmp_path / "kept", "r", "db", VERSION.digest, "5", ""
    )
    assert done.returncode == commands.WRONG
    assert not (tmp_path / "kept" / "db" / VERSION.digest).exists()


def test_other_versions_are_named_and_old_ones_removed_unless_a_run_uses_them(shell: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    digests = [keep(shell, kept, b"%d" % number) for number in range(4)]
    for age, digest in enumerate(digests):
        os.utime(kept / "db" / digest, (1000 - age, 1000 - age))
    write_tree(kept / "db" / ".ab.dead" / "data", (b"x",))
    write_tree(tmp_path / "runs" / "r9", (b"log",))
    (tmp_path / "runs" / "r9" / "reference").write_text(f"db {digests[3]}\n")
    said = receive(shell, tmp_path, VERSION.digest).stdout.decode()
    # The one that was used last stays, and the one that a run uses; what was begun lately may be gone on with.
    expected = {f"--link-dest={kept}/db/{name}/data" for name in (digests[0], digests[3], ".ab.dead")}
    assert set(said.split()) == {"take", *expected}
    assert (kept / "db" / f".{VERSION.digest}.r2" / "data").stat().st_mode & 0o777 == 0o755
    assert kept.is_dir()


def test_what_has_no_room_is_refused_before_it_comes(shell: str, tmp_path: Path) -> None:
    done = receive(shell, tmp_path, VERSION.digest, size=10**15)
    assert done.returncode == commands.NO_ROOM
    assert done.stderr.startswith(b"it has no room for the reference data db (1000000000 MB, and ")
    assert list((tmp_path / "kept" / "db").iterdir()) == []


def test_a_worker_notes_what_a_run_uses_and_makes_a_key_if_it_lacks_something(shell: str, tmp_path: Path) -> None:
    digest = keep(shell, tmp_path / "kept", b"a")
    home = tmp_path / "runs" / "r"
    home.mkdir(parents=True)

    def look(*words: str) -> str:
        argv = commands.look_argv("r", [VERSION])
        done = run_script(shell, argv, tmp_path / "kept", tmp_path / "runs", "r", *words)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    assert look("db", digest) == ""
    lack, key = look("db", digest, "model", VERSION.digest).splitlines()
    assert lack == "lack model"
    assert key.startswith("key ssh-ed25519 AAAA")
    assert (home / "reference.key").stat().st_mode & 0o777 == 0o600
    assert (home / "reference").read_text() == f"db {digest}\nmodel {VERSION.digest}\n"
    assert look("model", VERSION.digest).splitlines()[1] == key


def test_a_key_is_let_in_for_one_command_and_put_out_again(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, keys = tmp_path / "bin", tmp_path / ".ssh" / "authorized_keys"
    stand_in(tools, "sudo", 'shift; exec "$@"')
    keys.parent.mkdir()
    keys.write_text("ssh-ed25519 AAAA me")
    keys.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))

    def let_in(*words: str) -> None:
        argv = commands.let_in_argv("r", "w")
        done = run_script(shell, argv, tmp_path / "kept", *words, path=f"{tools}:{os.environ['PATH']}")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    let_in("fanrun-reference-r-w", "ssh-ed25519 BBBB")
    let_in("fanrun-reference-r-w2", "ssh-ed25519 CCCC")
    mine, first, second = keys.read_text().splitlines()
    assert mine == "ssh-ed25519 AAAA me"
    assert first.startswith('restrict,expiry-time="')
    assert first.endswith('rsyncd.conf ." ssh-ed25519 BBBB fanrun-reference-r-w')
    let_in("fanrun-reference-r-w")
    assert keys.read_text().splitlines() == [mine, second]
    let_in("fanrun-reference-r-w2")
    assert keys.read_text() == f"{mine}\n"
    assert keys.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in keys.parent.iterdir()] == ["authorized_keys"]


def listed(folder: Path) -> list[str]:
    """Return the paths of everything in a folder, except locks."""
    return sorted(str(each) for each in folder.rglob("*") if each.name != "lock")


def test_what_no_run_uses_is_cleaned(shell: str, tmp_path: Path) -> None:
    path, kept, runs = docker(tmp_path, ""), tmp_path / "work" / "kept", tmp_path / "work" / "runs"
    used, free = keep(shell, kept, b"a"), keep(shell, kept, b"b")
    write_tree(kept / "db", (b".ab.20260101-dead/data/x", b".ab.20260102-alive/data/x"))
    write_tree(tmp_path / "work", (b"identity/00/env", b"cache/" + b"0" * 64))
    (tmp_path / "work" / "cache" / "size").write_text("1 64\n")
    for run, digest in (("20260101-dead", free), ("20260102-alive", used)):
        write_tree(runs / run, (b"log",))
        (runs / run / "reference").write_text(f"db {digest}\n")

    def clean(look: str) -> list[str]:
        argv = clean_argv([], Layout(docker_by_sudo=False), look=True)
        done = run_script(shell, argv, kept, runs, "15", look, "20260101-dead", path=path)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode().splitlines()

    before = listed(tmp_path / "work")
    planned = clean("look")
    assert listed(tmp_path / "work") == before
    used_line = f"used db {used} 5"
    assert sorted(planned) == ["cache 1 64", f"data db {free} 5", "part db", "run 20260101-dead", used_line]
    assert clean("") == planned
    wait_until(lambda: not list(kept.glob(".gone-*")))
    assert {each.name for each in (kept / "db").iterdir()} == {used, ".ab.20260102-alive"}
    assert not (runs / "20260101-dead").exists()
    assert (runs / "20260102-alive").exists()
    assert {each.name for each in (tmp_path / "work").iterdir()} == {"kept", "runs"}
    assert clean("") == [used_line]


@pytest.mark.parametrize(
    ("line", "described"),
    [
        ("run 2026", (False, "what run 2026 left")),
        ("left 2026", (True, "what run 2026 left, as Docker does not answer")),
        ("cache 1 5000", (False, "1 input of earlier runs, 5.0 kB")),
        ("part db", (False, "reference data db that did not come to their end")),
        ("data db 0123456789abcdef 5000", (False, "reference data db 0123456789ab, 5.0 kB")),
        ("used db 0123456789abcdef 5000", (True, "reference data db 0123456789ab, 5.0 kB, which a run uses")),
        ("other words", None),
    ],
)
def test_what_is_on_a_host_is_described(line: str, described: tuple[bool, str] | None) -> None:
    assert describe(line) == described
