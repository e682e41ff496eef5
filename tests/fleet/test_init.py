"""The program that `fab init` writes, built and run as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, docker, tree
from tests.unit.samples import write_tree


@pytest.fixture(scope="module")
def starter(fab: Fab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image of the program."""
    name = f"fanrun-test-starter-{os.getpid()}"
    folder = tmp_path_factory.mktemp("init") / name
    said = fab("init", "--dir", str(folder)).stderr
    assert f"`docker build --tag {name} {folder}`" in said
    docker("build", "--quiet", f"--tag={name}", str(folder))
    yield name
    docker("rmi", "--force", name)


@pytest.mark.long
def test_the_program_runs_as_it_is(fab: Fab, starter: str, tmp_path: Path) -> None:
    written = write_tree(tmp_path / "src")
    fab("run", "--image", starter, "--src", str(tmp_path / "src"), "--dst", str(tmp_path / "dst"), "--junk")
    assert tree(tmp_path / "dst") == {key: content.upper() for key, content in written.items()}
