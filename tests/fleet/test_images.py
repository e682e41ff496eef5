"""What stays of images, on the hosts and on the client, after many deploys and after the fleet is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fleet.store import Folder
from provision.providers.local.host_image import IMAGE as DEBIAN
from provision.registry import local_images
from tests.fleet.harness import Fab, docker, report, tree
from tests.unit.test_house import FILES, ROOT

pytestmark = pytest.mark.long

SLEEP = "--entrypoint=/usr/bin/python3 {} -c 'import time; time.sleep(600)'"


class Checkout:
    """A checkout of its own, whose programs are edited, and a fleet of one worker."""

    def __init__(self, top: Path, name: str) -> None:
        self.root = top / "checkout"
        for path in FILES:
            (self.root / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self.root / path.relative_to(ROOT))
        self.fab = Fab(top / "home", name, root=self.root)
        self.folder = Folder(top / "home", name)

    def edit(self, word: str, file: str = "process.py") -> None:
        """Make the program another one."""
        text = (ROOT / file).read_text()
        (self.root / file).write_text(f"{text}\n# {word} of {self.folder.name}\n")

    def deploy(self, word: str) -> str:
        """Deploy an edited process.py; returns the ref of its image."""
        self.edit(word)
        self.fab("deploy")
        return self.ref("process.py")

    def ref(self, name: str) -> str:
        return self.folder.load().images[name].ref

    def tags(self) -> dict[str, str]:
        """What the client holds of the fleet: {tag: image id}."""
        return local_images.tags_of(self.folder.name, self.folder.ids)

    def on_host(self, host: str) -> set[str]:
        """The refs of the images that a host holds of deploys."""
        lines = self.fab.on(host, "docker image ls --digests --format '{{.Repository}}@{{.Digest}}'").splitlines()
        return {line for line in lines if "/fanrun/image@" in line}


def there(images: list[str]) -> list[str]:
    """Those of these images, by their ids, that the client still has."""
    argv = ["docker", "image", "inspect", "--format={{.Id}}", *images]
    found = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    return [each for each in images if f"sha256:{each}" in found]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A fleet that is up."""
    made = Checkout(tmp_path, f"images-{os.getpid()}")
    made.edit("one")  # so it shares nothing with what others have built on this machine
    try:
        made.fab("up", "--hosts=1")
        yield made
    finally:
        made.fab("down")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Checkout]:
    """Another fleet of the same name, of another checkout on this machine; it is not up yet."""
    made = Checkout(tmp_path / "other", f"images-{os.getpid()}")
    try:
        yield made
    finally:
        if made.folder.exists():
            made.fab("down")


@pytest.fixture
def person() -> Iterator[str]:
    """A dangling image of a person's, by its id."""
    dockerfile = f"FROM {DEBIAN}\nLABEL person={os.getpid()}\n"
    built = subprocess.run(["docker", "build", "--quiet", "-"], input=dockerfile, capture_output=True, text=True)
    made = built.stdout.strip()
    yield made
    docker("rmi", made)


def test_a_host_and_the_client_keep_the_current_image_and_the_one_before_it(
    checkout: Checkout, other: Checkout, person: str, program: str, tmp_path: Path
) -> None:
    fab = checkout.fab
    src, dst = tmp_path / "src", tmp_path / "dst"
    fab("sample", f"--dst={src}", "--count=3")
    fab("run", f"--src={src}", f"--dst={dst}")
    fab("run", f"--src={src}", f"--dst={tmp_path / 'copies'}", f"--image={program}", "--args=copy")
    check_what_deploys_keep(checkout, checkout.ref(program))
    # A fleet of the same name, with its own images; the first one's `down` leaves them.
    other.edit("other")
    other.fab("up", "--hosts=1")
    check_down_removes_its_own_images(checkout, other)
    assert there([docker("image", "inspect", "--format={{.Id}}", name).strip()[7:] for name in (person, program)])

    # What was built is gone, and what is built again of the same sources has another id: it is the same program.
    first = tree(dst)
    other.edit("one")
    other.fab("run", f"--src={src}", f"--dst={dst}")
    assert (report(dst)["kept"], report(dst)["done"]) == (3, 0)
    assert tree(dst) == first


def check_what_deploys_keep(checkout: Checkout, of_person: str) -> None:
    """Deploy three times; check which images the hosts and the client have then. One is a person's."""
    fab = checkout.fab
    refs, held = [checkout.ref("process.py")], [set(checkout.tags().values())]
    in_use = fab.on("worker-1", f"docker run --detach {SLEEP.format(refs[0])}").strip()
    for word in ("two", "three", "four"):
        refs.append(checkout.deploy(word))
        held.append(set(checkout.tags().values()))
    assert len(set(refs)) == 4
    assert checkout.on_host("worker-1") == {refs[0], *refs[2:], of_person}, "a container uses the first"
    fab.on("worker-1", f"docker rm --force {in_use}")
    fab("up")
    assert checkout.on_host("worker-1") == {*refs[2:], of_person}
    assert checkout.on_host("hub") == set()

    images = {name: each for name, each in checkout.tags().items() if ".cache-" not in name}
    assert len(images) == 3
    assert len(set(images.values())) == 2, "the last has two tags"
    old = [each for layers in held[:2] for each in layers - held[2] - held[3]]
    assert old
    assert there(old) == []
    assert set(there(sorted(held[3]))) == held[3]


def check_down_removes_its_own_images(checkout: Checkout, other: Checkout) -> None:
    """End the first fleet; check that its images are gone, and the other's are not."""
    fab, folder = checkout.fab, checkout.folder
    assert len(set(other.tags()) - set(checkout.tags())) >= 2
    before = other.tags()
    told = fab("down", "--dry-run").stdout
    assert all(name in told for name in checkout.tags())
    assert not [name for name in before if name in told]
    mine, fleet_ids = checkout.tags(), folder.ids
    fab("down")
    assert local_images.tags_of(folder.name, fleet_ids) == {}
    assert there([each for each in mine.values() if each not in before.values()]) == []
    assert other.tags() == before


@pytest.mark.long
def test_images_of_the_service_go_as_well(checkout: Checkout) -> None:
    fab, name = checkout.fab, local_images.own_tag(checkout.folder, local_images.SERVICE)
    refs = list[str]()
    for word in ("one", "two", "three"):
        checkout.edit(word, "service/common/logs.py")
        fab("serve", "--replicas=1")
        refs.append(checkout.ref(name))
    assert len(set(refs)) == 3
    assert checkout.on_host("hub") == set(refs[1:])
    assert checkout.on_host("worker-1") == {*refs[1:], checkout.ref("process.py")}
    services = {tag: each for tag, each in checkout.tags().items() if tag.startswith(f"{name}.") and "cache" not in tag}
    assert len(services) == 2
    fab("serve", "--replicas=0")


def test_a_build_that_fails_or_is_ended_leaves_nothing_after_the_fleet(tmp_path: Path) -> None:
    made = Checkout(tmp_path, f"images-{os.getpid()}-broken")
    (made.root / "Dockerfile").write_text(f"FROM {DEBIAN}\nRUN echo {os.urandom(8).hex()} >/made\nRUN false\n")
    try:
        made.fab("up", "--hosts=1", code=None)
        held = list(made.tags().values())
        assert held, "what was built before the step that failed"
    finally:
        made.fab("down")
    assert there(held) == []
