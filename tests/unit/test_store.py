"""A fleet's folder: what is kept there, who may read it, and what ssh makes of it."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.errors import FleetError, UsageError
from fanrun.fleet.model import Fleet, Host, Image
from fanrun.fleet.ssh_config import ssh_config
from fanrun.fleet.store import Folder
from provision.lifecycle import begin
from tests.unit.permissions import mode
from tests.unit.samples import FLEET

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"name": "default", "provider": "local", "hosts": [], "images": {}}

names = st.text("abc-0123456789", min_size=1, max_size=10)
hosts = st.builds(Host, names, st.sampled_from(["hub", "worker"]), names, names, names, st.integers(1, 65535))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
images = st.dictionaries(texts, st.builds(Image, texts, texts, texts, texts), max_size=3)


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


def test_a_folder_that_was_renamed_is_refused(folder: Folder) -> None:
    folder.create()
    folder.save(Fleet("default", "local"))
    renamed = Folder(folder.path.parent, "other")
    folder.path.rename(renamed.path)
    with pytest.raises(FleetError, match=r"is the folder of fleet default, .* rename the folder back to default"):
        renamed.load()


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


def test_a_fleet_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    for name in ("new", "blue"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fleet.json").touch()
    with pytest.raises(FleetError) as caught:
        Folder(tmp_path, "default").load()
    told = "there is no fleet default; fleets here: blue (`--fleet blue`), new (`--fleet new`); `fab up` starts one"
    assert str(caught.value) == told


@pytest.mark.parametrize("name", ["a", "0", "my-fleet-2", "a" * 31])
def test_good_names(tmp_path: Path, name: str) -> None:
    assert Folder(tmp_path, name).path == tmp_path / name


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a/b", "..", ".", "a\n", "a" * 32, "ä", "a_b", "a%h", "*"])
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a fleet; use"):
        Folder(tmp_path, name)
