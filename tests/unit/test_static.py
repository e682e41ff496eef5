"""Machines that exist: which is which, and what their marks say."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path

import pytest

from fanrun.fleet.errors import UsageError
from fanrun.fleet.model import VERSION, old_id
from fanrun.fleet.store import Folder
from provision.hosts.footprint import HostFacts, parse
from provision.providers.base import HostSpec
from provision.providers.static.eligibility import find_problem
from provision.providers.static.options import StaticOptions
from provision.providers.static.provider import StaticProvider


@pytest.fixture
def config(tmp_path: Path) -> str:
    """An ssh_config of nobody's, so that the one of who runs the tests counts for nothing."""
    (tmp_path / "config").write_text("")
    return str(tmp_path / "config")


def provider(folder: Folder, config: str, host: str, hub: str = "") -> StaticProvider:
    return StaticProvider(folder, StaticOptions(host=host, hub=hub, ssh_config=config))


@pytest.mark.parametrize(
    ("host", "hub", "expected"),
    [
        ("a@10.0.0.1,a@10.0.0.2", "", ["hub is a@10.0.0.1", "worker-1 is a@10.0.0.1", "worker-2 is a@10.0.0.2"]),
        (
            "a@10.0.0.1, a@10.0.0.2",
            "b@10.0.0.2",
            ["hub is b@10.0.0.2", "worker-1 is a@10.0.0.1", "worker-2 is a@10.0.0.2"],
        ),
        ("a@10.0.0.1", "a@10.0.0.9:2222", ["hub is a@10.0.0.9:2222", "worker-1 is a@10.0.0.1"]),
    ],
)
def test_the_hub_is_the_first_or_the_one_named(
    folder: Folder, config: str, host: str, hub: str, expected: list[str]
) -> None:
    wanted = [HostSpec("hub", "hub"), HostSpec("worker-1", "worker"), HostSpec("worker-2", "worker")]
    assert provider(folder, config, host, hub).plan(wanted) == expected


def test_there_are_as_many_workers_as_machines(folder: Folder, config: str) -> None:
    two = provider(folder, config, "a@10.0.0.1,a@10.0.0.2")
    assert two.workers(None) == two.workers(2) == 2
    with pytest.raises(UsageError, match="has the 2 workers that --host names"):
        two.workers(3)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("", "needs machines: --host"),
        (" , ", "needs machines"),
        ("a@10.0.0.1,b@10.0.0.1", "twice"),
        ("a b", "no machine"),
    ],
)
def test_lists_that_can_not_be_meant(folder: Folder, config: str, host: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        provider(folder, config, host).check()


def test_a_file_that_is_not_there_is_named(folder: Folder, config: str) -> None:
    options = StaticOptions(host="a@10.0.0.1", ssh_config=config, known_hosts="/nowhere/keys")
    with pytest.raises(UsageError, match="there is no file /nowhere/keys"):
        StaticProvider(folder, options).check()


def test_a_machine_of_another_architecture_is_refused(
    folder: Folder, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = provider(folder, config, "a@10.0.0.1")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert find_problem(HostFacts("debian 13", "aarch64", sudo="free"), one.ids) == ""
    assert "is x86_64, but images are built on this machine, for arm64" in find_problem(
        HostFacts("debian 13", "x86_64", sudo="free"), one.ids
    )


def test_a_machine_of_another_fleet_or_a_newer_version_is_refused(folder: Folder, config: str) -> None:
    one, mine = provider(folder, config, "a@10.0.0.1"), folder.ensure_id()
    look = HostFacts("debian 13", platform.machine(), sudo="free", fleet="default", owner="eve", id="0123")
    assert "belongs to fleet default of eve" in find_problem(look, one.ids)
    assert "--take-over=0123`" in find_problem(look, one.ids)
    bare = dataclasses.replace(look, sudo="none")
    assert "`fab down --provider=static --no-sudo --fleet=default" in find_problem(bare, one.ids)
    assert find_problem(dataclasses.replace(look, id=mine, version=VERSION), one.ids) == ""
    assert "was set up by a newer Fanrun (version 3" in find_problem(
        dataclasses.replace(look, id=mine, version=3), one.ids
    )


def test_a_machine_whose_login_prints_is_refused(folder: Folder, config: str) -> None:
    one = provider(folder, config, "a@10.0.0.1")
    look = HostFacts("debian 13", platform.machine(), sudo="free", noise="its login prints 'Welcome'")
    assert find_problem(look, one.ids) == "its login prints 'Welcome'"


def test_a_look_is_read() -> None:
    said = "os debian 13\nmachine x86_64\nsudo free\n"
    assert parse(said) == HostFacts("debian 13", "x86_64", sudo="free")
    mark = "fleet sea\nowner eve@laptop\nroles hub worker\nkey ssh-ed25519 AAAA x\n"
    known = HostFacts(
        "debian 13", "x86_64", "free", "sea", "eve@laptop", ("hub", "worker"), id=old_id("ssh-ed25519 AAAA x")
    )
    assert parse(said + mark) == known
    newer = "id 0123\nversion 7\n"
    assert parse(said + mark + newer) == dataclasses.replace(known, id="0123", version=7)
    assert parse("") == HostFacts("", "", sudo=None)
