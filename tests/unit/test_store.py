"""A fleet's folder: what is kept there, who may read it, and what ssh makes of it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.errors import FleetDamaged, FleetError, UsageError
from fanrun.fleet.model import Fleet, Host, Image, number
from fanrun.fleet.private_files import control_folder, write_private
from fanrun.fleet.ssh_config import ssh_config
from fanrun.fleet.store import Folder
from provision.lifecycle import begin
from tests.unit.samples import FLEET

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"name": "default", "provider": "local", "hosts": [], "images": {}}

names = st.text("abc-0123456789", min_size=1, max_size=10)
hosts = st.builds(Host, names, st.sampled_from(["hub", "worker"]), names, names, names, st.integers(1, 65535))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
images = st.dictionaries(texts, st.builds(Image, texts, texts, texts, texts), max_size=3)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@given(st.builds(Fleet, st.just("default"), names, st.lists(hosts, max_size=4).map(tuple), images))
def test_a_fleet_is_loaded_as_it_was_saved(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> None:
    folder = Folder(tmp_path_factory.getbasetemp() / "roundtrip", "default")
    folder.create()
    folder.save(fleet)
    assert folder.load() == fleet


def test_fleet_json_has_the_keys_that_it_always_had(folder: Folder) -> None:
    folder.create()
    folder.save(dataclasses.replace(FLEET, provider_options={"region": "eu-central-1"}))
    saved = json.loads(folder.fleet_json.read_text())["fleet"]
    assert list(saved) == ["name", "provider", "hosts", "images", "size", "wishes", "previous"]
    assert saved["wishes"] == {"region": "eu-central-1"}


def test_what_is_saved_is_the_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        folder = Folder(tmp_path / "home", "default")
        assert not folder.exists()
        folder.create()
        folder.save(FLEET)
        folder.host_keys.pin("10.0.0.10", 22, "ssh-ed25519 AAAA")
    finally:
        os.umask(old)
    assert folder.exists()
    assert mode(folder.path) == 0o700
    assert {path.name: mode(path) for path in folder.path.iterdir()} == {
        "fleet.json": 0o600,
        "ssh_config": 0o600,
        "known_hosts": 0o600,
    }
    folder.remove()
    assert not folder.path.exists()
    folder.remove()


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with path.open("rb") as reader:
        write_private(path, b"new")
        assert reader.read() == b"old"
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)


def test_a_private_file_that_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_private(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_ctrl_c_while_a_private_file_is_renamed_is_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def interrupted(source: str, target: Path) -> None:
        rename(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_private(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_fleet_has_an_id_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    one, two = Folder(tmp_path / "a", "default"), Folder(tmp_path / "b", "default")
    assert not one.ids
    made = one.ensure_id()
    assert re.fullmatch("[0-9a-f]{16}", made)
    assert made == one.ensure_id() == one.id == Folder(tmp_path / "a", "default").id
    assert two.ensure_id() != made
    old = [f"old-{n:012x}" for n in (1, 2)]
    one.adopt(reversed(old))
    one.adopt([old[0], made])
    assert list(one.ids) == [made, *old]
    assert mode(one.id_file) == 0o600


@pytest.mark.parametrize("damage", ["", "hello", "0123456789abcdef ../x", "\xff", None])
def test_an_id_that_can_not_be_read_is_no_id_and_is_not_replaced(folder: Folder, damage: str | None) -> None:
    folder.create()
    if damage is None:
        folder.id_file.mkdir()
    else:
        folder.id_file.write_text(damage, "latin-1")
    assert (folder.ids, folder.id) == ((), "")
    for change in (folder.ensure_id, lambda: folder.adopt(["old-0123456789ab"])):
        with pytest.raises(FleetDamaged, match=r"id can't be read .* `fab down`"):
            change()
    assert damage is None or folder.id_file.read_text("latin-1") == damage


def test_hosts_are_adopted_in_one_write(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in between, a fleet would have an id and not know its hosts."""
    folder.create()
    written = list[bytes]()
    monkeypatch.setattr("fanrun.fleet.store.write_private", lambda path, data: written.append(data))
    folder.adopt(["old-0123456789ab"])
    assert len(written) == 1
    assert re.fullmatch(rb"[0-9a-f]{16}\nold-0123456789ab\n", written[0])


