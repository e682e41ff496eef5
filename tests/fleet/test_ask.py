"""A person at a terminal is asked before hosts are ended; the hosts are containers that nothing was installed on."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fleet.store import Folder
from provision import catalog, lifecycle
from provision.providers.base import HostSpec
from tests.fleet.harness import Fab, docker
from tests.terminal import Talk

HOSTS = {"hub", "worker-1", "worker-2"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    """A fleet of a hub and two workers that run and are not set up."""
    fab = Fab(tmp_path_factory.mktemp("home"), "ask")
    folder = Folder(fab.home, fab.fleet)
    fleet = lifecycle.begin(folder, "local", 2)
    provider = catalog.load("local", folder)
    try:
        hosts = provider.launch(
            [HostSpec(n, "hub" if n == "hub" else "worker") for n in sorted(HOSTS)], lambda *_: None
        )
        folder.save(dataclasses.replace(fleet, hosts=tuple(hosts)))
        yield fab
    finally:
        fab("down", "--yes")


def answer(fab: Fab, text: bytes, *argv: str) -> Talk:
    """Run a task at a terminal, and answer its question."""
    return fab.talk("Go on? [y/N]", text, *argv, NO_COLOR="1")


@pytest.mark.parametrize("text", [b"n\n", b"\n", b"\x04", b"\x03"])
def test_down_ends_nothing_without_a_yes(bare: Fab, text: bytes) -> None:
    # Ctrl-C is pressed at the installed program as well.
    done = answer(bare.program() if text == b"\x03" else bare, text, "down")
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
        assert bare(*argv).stdout.startswith(f"Usage: fab {argv[0]} [options]")
    for argv in (["down", "-R"], ["down", "--dry"], ["down", "-H", "a,b"]):
        bare(*argv, code=2)
    assert set(bare.containers()) == HOSTS


def test_a_dry_run_of_down_names_the_hosts_and_ends_nothing(bare: Fab) -> None:
    done = bare("down", "--dry-run")
    assert (done.stdout, done.stderr) == ("end hub, worker-1, worker-2\n", "")
    assert answer(bare, b"", "down", "--dry-run") == Talk(0, done.stdout), "nobody is asked"
    assert set(bare.containers()) == HOSTS


def test_a_provider_without_images_removes_none(bare: Fab) -> None:
    for argv in ([], ["--yes"]):
        done = answer(bare, b"", "bake", "--delete", *argv)
        assert (done.code, "use --provider=ec2" in done.text, "removed" in done.text) == (2, True, False)


@contextlib.contextmanager
def changed(path: Path, text: str | None) -> Iterator[None]:
    """While this is open, a file has that text, or is not there."""
    before = path.read_bytes()
    path.unlink() if text is None else path.write_text(text)
    try:
        yield
    finally:
        path.write_bytes(before)


def test_hosts_whose_keys_are_lost_are_not_replaced_without_a_yes(bare: Fab) -> None:
    ids = docker("ps", "--quiet", f"--filter=label=fanrun.fleet={bare.fleet}")
    with changed(bare.home / bare.fleet / "known_hosts", None):
        ends = "end hub, worker-1, worker-2 and launch new ones"
        assert bare("up", "--dry-run").stdout == f"{ends}\nlaunch hub, worker-1, worker-2\n"
        done = answer(bare, b"n\n", "up")
        assert f"fleet ask: this will {ends}. Go on? [y/N]" in done.text
        assert (done.code, "nothing was changed" in done.text) == (1, True)
    assert docker("ps", "--quiet", f"--filter=label=fanrun.fleet={bare.fleet}") == ids


@pytest.mark.parametrize("text", ["{", None])
def test_without_fleet_json_nothing_is_forgotten_where_no_host_is_found(bare: Fab, text: str | None) -> None:
    """As with the wrong provider, or another Docker."""
    lost = Fab(bare.home, "lost")
    folder = lost.home / lost.fleet
    lifecycle.begin(Folder(lost.home, lost.fleet), "local", 1)
    folder.joinpath("fleet.json").unlink() if text is None else folder.joinpath("fleet.json").write_text(text)
    before = {path.name for path in folder.iterdir()}
    for argv, began in (([], "error: nothing was ended: "), (["--dry-run"], "error: ")):
        told = lost("down", "--provider=local", *argv, code=1).stderr
        why = "fleet.json is missing or can't be read; no host of the fleet is in the Docker of this machine; if"
        assert f"{began}{folder}/{why}" in told
        assert f"if not, `rm -r {folder}` forgets the fleet" in told
    assert "can't be read" in lost("up", "--provider=local", code=2).stderr
    assert "can't be read" in lost("up", "--dry-run", code=2).stderr
    assert {path.name for path in folder.iterdir()} == {*before, "lock"}
    shutil.rmtree(folder)


@pytest.mark.parametrize("text", ["{", None])
def test_a_renamed_folder_without_fleet_json_is_not_forgotten(bare: Fab, text: str | None) -> None:
    folder, renamed = bare.home / bare.fleet, bare.home / "renamed"
    with changed(folder / "fleet.json", text):
        before = {path.name for path in folder.iterdir()}
        folder.rename(renamed)
        try:
            told = Fab(bare.home, "renamed")("down", "--provider=local", code=1).stderr
        finally:
            renamed.rename(folder)
        assert "no host of the fleet is in the Docker of this machine" in told
        assert {path.name for path in folder.iterdir()} == {*before, "lock"}
    assert set(bare.containers()) == HOSTS


def test_a_folder_that_was_renamed_ends_nothing(bare: Fab) -> None:
    folder, renamed = bare.home / bare.fleet, bare.home / "renamed"
    folder.rename(renamed)
    try:
        for argv in (["down"], ["down", "--provider=local"], ["up"], ["status"], ["down", "--dry-run"]):
            told = Fab(bare.home, "renamed")(*argv, code=2).stderr
            assert f"{renamed} is the folder of fleet ask, whose hosts have that name; rename the folder back" in told
        assert renamed.exists()
    finally:
        renamed.rename(folder)
    assert set(bare.containers()) == HOSTS


@pytest.mark.parametrize("text", ["", "hello", "\0"])
def test_where_the_id_is_lost_hosts_are_listed_and_left(bare: Fab, text: str) -> None:
    path = bare.home / bare.fleet / "id"
    known = path.read_text().strip()
    with changed(path, text):
        told = bare("down", code=1).stderr
        assert f"left alone: id {known}, of " in told
        assert f"--take-over={known}` ends it" in told
        assert "nothing was ended: the fleet's id is lost; if hosts above are its own, their command ends them" in told
        for argv in (["up"], ["up", "--dry-run"], ["up", f"--take-over={known}"]):
            assert "id can't be read (it holds no id); restore it, or end the fleet with" in bare(*argv, code=2).stderr
        assert f"id {known}, of " in bare("down", "--dry-run", code=1).stderr
        told = bare("down", f"--take-over={known}", "--dry-run").stdout
        assert told == f"end hub, worker-1, worker-2, which have id {known}\n"
        assert path.read_text() == text
    assert set(bare.containers()) == HOSTS


def test_a_fleet_without_hosts_is_not_well(bare: Fab) -> None:
    folder = Folder(bare.home, bare.fleet)
    known = folder.load()
    folder.save(dataclasses.replace(known, hosts=()))
    try:
        told = bare("status", code=1).stderr
        assert "the fleet has no hosts; `fab up --fleet ask` repairs the fleet" in told
    finally:
        folder.save(known)


def test_a_dry_run_of_up_notices_another_docker(bare: Fab) -> None:
    folder = Folder(bare.home, bare.fleet)
    known = folder.load()
    folder.save(dataclasses.replace(known, provider_options={**known.provider_options, "daemon": "another"}))
    try:
        assert "fleet ask is in another Docker than the one that answers" in bare("up", "--dry-run", code=1).stderr
    finally:
        folder.save(known)


def test_down_with_a_yes_ends_all(bare: Fab) -> None:
    """The last one here: it ends the fleet that the others share."""
    done = answer(bare, b"y\n", "down")
    assert (done.code, bare.containers()) == (0, {})
    assert "fleet ask is gone: hub, worker-1, worker-2" in done.text
    again = answer(bare, b"", "down")
    looked = "there were no hosts in the Docker of this machine; use --provider to look elsewhere"
    assert (again.code, again.text) == (0, f"no fleet ask is known here, and {looked}\n"), "nothing to ask about"
    assert bare("down", "--dry-run").stdout == "there are no hosts to end\n"
    assert not (bare.home / bare.fleet).exists()
