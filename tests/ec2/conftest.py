"""A cloud of the tests' own: see cloud.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ec2.cloud import Cloud
from tests.fleet.conftest import program

__all__ = ["api", "cloud", "program"]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """An EC2 whose instances have bodies."""
    with Cloud(tmp_path).running() as cloud:
        yield cloud


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Cloud]:
    """An EC2 whose instances are entries in a table alone."""
    with Cloud(tmp_path, bodies=False).running() as cloud:
        yield cloud
