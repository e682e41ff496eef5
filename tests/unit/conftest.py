"""What all unit tests share: a fleet's folder, and shells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.ledger import Ledger
from fanrun.fleet.store import Folder
from tests.unit.fab_world import FabWorld
from tests.unit.log_hosts import World, make_world


@pytest.fixture(params=["sh", "dash"])
def shell(request: pytest.FixtureRequest) -> str:
    """A shell that a host's sh may be."""
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder for the fleet `default`."""
    made = Folder(tmp_path / ".fanrun", "default")
    made.create()
    return made


@pytest.fixture(scope="module")
def quick_ledger() -> Iterator[None]:
    """Let a ledger remember a file as soon as the clock of files has moved on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledgers, "RACY_NANOSECONDS", 30_000_000)
        yield


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def fab_world(tmp_path_factory: pytest.TempPathFactory) -> FabWorld:
    """Return what `fab` is run over: fleets of dead hosts, inputs, and folders that a run brought results to."""
    return FabWorld(tmp_path_factory.mktemp("fab"))


@pytest.fixture
def world(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> World:
    """A run whose logs are read."""
    return make_world(tmp_path, folder, monkeypatch)