def test_a_folder_that_was_renamed_is_refused(folder: Folder) -> None:
    folder.create()
    folder.save(Fleet("default", "local"))
    renamed = Folder(folder.path.parent, "other")
    folder.path.rename(renamed.path)
    with pytest.raises(FleetError, match=r"is the folder of fleet default, .* rename the folder back to default"):
        renamed.load()


def test_an_ssh_config_that_is_missing_is_written_again(folder: Folder) -> None:
    folder.create()
    folder.save(Fleet("default", "local"))
    text = folder.ssh_config.read_text()
    folder.ssh_config.unlink()
    folder.load()
    assert folder.ssh_config.read_text() == text


@pytest.mark.parametrize(
    ("files", "outdated", "complete"),
    [
        ({}, False, True),
        ({"lock": ""}, False, True),
        ({"key": "", "fleet.json": json.dumps(GOOD)}, True, True),
        ({"key": "", "fleet.json": "{"}, True, False),
        ({"key": ""}, True, False),
        ({"key": "", "id": "0123456789abcdef"}, False, False),
        ({"fleet.json": json.dumps({"version": 1, "fleet": GOOD})}, False, False),
        ({"fleet.json": json.dumps({"version": None, "fleet": GOOD})}, False, False),
        ({"key": "", "id": "?", "fleet.json": "{"}, False, False),
        ({"id": "0123456789abcdef", "fleet.json": json.dumps({"version": 2, "fleet": GOOD})}, False, True),
        ({"id": "0123456789abcdef", "fleet.json": json.dumps({"version": 3})}, False, False),
    ],
)
def test_what_a_folder_says_of_its_state(folder: Folder, files: dict[str, str], outdated: bool, complete: bool) -> None:
    folder.create()
    for name, text in files.items():
        (folder.path / name).write_text(text)
    assert (folder.outdated, folder.complete) == (outdated, complete)


