"""Servers for the tests, and images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.service.servers import Farm


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    """A farm for one test."""
    farm = Farm(tmp_path)
    yield farm
    farm.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A farm for the tests of a module."""
    farm = Farm(tmp_path_factory.mktemp("farm"))
    yield farm
    farm.end()


def picture(width: int = 160, height: int = 120, kind: str = "JPEG") -> bytes:
    """An image with something on it."""
    target = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(target, kind)
    return target.getvalue()
