"""The tags of what Fanrun builds, what stays on a host and on the client, and what goes."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.model import Fleet, Image
from fanrun.fleet.store import Folder
from provision.hosts.common import read_file
from provision.registry import local_images

CLASSIC = """Sending build context to Docker daemon  46.08kB\r
Step 1/7 : FROM debian:trixie-slim AS builder
 ---> 6f2b3c4d5e6f
Step 2/7 : RUN false
 ---> Running in 111111111111
 ---> 222222222222
Step 3/7 : FROM scratch
 --->\x20
Step 4/7 : COPY --from=builder / /
 ---> Using cache
 ---> 333333333333
Step 5/7 : FROM debian:trixie-slim
 ---> 6f2b3c4d5e6f
Step 6/7 : COPY a /
 ---> 444444444444
Successfully built 444444444444"""


def image(name: str, content: int) -> Image:
    return Image(name, f"sha256:{content:064}", f"10.0.0.10:5000/fanrun/image@sha256:{content:064}")


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("process.py", "process.py"),
        ("tool", "tool"),
        ("tool:1", "tool"),
        ("lab/tool:1", "lab/tool"),
        ("lab:5000/tool", "lab:5000/tool"),
        ("lab:5000/tool:1.2", "lab:5000/tool"),
        ("lab:5000/tool@sha256:00", "lab:5000/tool"),
        ("lab:5000/tool:1@sha256:00", "lab:5000/tool"),
        ("sha256:0123", "sha256"),
    ],
)
def test_the_repository_of_a_name(name: str, repository: str) -> None:
    assert image(name, 1).repository == repository


deploys = st.lists(st.tuples(st.sampled_from(["process.py", "tool:1", "tool:2", "tool"]), st.integers(1, 4)))


@given(deploys)
def test_of_each_repository_the_last_image_and_the_one_before_it_are_known(history: list[tuple[str, int]]) -> None:
    fleet, deployed = Fleet("f", "local"), dict[str, list[str]]()
    for name, content in history:
        new = image(name, content)
        fleet = fleet.with_image(new)
        deployed.setdefault(new.repository, []).append(new.ref)
        assert fleet.images[name] == new
    for repository, refs in deployed.items():
        last = refs[-1]
        before = [ref for ref in refs if ref != last][-1:]
        known = {each.ref for each in fleet.known_images if each.repository == repository}
        assert known == {last, *before}


def test_the_last_image_of_each_stage_is_told_by_the_classic_builder() -> None:
    assert local_images.last_layers(CLASSIC.splitlines(), whole=True) == ["222222222222", "333333333333"]
    cut = CLASSIC.splitlines()[:-1]
    assert local_images.last_layers(cut, whole=False) == ["222222222222", "333333333333", "444444444444"]
    assert local_images.last_layers(CLASSIC.splitlines()[:2], whole=False) == []
    assert local_images.last_layers(["#5 [builder 2/4] RUN false", "#5 DONE 0.1s"], whole=True) == []


def test_tags_are_those_of_one_fleet(folder: Folder) -> None:
    assert local_images.own_tag(folder, local_images.PROCESS) == "fanrun/process:default"
    assert local_images.tags_of(folder.name, folder.ids) == {}
    mine = folder.ensure_id()
    assert local_images.own_tag(folder, local_images.PROCESS) == f"fanrun/process:default.{mine}"
    assert local_images.pushed_tag(folder, f"sha256:{'ab' * 32}") == f"fanrun/image:{mine}-abababababab"


class Docker:
    """A docker in PATH that holds images by their names, and says what it removes; `used` are those of containers."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top / "docker-state"
        (top / "bin").mkdir()
        self.top.mkdir()
        program = top / "bin" / "docker"
        program.write_text(
            f"""#!/bin/sh
            cd {self.top}
            case $1 in
              image) cat images ;;
              rmi) shift
                for name; do
                  if grep -qsxF -- "$name" used; then echo "in use" >&2; code=1; continue; fi
                  echo "$name" >>removed
                  grep -vF -- "$name " images >left; mv left images
                done
                exit ${{code:-0}} ;;
              *) exit 9 ;;
            esac
            """
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{top / 'bin'}:{os.environ['PATH']}")

    def hold(self, lines: list[str], used: str = "") -> None:
        (self.top / "images").write_text("".join(f"{line}\n" for line in lines))
        (self.top / "used").write_text(f"{used}\n")
        (self.top / "removed").write_text("")

    @property
    def removed(self) -> list[str]:
        return (self.top / "removed").read_text().splitlines()


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """A stand-in for docker."""
    return Docker(tmp_path, monkeypatch)


def tags_of_fleet(mine: str) -> list[tuple[str, int]]:
    """Return tags of a fleet's images, each with the number of its content."""
    return [
        (f"fanrun/process:default.{mine}", 5),
        (f"fanrun/process:default.{mine}.{5:012}", 5),
        (f"fanrun/process:default.{mine}.{4:012}", 4),
        (f"fanrun/process:default.{mine}.{3:012}", 3),
        (f"fanrun/process:default.{mine}.{2:012}", 2),
        (f"fanrun/process:default.{mine}.cache-{9:012}", 9),
        (f"fanrun/service:default.{mine}.{1:012}", 1),
        (f"127.0.0.1:4999/fanrun/image:{mine}-{1:012}", 1),
    ]


def test_the_client_keeps_what_is_known_what_was_built_last_and_what_is_not_the_fleets(
    folder: Folder, client: Docker
) -> None:
    mine, other = folder.ensure_id(), "0123456789abcdef"
    ours = tags_of_fleet(mine)
    others = [
        (f"fanrun/process:default.{other}", 1),
        (f"fanrun/process:default.{other}.{1:012}", 1),
        (f"fanrun/process:blue.{mine}.{1:012}", 1),
        ("fanrun/process:default", 1),
        ("fanrun/process:latest", 1),
        (f"127.0.0.1:40001/fanrun/image:{other}-{1:012}", 1),
        ("<none>:<none>", 1),
        ("tool:1", 2),
        (f"lab/fanrun/process:default.{mine}", 1),
        (f"fanrun/process:default.{mine}0.{1:012}", 1),
    ]
    lines = [f"{name} {content:012}" for name, content in (*ours, *others)]
    client.hold(lines)
    local_images.remove_old(folder, [f"sha256:{content:012}{'0' * 52}" for content in (3, 4)])
    assert client.removed == [ours[7][0], ours[4][0], ours[6][0]]
    client.hold(lines, used=ours[1][0])
    tags = local_images.tags_of(folder.name, folder.ids)
    assert set(tags) == {name for name, _ in ours}
    assert local_images.remove_all(tags) == [ours[1][0]]
    assert sorted(client.removed) == sorted(name for name, _ in ours if name != ours[1][0])


def test_without_docker_nothing_is_there(folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder.ensure_id()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert local_images.remove_all(local_images.tags_of(folder.name, folder.ids)) == []


def test_a_host_keeps_what_is_known_and_what_is_not_a_hubs(client: Docker) -> None:
    def pulled(hub: str, content: int) -> tuple[str, str]:
        return f"{hub}/fanrun/image <none> sha256:{content:064}", f"{hub}/fanrun/image@sha256:{content:064}"

    olds = [pulled("10.0.0.10:5000", content) for content in range(4)]
    elsewhere = pulled("10.0.0.99:5000", 1)
    pushed = "127.0.0.1:4999/fanrun/image f00-012345678901 <none>", "127.0.0.1:4999/fanrun/image:f00-012345678901"
    others = [
        "debian trixie-slim <none>",
        "<none> <none> <none>",
        pulled("10.0.0.10:6000", 1)[0],
        "127.0.0.1:40001/fanrun/image f00-1 <none>",
        "lab/fanrun/image <none> sha256:00",
        "127.0.0.1:4999/fanrun/image <none> sha256:00",
    ]
    lines = [line for line, _ in (*olds, elsewhere, pushed)] + others
    random.Random(0).shuffle(lines)
    client.hold(lines, used=olds[1][1])
    argv = ["sh", "-c", read_file("remove-images.sh"), "sh", ":5000/fanrun/image", "127.0.0.1:4999/fanrun/image"]
    subprocess.run([*argv, olds[2][1], olds[3][1]], check=True)
    assert set(client.removed) == {olds[0][1], elsewhere[1], pushed[1]}


def test_a_fleet_that_an_older_fanrun_wrote_knows_no_previous_image(folder: Folder) -> None:
    fleet = Fleet("default", "local", images={"process.py": image("process.py", 1)})
    folder.save(fleet)
    text = folder.fleet_json.read_text()
    assert '"previous": {}' in text
    folder.fleet_json.write_text(text.replace(',\n    "previous": {}', ""))
    assert folder.load() == fleet
    newer = fleet.with_image(image("process.py", 2))
    folder.save(newer)
    assert folder.load() == newer
    assert [each.ref for each in newer.known_images] == [image("process.py", n).ref for n in (2, 1)]
    assert dataclasses.replace(newer, previous={}).known_images == (newer.images["process.py"],)