def test_a_removal_that_is_interrupted_leaves_what_can_be_removed_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was deleted until then, the rest is no fleet that lost its fleet.json."""
    begin(folder, "local", None)
    unlink, left = Path.unlink, list[bool]()

    def noted(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        left.append(folder.complete)

    monkeypatch.setattr(Path, "unlink", noted)
    folder.remove()
    assert left == [True] * 3
    assert not folder.path.exists()


def test_a_lock_leaves_no_folder_behind_where_nothing_was_begun(folder: Folder) -> None:
    folder.path.rmdir()
    with folder.lock():
        assert folder.path.exists()
    assert not folder.path.exists()
    with folder.lock():
        folder.ensure_id()
    assert folder.id


PROXY = "ssh -F {0}/ssh_config -o IdentityFile={0}/keys/id -W [plate]:22 ssh://gate"


@pytest.mark.parametrize("home", [".fanrun", "fleets"])
def test_a_moved_folder_works_as_before(tmp_path: Path, home: str) -> None:
    old, new = tmp_path / "a b", tmp_path / "c %d"
    root = old if home == ".fanrun" else old / home
    folder = Folder(old / home, "default")
    folder.create()
    hosts = tuple(dataclasses.replace(host, proxy=PROXY.format(root)) for host in FLEET.hosts)
    provider_options = {
        "known_hosts": f"{root}/known_hosts",
        "ssh_config": "/etc/ssh/ssh_config",
        "host": "admin@10.0.0.5",
    }
    folder.save(dataclasses.replace(FLEET, hosts=hosts, provider_options=provider_options))
    assert str(old) not in folder.fleet_json.read_text()
    old.rename(new)
    moved, root = Folder(new / home, "default"), new if home == ".fanrun" else new / home
    fleet = moved.load()
    assert fleet.provider_options == {**provider_options, "known_hosts": f"{root}/known_hosts"}
    assert fleet.hosts == tuple(dataclasses.replace(host, proxy=PROXY.format(root)) for host in FLEET.hosts)
    assert moved.ssh_config.read_text() == ssh_config(fleet, moved.path, key=moved.key, known_hosts=moved.known_hosts)
    before = moved.ssh_config.stat()
    moved.load()
    assert moved.ssh_config.stat() == before, "it is written once"


@pytest.mark.parametrize("version", [3, 99])
def test_a_folder_of_a_newer_version_is_refused_in_one_line(folder: Folder, version: object) -> None:
    folder.fleet_json.write_text(json.dumps({"version": version, "members": []}))
    with pytest.raises(FleetError, match=f"written by a newer Fanrun .version {version}, this one knows 2.; update"):
        folder.load()


def test_a_folder_of_the_first_version_is_read(folder: Folder) -> None:
    folder.fleet_json.write_text(json.dumps(GOOD))
    outdated = [folder.outdated]
    folder.save(folder.load())
    assert [*outdated, folder.outdated] == [True, False]
    assert folder.load() == Fleet("default", "local")


def test_what_a_killed_command_left_of_a_private_file_goes_with_the_next_one(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle: nothing is tidied up."""
    for name in ("key", "ca.key", "known_hosts", "ssh_config"):
        with monkeypatch.context() as killed:
            killed.setattr(os, "fsync", lambda _: 1 / 0)
            killed.setattr(os, "unlink", lambda _: None)
            with pytest.raises(ZeroDivisionError):
                write_private(folder.path / name, b"secret")
    assert len(list(folder.path.iterdir())) == 4
    (folder.path / ".mine").write_text("a person's own")
    with folder.lock():
        assert sorted(path.name for path in folder.path.iterdir()) == [".mine", "lock"]


DAMAGED: list[dict[str, object]] = [
    {"hosts": None},
    {"hosts": [{"name": "hub"}]},
    {"hosts": {"a": 1}},
    {"hosts": [{"colour": "red"}]},
    {"images": None},
    {"images": []},
    {"images": {"a": {}}},
    {"images": {"a": 1}},
    {"wishes": {"region": 5}},
    {"wishes": [1]},
    {"wishes": None},
    {"size": "3"},
    {"size": None},
    {"size": 0},
    {"size": 1.5},
    {"name": 7},
    {"images": {"a": {"name": 1, "id": "", "ref": ""}}},
    {"hosts": [{"name": "hub", "role": "hub", "address": 1, "inner": "", "user": ""}]},
    {"hosts": [{"name": "hub", "role": "hub", "address": "", "inner": "", "user": "", "port": "22"}]},
]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        "7",
        json.dumps(GOOD)[:-5],
        b"\xff\xfe",
        *(json.dumps(GOOD | change) for change in DAMAGED),
        '{"version": 2}',
        *(json.dumps({"version": 2, "fleet": GOOD | change}) for change in DAMAGED),
    ],
)
def test_a_damaged_fleet_json_is_a_fleet_error(folder: Folder, text: str | bytes) -> None:
    folder.fleet_json.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(
        FleetError, match=r"fleet.json can't be read .*; restore it, or end the fleet with `fab down --provider=NAME`"
    ):
        folder.load()


def test_a_fleet_that_is_not_there_says_how_to_start_one(folder: Folder) -> None:
    with pytest.raises(FleetError, match="there is no fleet default; `fab up` starts one") as caught:
        folder.load()
    assert caught.value.fleet == "default"


def test_a_fleet_knows_its_hosts() -> None:
    assert FLEET.hub.name == "hub"
    assert [host.name for host in FLEET.workers] == ["worker-1", "worker-2"]
    assert FLEET.host("worker-2").inner == "10.0.0.12"
    with pytest.raises(UsageError, match="has no host 'worker-3'; its hosts: worker-2, hub, worker-1"):
        FLEET.host("worker-3")
    with pytest.raises(UsageError, match="its hosts: none"):
        Fleet("empty", "local").host("hub")
    with pytest.raises(FleetError, match="`fab up` makes one"):
        _ = Fleet("empty", "local").hub


