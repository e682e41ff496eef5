"""Reference data: what --mount may say, the hash of a folder, and the names of programs that see it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from fanrun.fanout import reference
from fanrun.fanout import reference_commands as commands
from fanrun.fanout.commands import SCRIPTS, docker_argv
from fanrun.fanout.preflight import check_mounts
from fanrun.fanout.program import Program
from fanrun.fanout.reference import Mount, Version, mounts
from fanrun.fanout.reference_content import Content, File, digest, read_all
from fanrun.fanout.request import RunRequest
from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.ledger import Ledger
from fanrun.fleet.errors import UsageError
from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.script import read_script
from fanrun.fleet.sudo import Sudo
from tests.unit.samples import HOSTILE, PROBE, write_tree
from tests.unit.worker_scripts import PLACE, run_script

VERSION = Version("db", "ab" * 32, 7)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def read(path: Path, ledger: Ledger) -> Content:
    return read_all([Mount(str(path), "db")], ledger)[0]


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        ("/a/db", "/a/db", "db"),
        ("/a/db/", "/a/db", "db"),
        ("/a/db:x", "/a/db", "x"),
        ("/a:b/db", "/a:b/db", "db"),
        ("/a/b:c:d", "/a/b:c", "d"),
        ("/a b/it's:My_model-1.2", "/a b/it's", "My_model-1.2"),
        ("/:all", "/", "all"),
    ],
)
def test_a_mount_is_a_folder_and_a_name(text: str, path: str, name: str) -> None:
    assert reference.mounts([text]) == (Mount(path, name),)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["/a/in"], "'/a/in' would hide /in of the container; give another name, as /a/in:data"),
        (["/a:usr"], "'/a:usr' would hide /usr of the container; give another name, as /a:data"),
        (["/a/b c"], "'b c' is no name for a folder of the container; give one of letters"),
        (["/a:b:c d"], "'c d' is no name"),
        (["/a:.."], "'..' is no name"),
        (
            ["/a:b/"],
            "'a:b' is no name for a folder of the container; give one of letters, digits, `.`, `_` and `-`, as",
        ),
        (["/"], "'/' has no name of its own"),
        (["", "x"], "names no folder; write it as --mount DIR:NAME"),
        (["/a/db", "/b:db"], "--mount '/a/db' and --mount '/b' would both be /db; give one of them another name"),
    ],
)
def test_what_can_not_be_meant_is_refused(given: list[str], words: str) -> None:
    with pytest.raises(UsageError) as error:
        reference.mounts(given)
    assert words in str(error.value)


def test_a_folder_is_there_and_apart_from_the_results(tmp_path: Path) -> None:
    write_tree(tmp_path / "db", (b"a",))
    (tmp_path / "link").symlink_to("db")
    for path, dst, words in (
        ("no", "dst", "does not exist"),
        ("db/a", "dst", "is a file; give the folder that holds it"),
        ("db", "db/dst", "are inside each other"),
        ("db", "link/dst", "are inside each other"),
        ("db", ".", "are inside each other"),
        ("db", "db", "are inside each other"),
    ):
        with pytest.raises(UsageError, match=words):
            reference.check([Mount(str(tmp_path / path), "db")], str(tmp_path / dst))
    reference.check([Mount(str(tmp_path / "db"), "db")], str(tmp_path / "db2"))


@pytest.mark.parametrize("sudo", ["none", "password"])
def test_a_hub_that_can_not_let_workers_in_is_refused(tmp_path: Path, sudo: Sudo) -> None:
    fleet = Fleet("default", "static", (Host("worker-1", "worker", "a", "a", "u", sudo=sudo),))
    request = RunRequest(str(tmp_path), str(tmp_path / "dst"))
    check_mounts(request, fleet)
    with pytest.raises(UsageError, match="--mount needs machines whose sudo asks for no password"):
        check_mounts(dataclasses.replace(request, mounts=mounts([str(tmp_path)])), fleet)


def test_without_reference_data_a_program_has_the_name_that_it_had() -> None:
    plain = RunRequest("/s", "/d", ("x",))
    assert plain.program_name("image") == ledgers.program("image", ("x",))
    names = {
        plain.program_name("image"),
        *(plain.program_name("image", [Version(*each)]) for each in (("a", "1"), ("a", "2"), ("b", "1"))),
        plain.program_name("image", [Version("a", "1"), Version("b", "1")]),
        RunRequest("/s", "/d", ("x",), entrypoint="sh").program_name("image", [Version("a", "1")]),
    }
    assert len(names) == 6
    assert plain.program_name("image", [Version("a", "1", 5)]) == plain.program_name("image", [Version("a", "1", 6)])


def test_a_container_sees_the_data_read_only() -> None:
    argv = docker_argv(PLACE, Program("image", mounts=(VERSION,)), PROBE)
    bind = f"type=bind,source=/var/lib/fanrun/reference/db/{VERSION.digest}/data,target=/db,readonly"
    assert argv[argv.index(bind) - 1] == "--mount"
    assert argv.index(bind) < argv.index("image")


def test_names_contents_and_modes_count_and_times_do_not(tmp_path: Path, ledger: Ledger) -> None:
    top = tmp_path / "db"
    write_tree(top, (b"d/a", b"b", b".DS_Store"))
    first = read(top, ledger)
    assert set(first.stats) == {b"d/a", b"b"}
    os.utime(top / "b", (1, 1))
    (top / "empty").mkdir()
    assert first.changed()
    assert read(top, ledger).version == first.version
    found = {first.version.digest}
    for change in (
        lambda: (top / "b").chmod(0o755),
        lambda: (top / "b").write_text("other"),
        lambda: (top / "b").rename(top / "c"),
        lambda: (top / "d" / "new").touch(),
    ):
        change()
        found.add(read(top, ledger).version.digest)
    assert len(found) == 5
    assert digest([File(b"a", "1", False), File(b"b", "2", False)]) == digest(
        [File(b"b", "2", False), File(b"a", "1", False)]
    )


def test_links_to_files_are_files_and_other_links_are_refused(tmp_path: Path, ledger: Ledger) -> None:
    top = tmp_path / "db"
    write_tree(top, (b"a",))
    (top / "link").symlink_to("a")
    assert set(read(top, ledger).stats) == {b"a", b"link"}
    (top / "folder").symlink_to(".")
    with pytest.raises(UsageError, match="has 1 link to folders, which are not followed"):
        read(top, ledger)
    (top / "folder").unlink()
    (top / "nowhere").symlink_to("gone")
    with pytest.raises(UsageError, match="nowhere' can't be read"):
        read(top, ledger)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="there are no files in it"):
        read(tmp_path / "empty", ledger)


def test_a_host_computes_the_same_hash(shell: str, tmp_path: Path, ledger: Ledger) -> None:
    """For any names, and also where files were sent by rsync and got other modes."""
    top = tmp_path / "db"
    write_tree(top, HOSTILE)
    (top / "tool").write_text("x")
    (top / "tool").chmod(0o751)
    (top / os.fsdecode(min(HOSTILE))).chmod(0o600)
    content = read(top, ledger)
    for key in set(HOSTILE) - set(content.stats):  # what editors leave is not sent
        (top / os.fsdecode(key)).unlink()
    script = ["sh", "-c", f'{read_script(SCRIPTS, "kept.sh")} content "$1"', "sh"]
    done = run_script(shell, script, top)
    assert done.stdout.decode().strip() == content.version.digest


def test_the_hub_is_fetched_from_where_the_fleet_reaches_it() -> None:
    outer, inner = Host("hub", "hub", "127.0.0.1", "172.17.0.2", "me", 2222), Host("hub", "hub", "a", "a", "me", 2222)
    words = [commands.fetch_argv("r", VERSION, hub, "ssh-ed25519 AAAA")[4:] for hub in (outer, inner)]
    assert words[0][2:] == ["r", "me", "172.17.0.2", "22", "ssh-ed25519 AAAA", "db", VERSION.digest, "7"]
    assert words[1][4:6] == ["a", "2222"]


def test_what_is_sent_is_what_was_read() -> None:
    argv = commands.send_argv("ssh -F x", "/db/", VERSION, "hub:/k", ["--link-dest=/o"])
    assert argv[0] == "rsync"
    assert {"--files-from=-", "--copy-links", "--rsh=ssh -F x", "--link-dest=/o"} <= set(argv)
    assert argv[-3:] == ["--", "/db/", "hub:/k/"]
