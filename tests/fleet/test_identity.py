"""A fleet is known by its id: in a moved folder, beside others of its name, and made by an older version."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, docker, tree
from tests.fleet.older_fleet import old_fleet
from tests.waiting import wait_until

pytestmark = pytest.mark.long


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a fleet; nothing that carries it is left after the test."""
    name = f"ids-{os.getpid()}"
    yield name
    left = docker("ps", "--all", "--quiet", f"--filter=label=fanrun.fleet={name}").split()
    if left:
        docker("rm", "--force", "--volumes", *left)
    for network in docker("network", "ls", "--format={{.Name}}", f"--filter=name=fanrun-{name}-").split():
        docker("network", "rm", network)
    assert left == []


def hosts(fleet: str) -> set[str]:
    """The ids of all containers that carry a fleet's name."""
    return set(docker("ps", "--all", "--quiet", "--no-trunc", f"--filter=label=fanrun.fleet={fleet}").split())


def launched(fab: Fab) -> set[str]:
    """Let `fab up` launch a hub and a worker, and kill it then; returns the new containers."""
    before = hosts(fab.fleet)
    up = fab.start("up", "--hosts=1")
    wait_until(lambda: len(fab.containers("status=running")) == 2, timeout=120)
    wait_until(lambda: (fab.home / fab.fleet / "ssh_config").exists())
    wait_until(lambda: "worker-1" in (fab.home / fab.fleet / "ssh_config").read_text())
    up.kill()
    up.communicate()
    return hosts(fab.fleet) - before


