"""Machines that were out of reach, or taken by an older version, are given back later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, docker
from tests.fleet.machines import BY_SUDO, Machines

pytestmark = pytest.mark.long


@pytest.fixture
def fab(tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "theirs")


def test_one_that_is_away_when_it_is_left_out_is_remembered(three: Machines, fab: Fab) -> None:
    fab("up", *three.options("one", "two"))
    docker("stop", "--time=1", f"{three.network}-two")
    try:
        told = fab("up", *three.options("one"), code=None).stderr
        assert "what is on it stays" in told
        assert set(fab.status()) == {"hub", "worker-1"}
    finally:
        three.start("two")
    assert "former-1" in fab("down").stderr
    assert three.on("two", "ls -d /var/lib/fanrun 2>/dev/null || :") == ""


def test_a_machine_of_an_older_version_is_repaired_and_given_back(three: Machines, fab: Fab) -> None:
    """Neither its mark nor the folder has an id; the folder has its key."""

    def make_old() -> None:
        three.on("three", "sed -i -e '/^id /d' -e '/^version /d' /var/lib/fanrun/fleet")
        folder = fab.home / "theirs"
        (folder / "id").unlink()
        (folder / "fleet.json").write_text(json.dumps(json.loads((folder / "fleet.json").read_text())["fleet"]))

    before = three.files("three")
    fab("up", *three.options("three"))
    make_old()
    stranger = Fab(fab.home.with_name("stranger"), "theirs")
    assert "left alone: id old-" in stranger("down", *three.options("three"), code=1).stderr
    fab("up")
    assert f"id {(fab.home / 'theirs' / 'id').read_text().split()[0]}\n" in three.on(
        "three", "cat /var/lib/fanrun/fleet"
    )
    assert "nothing to change" in fab("up").stderr
    make_old()
    assert "hub, worker-1" in fab("down").stderr
    assert {path for path in three.files("three") ^ before if not path.startswith("/run/")} <= BY_SUDO


def test_one_that_is_away_is_named_and_what_its_owner_keeps_in_the_docker_stays(three: Machines, fab: Fab) -> None:
    fab("up", *three.options("one"))
    image = "docker image ls --quiet --no-trunc | head -n 1"
    named = three.on("one", f"image=$({image}); docker tag $image mine:1; docker volume create theirs; echo $image")
    docker("stop", "--time=1", f"{three.network}-one")
    try:
        told = fab("down", code=1).stderr
        assert "no SSH to" in told
        assert "forgets the fleet" in told
    finally:
        three.start("one")
    told = fab("down").stderr
    assert "hub, worker-1" in told
    assert "Docker stays" in told
    left = "docker image ls --format '{{.Repository}}:{{.Tag}}'; docker volume ls --quiet; " + image
    assert three.on("one", left).split() == ["mine:1", *named.split()]
    assert three.on("one", "ls -d /var/lib/fanrun /var/lib/docker-registry 2>/dev/null || :") == ""