def test_workers_are_in_the_order_of_their_numbers() -> None:
    made = tuple(Host(f"worker-{n}", "worker", "a", "a", "u") for n in (10, 9, 1, 100))
    assert [number(host.name) for host in Fleet("f", "local", made).workers] == [1, 9, 10, 100]
    assert number("hub") == 0


@pytest.mark.parametrize("name", ["a", "0", "my-fleet-2", "a" * 31])
def test_good_names(tmp_path: Path, name: str) -> None:
    assert Folder(tmp_path, name).path == tmp_path / name


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a/b", "..", ".", "a\n", "a" * 32, "ä", "a_b", "a%h", "*"])
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a fleet; use"):
        Folder(tmp_path, name)


# ---- host keys


def test_one_key_is_pinned_for_each_address(folder: Folder) -> None:
    assert not folder.host_keys.has("10.0.0.1")
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 OLD")
    folder.host_keys.pin("10.0.0.1", 2201, "ssh-ed25519 OTHER")
    folder.host_keys.pin("10.0.0.11", 22, "ssh-ed25519 NEAR")
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 NEW")
    assert sorted(folder.known_hosts.read_text().splitlines()) == [
        "10.0.0.1 ssh-ed25519 NEW",
        "10.0.0.11 ssh-ed25519 NEAR",
        "[10.0.0.1]:2201 ssh-ed25519 OTHER",
    ]
    assert folder.host_keys.has("10.0.0.1")
    assert folder.host_keys.has("10.0.0.1", 2201)
    assert not folder.host_keys.has("10.0.0.1", 2202)
    assert not folder.host_keys.has("10.0.0")


def test_the_keys_of_hosts_that_are_gone_are_dropped(folder: Folder) -> None:
    folder.host_keys.keep_only([])
    for address, port in (("10.0.0.1", 22), ("10.0.0.1", 2201), ("10.0.0.2", 22)):
        folder.host_keys.pin(address, port, "ssh-ed25519 AAAA")
    folder.host_keys.keep_only([Host("worker-1", "worker", "10.0.0.1", "10.0.0.1", "fanrun", 2201)])
    assert folder.known_hosts.read_text() == "[10.0.0.1]:2201 ssh-ed25519 AAAA\n"


@pytest.mark.parametrize(("port", "place"), [(22, "10.0.0.1"), (2201, "[10.0.0.1]:2201")])
def test_ssh_keygen_finds_the_pinned_key(folder: Folder, port: int, place: str) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    folder.host_keys.pin("10.0.0.1", port, key)
    argv = ["ssh-keygen", "-F", place, "-f", str(folder.known_hosts)]
    assert key in subprocess.run(argv, capture_output=True, text=True, check=True).stdout


# ---- ssh_config


