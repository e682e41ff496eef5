"""Where hosts come from: the seam, and the commands of provider local."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from fanrun.fleet.errors import UsageError
from fanrun.fleet.model import Host
from fanrun.fleet.store import Folder
from provision import catalog
from provision.providers import base
from provision.providers.base import Provider
from provision.providers.local import containers, host_image
from provision.providers.local.options import LocalOptions
from provision.providers.local.provider import LocalProvider

PROVIDERS = Path(base.__file__).parent


def test_every_file_is_a_provider() -> None:
    files = {path.stem for path in PROVIDERS.glob("*.py")} - {"__init__", "base"}
    packages = {path.parent.name for path in PROVIDERS.glob("*/provider.py")}
    assert catalog.names() == sorted(files | packages)
    assert {"ec2", "local", "static"} <= packages


@pytest.mark.parametrize("name", catalog.names())
def test_a_provider_is_loaded_by_its_name(folder: Folder, name: str) -> None:
    provider = catalog.load(name, folder)
    assert isinstance(provider, Provider)
    assert (provider.name, provider.folder) == (name, folder)


@pytest.mark.parametrize("name", ["nope", "", "base", "__init__", "Local", "../local", "local ", "os"])
def test_an_unknown_provider_names_the_known_ones(folder: Folder, name: str) -> None:
    with pytest.raises(UsageError, match=f"there is no provider {name!r}; choose one of: .*local"):
        catalog.load(name, folder)


HUB = Host("hub", "hub", "10.0.0.10", "10.0.0.10", "admin")
BLUE = {"fleet": "blue", "id": "0123456789abcdef", "owner": "ada@lab", "folder": "/home/a b/.fanrun/blue"}
OUTSIDE = Host("worker-1", "worker", "127.0.0.1", "10.0.0.11", "admin", 2201)
NESTED = [
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
]


def test_create_argv_of_a_host_with_an_address_of_its_own() -> None:
    assert containers.create_argv(BLUE, "net", HUB, privileged=False) == [
        "docker",
        "create",
        "--name=fanrun-blue-01234567-hub",
        "--hostname=hub",
        "--label=fanrun.fleet=blue",
        "--label=fanrun.id=0123456789abcdef",
        "--label=fanrun.owner=ada@lab",
        "--label=fanrun.folder=/home/a b/.fanrun/blue",
        "--label=fanrun.name=hub",
        "--label=fanrun.role=hub",
        "--label=fanrun.address=10.0.0.10",
        "--label=fanrun.port=22",
        "--label=fanrun.inner=10.0.0.10",
        "--network=net",
        "--ip=10.0.0.10",
        "--tmpfs=/run:exec",
        "--volume=/var/lib/docker",
        *NESTED,
        "--cgroupns=host",
        "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
        host_image.IMAGE,
    ]


def test_create_argv_of_a_host_behind_a_port() -> None:
    argv = containers.create_argv(BLUE, "net", OUTSIDE, privileged=True)
    assert "--publish=127.0.0.1:2201:22" in argv, "the client alone reaches it"
    assert "--ip=10.0.0.11" in argv
    assert "--label=fanrun.port=2201" in argv
    assert "--privileged" in argv
    assert not set(NESTED) & set(argv)


def test_two_fleets_of_a_name_have_containers_of_their_own() -> None:
    assert containers.resource("default", "0123456789abcdef", "hub") == "fanrun-default-01234567-hub"
    assert containers.resource("default", "1123456789abcdef", "hub") == "fanrun-default-11234567-hub"


def another(place: Path, fleet_id: str) -> base.OtherFleet:
    return base.OtherFleet(fleet_id, "", ("hub",), folder=str(place))


def test_a_fleet_of_another_checkout_that_is_still_there_is_no_hindrance(tmp_path: Path) -> None:
    here, there = Folder(tmp_path / "a", "blue"), Folder(tmp_path / "b", "blue")
    provider = LocalProvider(here, LocalOptions())
    assert provider.excludes(another(there.path, there.ensure_id())) is False
    assert provider.excludes(another(there.path, "another")), "the folder there knows nothing of it"
    assert provider.excludes(another(here.path, "another")), "this very folder was made anew"
    assert provider.excludes(another(tmp_path / "gone" / "blue", "another"))
    assert provider.excludes(another(there.path, "old-0")), "it has no fleet"
    there.fleet_json.write_text("{}")
    assert provider.excludes(another(there.path, "old-0")) is False, "a fleet of an older version"


@pytest.mark.parametrize(
    ("status", "state"),
    [("running", "running"), ("created", "broken"), ("dead", "broken"), ("exited", "stopped"), ("paused", "stopped")],
)
def test_a_host_is_read_back_from_its_labels(status: str, state: base.State) -> None:
    argv = containers.create_argv(BLUE, "net", OUTSIDE, privileged=False)
    labels = dict(part.removeprefix("--label=").split("=", 1) for part in argv if part.startswith("--label="))
    found = containers.found_host({"Config": {"Labels": labels}, "State": {"Status": status}})
    assert found == base.FoundHost(OUTSIDE, state)


def test_planted_files_are_roots() -> None:
    planted = containers.tar({"etc/ssh/key": ("private", 0o600), "home/a/keys": ("ü", 0o644)})
    with tarfile.open(fileobj=io.BytesIO(planted)) as archive:
        found = {item.name: (item.mode, item.uid, item.gid) for item in archive}
        assert found == {"etc/ssh/key": (0o600, 0, 0), "home/a/keys": (0o644, 0, 0)}
        content = archive.extractfile("home/a/keys")
        assert content is not None
        assert content.read().decode() == "ü"
