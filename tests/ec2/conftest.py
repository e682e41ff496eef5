"""A cloud of the tests' own: see cloud.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ec2.cloud import Cloud
from tests.fleet.conftest import program
from tests.fleet.machine_images import BARE, WITH_DOCKER

__all__ = ["api", "bare_cloud", "cloud", "program"]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """An EC2 whose instances have bodies, which have Docker already, so that tests are short."""
    with Cloud(tmp_path, WITH_DOCKER).running() as cloud:
        yield cloud


@pytest.fixture
def bare_cloud(tmp_path: Path) -> Iterator[Cloud]:
    """An EC2 whose instances have bodies without Docker, as a new machine of Debian or Ubuntu."""
    with Cloud(tmp_path, BARE).running() as cloud:
        yield cloud


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Cloud]:
    """An EC2 whose instances are entries in a table alone."""
    with Cloud(tmp_path, "").running() as cloud:
        yield cloud
