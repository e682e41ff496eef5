"""Vector from an apt repository: one that the tests serve, with a package that stands for Vector."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fanrun.fleet.config import Logs
from fanrun.fleet.errors import HostsFailed
from fanrun.fleet.store import Folder
from provision.hosts import shipping
from provision.hosts.vector_install import KEYRING, PREFERENCES, SOURCES, Repository
from tests.fleet import vector_package
from tests.fleet.apt_repository import make_repository, served
from tests.fleet.harness import ROOT, Fab
from tests.waiting import wait_until

pytestmark = pytest.mark.long

APT_FILES = f"ls {KEYRING} {SOURCES} {PREFERENCES} 2>/dev/null || :"


def is_running(fab: Fab, host: str) -> bool:
    return "vector --config" in fab.on(host, "ps -eo args")


@pytest.fixture(scope="module")
def fab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    """A fleet of one worker, without Vector."""
    fab = Fab(tmp_path_factory.mktemp("home"), f"repository-{os.getpid()}")
    try:
        fab("up", "--hosts=1")
        yield fab
    finally:
        fab("down")


@pytest.fixture(scope="module")
def address(fab: Fab) -> str:
    """The address of this machine for the hosts."""
    return fab.on("hub", "ip -4 route show default").split()[2]


@pytest.fixture
def repository(tmp_path: Path, address: str) -> Iterator[Repository]:
    """It also has newer versions of Vector, and of another package."""
    versions = [("0.57.0", "vector"), ("0.58.0", "vector"), ("99", "hello")]
    fingerprint = make_repository(tmp_path, [vector_package.build(tmp_path / "built", *each) for each in versions])
    with served(tmp_path, address, fingerprint) as repository:
        yield repository


def ship(fab: Fab, repository: Repository, *, required: bool = True) -> list[str]:
    """Have the fleet ship its logs; returns what changed."""
    changes: list[str] = []
    folder = Folder(fab.home, fab.fleet)

    def note(host: str, what: str) -> None:
        changes.append(f"{host}: {what}")

    shipping.ensure(
        shipping.Shipping(
            folder,
            folder.load(),
            shipping.read_config(ROOT),
            Logs(required=required),
            note,
            lambda host, what: None,
            repository,
        )
    )
    return changes


def test_a_key_of_another_fingerprint_is_refused(fab: Fab, repository: Repository) -> None:
    other = dataclasses.replace(repository, fingerprints=("A" * 40,))
    with pytest.raises(HostsFailed, match=f"the fingerprint {repository.fingerprints[0]}, which Fanrun does not know"):
        ship(fab, other)
    assert ship(fab, other, required=False) == []
    for host in ("hub", "worker-1"):
        assert fab.on(host, f"{APT_FILES}; command -v vector || :") == ""


def test_a_repository_without_that_version(fab: Fab, tmp_path: Path, address: str) -> None:
    fingerprint = make_repository(tmp_path, [vector_package.build(tmp_path / "built", "0.58.0")])
    with served(tmp_path, address, fingerprint) as repository, pytest.raises(HostsFailed, match="does not have vector"):
        ship(fab, repository)
    assert fab.on("hub", APT_FILES) == ""


def test_a_repository_that_another_key_has_signed(fab: Fab, tmp_path: Path, address: str) -> None:
    """Its key is the pinned one; the lists are somebody else's."""
    fingerprint = make_repository(tmp_path / "ours", [])
    make_repository(tmp_path / "theirs", [vector_package.build(tmp_path / "built")])
    (tmp_path / "theirs/key.asc").write_bytes((tmp_path / "ours/key.asc").read_bytes())
    with served(tmp_path / "theirs", address, fingerprint) as repository, pytest.raises(HostsFailed):
        ship(fab, repository)
    assert fab.on("hub", f"{APT_FILES}; command -v vector || :") == ""


def test_it_is_installed_and_nothing_else_ever_is(fab: Fab, repository: Repository) -> None:
    changes = ship(fab, repository)
    assert {"hub: installed Vector 0.57.0", "worker-1: installed Vector 0.57.0"} < set(changes)
    for host in ("hub", "worker-1"):
        wait_until(partial(is_running, fab, host))
        assert set(fab.on(host, APT_FILES).split()) == {SOURCES, PREFERENCES, KEYRING}
        assert "Candidate: 0.57.0-1" in fab.on(host, "apt-cache policy vector")
        assert "Candidate: 99-1" not in fab.on(host, "apt-cache policy hello")
    assert ship(fab, repository) == []