def test_a_checkout_that_was_moved_keeps_its_fleet(name: str, src: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old" / ".fanrun", tmp_path / "new" / ".fanrun"
    Fab(old, name)("up", "--hosts=1")
    before = hosts(name)
    old.parent.rename(new.parent)
    moved = Fab(new, name)
    moved("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert len(tree(tmp_path / "dst")) == 12
    assert all(row["reachable"] for row in moved.status().values())
    assert "nothing to change" in moved("up").stderr
    assert hosts(name) == before
    mark = f"fleet {name}\nid {(new / name / 'id').read_text()}version 2\n"
    assert all(docker("exec", host, "cat", "/var/lib/fanrun/fleet") == mark for host in before)
    assert "hub, worker-1" in moved("down").stderr
    assert hosts(name) == set()


def test_two_jobs_without_a_shared_folder_do_not_end_each_others_hosts(name: str, tmp_path: Path) -> None:
    """The second one has the same path, as in a container of its own."""
    first = Fab(tmp_path / "home", name)
    theirs = launched(first)
    kept = first.home.rename(tmp_path / "elsewhere")
    identity = (kept / name / "id").read_text().strip()
    second = Fab(tmp_path / "home", name)
    for task in (["up", "--hosts=1"], ["up", "--hosts=1", "--dry-run"]):
        told = second(*task, code=2).stderr
        assert re.search(rf"id {identity}, of \S+@\S+, 2 hosts \(hub, worker-1\), made \d+ s ago, .* begun in", told)
        assert f"`fab up --take-over={identity} --fleet {name}`" in told
    assert f"left alone: id {identity}, of " in second("down", "--dry-run", code=1).stderr
    told = second("down", code=1).stderr
    assert re.search(rf"left alone: id {identity}, of \S+, 2 hosts", told)
    assert f"`fab down --provider=local --fleet={name} --take-over={identity}` ends it" in told
    assert not second.home.exists() or not list(second.home.iterdir())
    assert hosts(name) == theirs

    nobody = "0123456789abcdef"
    assert f"has the id {nobody}" in second("down", f"--take-over={nobody}", code=2).stderr
    assert hosts(name) == theirs
    done = second("down", f"--take-over={identity}")
    assert "hub, worker-1" in done.stderr
    assert hosts(name) == set()
    assert "there were no hosts in the Docker of this machine" in second("down").stderr


def test_up_takes_over_what_it_is_told_to(name: str, tmp_path: Path) -> None:
    fab = Fab(tmp_path / "home", name)
    theirs = launched(fab)
    identity = (fab.home / name / "id").read_text().strip()
    shutil.rmtree(fab.home)
    up = fab.start("up", "--hosts=1", f"--take-over={identity}")
    wait_until(lambda: not theirs & hosts(name) and len(fab.containers("status=running")) == 2, timeout=120)
    up.kill()
    up.communicate()
    assert (fab.home / name / "id").read_text().strip() != identity
    assert "hub, worker-1" in fab("down").stderr


def test_another_docker_is_no_all_clear(name: str, tmp_path: Path) -> None:
    """As when DOCKER_HOST or the context have changed since."""
    fab = Fab(tmp_path / "home", name)
    theirs = launched(fab)
    path = fab.home / name / "fleet.json"
    text = path.read_text()
    daemon = docker("info", "--format={{.ID}}").strip()
    assert daemon in text
    path.write_text(text.replace(daemon, "another"))
    for task in ("down", "up"):
        assert f"fleet {name} is in another Docker than the one that answers here" in fab(task, code=1).stderr
    assert hosts(name) == theirs
    path.write_text(text)
    assert "hub, worker-1" in fab("down").stderr


def test_fleets_of_one_name_from_two_checkouts_live_side_by_side(name: str, tmp_path: Path) -> None:
    one, two = Fab(tmp_path / "one", name), Fab(tmp_path / "two", name)
    ones, twos = launched(one), launched(two)
    assert hosts(name) == ones | twos
    assert len(ones) == len(twos) == 2
    told = one("down").stderr
    assert "left alone" in told
    assert "hub, worker-1" in told
    assert hosts(name) == twos
    assert "left alone" in one("down", code=1).stderr
    assert hosts(name) == twos
    two("down")
    assert hosts(name) == set()


def test_a_fleet_of_an_older_version_is_read_repaired_and_ended(name: str, src: Path, tmp_path: Path) -> None:
    old_fleet(tmp_path / "old", name)
    before = hosts(name)
    fab = Fab(tmp_path / "new", name)
    (tmp_path / "old").rename(fab.home)
    wait_until(lambda: all(row["reachable"] for row in fab.status(code=None).values()))
    fab("up", "--hosts=2")
    assert before < hosts(name), "what was there is kept"
    assert "nothing to change" in fab("up").stderr
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert len(tree(tmp_path / "dst")) == 12
    assert "hub, worker-1, worker-2" in fab("down").stderr
    assert hosts(name) == set()


def test_a_fleet_of_an_older_version_is_ended_as_it_is(name: str, tmp_path: Path) -> None:
    """By the folder that has its keys, and by no other."""
    old_fleet(tmp_path / "old", name)
    before = hosts(name)
    stranger = Fab(tmp_path / "other", name)
    told = stranger("down", code=1).stderr
    identity = re.search(r"--take-over=(old-[0-9a-f]{12})", told)
    assert identity
    assert hosts(name) == before
    old_fleet_moved = Fab(tmp_path / "new", name)
    (tmp_path / "old").rename(old_fleet_moved.home)
    assert "hub, worker-1" in old_fleet_moved("down").stderr
    assert hosts(name) == set()

    old_fleet(tmp_path / "old", name)
    shutil.rmtree(tmp_path / "old")
    assert "hub, worker-1" in stranger("down", f"--take-over={identity[1]}").stderr
    assert hosts(name) == set()


def test_a_folder_or_a_host_of_a_newer_version_is_refused(fab: Fab) -> None:
    path = fab.home / fab.fleet / "fleet.json"
    text = path.read_text()
    path.write_text(text.replace('"version": 2', '"version": 3'))
    tasks = [["status"], ["deploy"], ["exec", "--command=true"], ["down", "--take-over=0123456789abcdef"]]
    tasks += [[task, *options] for task in ("up", "down") for options in ([], ["--provider=local"], ["--dry-run"])]
    try:
        for task in tasks:
            told = fab(*task, code=2).stderr
            assert "was written by a newer Fanrun (version 3, this one knows 2); update this Fanrun" in told
    finally:
        path.write_text(text)
    fab.on("worker-1", "sed -i 's/^version 2/version 3/' /var/lib/fanrun/fleet")
    try:
        assert "worker-1: was set up by a newer Fanrun (version 3" in fab("up", code=1).stderr
    finally:
        fab.on("worker-1", "sed -i 's/^version 3/version 2/' /var/lib/fanrun/fleet")
    fab.on("worker-1", "sed -i 's/^id /id f/' /var/lib/fanrun/fleet")
    try:
        assert "worker-1: belongs to another fleet (id f" in fab("up", code=1).stderr
    finally:
        fab.on("worker-1", "sed -i 's/^id f/id /' /var/lib/fanrun/fleet")
    assert "nothing to change" in fab("up").stderr
