"""What tests of commits share: a run over two inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.commit_world import World, two_inputs


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two inputs, which are tried once."""
    with two_inputs(tmp_path) as made:
        yield made


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[World]:
    """Two inputs, which are tried twice."""
    with two_inputs(tmp_path, retries=1) as made:
        yield made
