"""Servers for the tests, and images."""

from __future__ import annotations

import io
import sys
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


@pytest.fixture(params=["resizer", "Pillow alone"])
def resizer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the quick resizer and without it."""
    if request.param == "resizer":
        pytest.importorskip("cykooz_resizer", reason="its wheels are for other machines")
    else:
        monkeypatch.setitem(sys.modules, "cykooz_resizer", None)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with three images in two folders, and a file that is no image."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("it's [1].jpg", "b.PNG", "more/c.webp")):
        Image.new("RGB", (8 + number, 8)).save(folder / name, format=("JPEG", "PNG", "WEBP")[number])
    (folder / "readme.txt").write_text("no image")
    return folder