@pytest.mark.parametrize("name", ["plain", "two  words", "100%h %% %", "it's", "a#b", "=x", "ü"])
def test_ssh_reads_the_ssh_config(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path / name, "default")
    folder.create()
    folder.save(FLEET)
    done = subprocess.run(
        ["ssh", "-G", "-F", str(folder.ssh_config), "worker-1"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    expected = {
        "hostname": "127.0.0.1",
        "port": "2201",
        "user": "admin",
        "stricthostkeychecking": "true",
        "batchmode": "yes",
        "identitiesonly": "yes",
        "globalknownhostsfile": "/dev/null",
        "userknownhostsfile": str(folder.known_hosts),
        "hostkeyalgorithms": "ssh-ed25519",
        "controlmaster": "auto",
        "controlpersist": "60",
    }
    assert {key: found[key] for key in expected} == expected
    assert found["identityfile"].replace("%%", "%") == str(folder.key)  # ssh -G shows it as it was written
    assert found["controlpath"].startswith(f"{control_folder()}/")
    assert len(found["controlpath"]) < 80, "with what ssh adds to it, a socket's path has 104 characters at most"


def test_fleets_of_one_name_in_two_places_have_connections_of_their_own(tmp_path: Path) -> None:
    paths = set()
    for home in ("one", "two"):
        folder = Folder(tmp_path / home, "default")
        folder.create()
        folder.save(FLEET)
        paths |= {line for line in folder.ssh_config.read_text().splitlines() if "ControlPath" in line}
    assert len(paths) == 2


@pytest.fixture
def control_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The control folder of a user that nobody is."""
    uid = 4_000_000 + os.getpid()
    path = Path(f"/tmp/fanrun-{uid}")
    monkeypatch.setattr(os, "getuid", lambda: uid)
    yield path
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        path.rmdir()


@pytest.mark.parametrize("what", ["someone else's", "link", "broken link", "file"])
def test_a_control_folder_that_is_not_ones_own_is_refused(control_path: Path, what: str) -> None:
    if what == "link":
        control_path.symlink_to("/tmp")
    elif what == "broken link":
        control_path.symlink_to("/nowhere/at/all")
    elif what == "file":
        control_path.touch()
    with pytest.raises(FleetError, match="is not a private folder of yours; remove it and try again"):
        control_folder()


def test_the_control_folder_is_private() -> None:
    assert mode(control_folder()) == 0o700
    assert control_folder().stat().st_uid == os.getuid()


# ---- the lock, between two processes

HOLDER = """
import sys
from pathlib import Path
from fanrun.fleet.errors import FleetError
from fanrun.fleet.store import Folder
try:
    with Folder(Path(sys.argv[1]), "default").lock():
        print("held", flush=True)
        sys.stdin.read()
except FleetError as error:
    print(error)
"""


def holder(folder: Folder) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", HOLDER, str(folder.path.parent)]
    return subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_one_process_at_a_time_changes_a_fleet(folder: Folder) -> None:
    with folder.lock():
        said, _ = holder(folder).communicate(timeout=20)
    assert said == f"fleet default is being changed by process {os.getpid()}; wait for it and try again\n"
    said, _ = holder(folder).communicate(timeout=20)
    assert said == "held\n"


def test_a_killed_process_holds_nothing(folder: Folder) -> None:
    with holder(folder) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FleetError, match=f"changed by process {other.pid};"), folder.lock():
            pass
        other.kill()
    with folder.lock():
        pass


def test_a_lock_is_given_back_after_an_error(folder: Folder) -> None:
    with pytest.raises(ZeroDivisionError), folder.lock():
        raise ZeroDivisionError
    with folder.lock():
        pass


def test_of_two_keys_the_other_is_preferred(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "default")
    folder.create()
    assert not folder.host_keys.prefer_next("10.0.0.1")
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 AAAA", first=True)
    assert not folder.host_keys.prefer_next("10.0.0.1")
    assert folder.host_keys.is_first("10.0.0.1")
    folder.host_keys.pin("10.0.0.2", 22, "ssh-ed25519 CCCC")
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 BBBB", keep=True)
    assert folder.host_keys.prefer_next("10.0.0.1")
    mine = [line for line in folder.known_hosts.read_text().splitlines() if line.startswith("10.0.0.1 ")]
    assert mine == ["10.0.0.1 ssh-ed25519 BBBB", "10.0.0.1 ssh-ed25519 AAAA first-login"]
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 DDDD")
    assert not folder.host_keys.is_first("10.0.0.1")
    assert len(folder.known_hosts.read_text().splitlines()) == 2


def test_keys_that_are_pinned_at_once_are_all_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "default")
    folder.create()
    threads = [
        threading.Thread(target=folder.host_keys.pin, args=(f"10.0.0.{number}", 22, f"ssh-ed25519 {number}"))
        for number in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(folder.host_keys.has(f"10.0.0.{number}") for number in range(50))
