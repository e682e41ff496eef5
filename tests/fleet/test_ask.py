"""A person at a terminal is asked before hosts are ended; the hosts are containers that nothing was installed on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import pytest

from provision import lifecycle
from provision.fleet import Folder
from provision.providers import base as providers
from provision.providers.base import Wanted
from tests.fleet.harness import FAB, ROOT, Fab
from tests.terminal import Talk, talk

pytestmark = pytest.mark.fleet
HOSTS = {"hub", "worker-1", "worker-2"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    """A fleet of a hub and two workers that run and are not set up."""
    fab = Fab(tmp_path_factory.mktemp("home"), "ask")
    folder = Folder(fab.home, fab.fleet)
    fleet = lifecycle.begin(folder, "local", 2)
    provider = providers.load("local", folder)
    try:
        hosts = provider.launch([Wanted(n, "hub" if n == "hub" else "worker") for n in sorted(HOSTS)], lambda *_: None)
        folder.save(dataclasses.replace(fleet, hosts=tuple(hosts)))
        yield fab
    finally:
        fab("down", "--yes")


def answer(fab: Fab, text: bytes, *argv: str) -> Talk:
    """Run a task at a terminal, and answer its question."""
    environment = {**os.environ, "FANRUN_HOME": str(fab.home), "NO_COLOR": "1"}
    return talk([str(FAB), *argv, f"--fleet={fab.fleet}"], environment, "Go on? [y/N]", text, cwd=ROOT)


@pytest.mark.parametrize("text", [b"n\n", b"\n", b"\x04", b"\x03"])
def test_down_ends_nothing_without_a_yes(bare: Fab, text: bytes) -> None:
    done = answer(bare, text, "down")
    assert "fleet ask, by provider local: this will end hub, worker-1, worker-2. Go on? [y/N]" in done.text
    assert done.code == (130 if text == b"\x03" else 1)
    assert set(bare.containers()) == HOSTS
    assert (bare.home / bare.fleet / "fleet.json").exists()


def test_up_with_fewer_workers_ends_nothing_without_a_yes(bare: Fab) -> None:
    done = answer(bare, b"n\n", "up", "--hosts=1")
    assert "fleet ask: this will end worker-2. Go on? [y/N]" in done.text
    assert (done.code, "nothing was changed" in done.text) == (1, True)
    assert set(bare.containers()) == HOSTS
    assert Folder(bare.home, bare.fleet).load().size == 2


def test_a_flag_for_help_ends_nothing(bare: Fab) -> None:
    for argv in (["down", "-h"], ["down", "--help"], ["up", "--hosts=1", "-h"]):
        assert bare(*argv).stdout.startswith(f"Usage: fab [--core-opts] {argv[0]} ")
    for argv in (["down", "--hosts", "1"], ["down", "-R"], ["down", "--dry"], ["down", "-H", "a,b"]):
        bare(*argv, code=2)
    assert set(bare.containers()) == HOSTS


def test_a_dry_run_of_down_names_the_hosts_and_ends_nothing(bare: Fab) -> None:
    done = bare("down", "--dry-run")
    assert (done.stdout, done.stderr) == ("end hub, worker-1, worker-2\n", "")
    assert answer(bare, b"", "down", "--dry-run") == Talk(0, done.stdout), "nobody is asked"
    assert set(bare.containers()) == HOSTS


def test_bake_asks_before_it_removes_images(bare: Fab) -> None:
    done = answer(bare, b"n\n", "bake", "--delete")
    assert "this removes every image that `fab bake --fleet ask` made. Go on? [y/N]" in done.text
    assert (done.code, "removed:" in done.text) == (1, False)
    assert answer(bare, b"", "bake", "--delete", "--yes").text == "removed: there were no images\n"


def test_down_with_a_yes_ends_all(bare: Fab) -> None:
    """The last one here: it ends the fleet that the others share."""
    done = answer(bare, b"y\n", "down")
    assert (done.code, bare.containers()) == (0, {})
    assert "fleet ask is gone: hub, worker-1, worker-2" in done.text
    again = answer(bare, b"", "down")
    looked = "there were no hosts in the Docker of this machine; --provider looks elsewhere"
    assert (again.code, again.text) == (0, f"fleet ask is gone: {looked}\n"), "there is nothing to ask about"
    assert bare("down", "--dry-run").stdout == "there are no hosts to end\n"
    assert not (bare.home / bare.fleet).exists()
