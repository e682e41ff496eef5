"""What all unit tests share: a hypothesis profile without deadlines, and a fleet's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fanrun.fanout.results import ledger
from fanrun.fleet.store import Folder

# A busy machine is no defect: examples are bounded, not timed.
settings.register_profile("unit", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


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
        patch.setattr(ledger, "RACY_NANOSECONDS", 30_000_000)
        yield
