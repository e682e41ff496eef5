"""DST without room at any moment of a run: it is unfinished, and the same command goes on once there is room."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import log, tree
from tests.fleet.light import Light, light_fleet
from tests.fleet.mounts import fill, root, small_disk
from tests.waiting import wait_until

pytestmark = pytest.mark.long

COUNT = 12
PAGE = 4


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Light]:
    """Two workers that copy."""
    with light_fleet(tmp_path_factory.mktemp("light"), 2) as fleet:
        yield fleet


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Inputs, and a link to a folder, which is told in run.log before anything else happens."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "link").symlink_to("..")
    for number in range(COUNT):
        (tmp_path / "src" / f"{number:02}.bin").write_bytes(random.Random(number).randbytes(3000))
    return tmp_path / "src"


def check_unfinished(code: int, err: str) -> None:
    """The run did not finish, for want of room, and one line says so."""
    assert code == 3, err
    said = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert said == err.splitlines()[-1:]
    # Where the report alone is missing there is nothing left to be done.
    assert "make room there" in said[0] or "the run's report can't be written" in said[0]
    assert "a file can't" not in said[0], "it is named"


def check_goes_on(light: Light, argv: list[str], src: Path, dst: Path) -> None:
    """The same command does the rest, and the proof agrees."""
    light.fab(*argv)
    assert tree(dst) == {os.fsencode(path.name): path.read_bytes() for path in src.glob("*.bin")}
    light.fab("verify", f"--dst={dst}")


# The more KiB are free, the later a run fails: at the lock, the new ledger, its first entry, the staging folder, the
# ledger's entries of a batch, the joblog, or the report.
@pytest.mark.parametrize("left", [*range(0, 48, 16), *range(48, 72, PAGE), *range(72, 144, 2 * PAGE)])
def test_so_much_room_is_left_at_the_beginning(light: Light, src: Path, tmp_path: Path, left: int) -> None:
    with small_disk(tmp_path / "disk") as disk:
        dst = disk / "dst"
        argv = ["run", f"--src={src}", f"--dst={dst}", f"--image={light.image}"]
        fill(disk, left)
        done = light.fab(*argv, code=None)
        if done.returncode == 0:
            assert left > 64
        else:
            check_unfinished(done.returncode, done.stderr)
        # As long as there is no room the proof is honest, and a retry changes nothing.
        proof = light.fab("verify", f"--dst={dst}", code=None)
        assert proof.returncode in ({0} if done.returncode == 0 else {0, 1, 2}), proof.stderr
        assert proof.returncode < 2 or "no run has begun there" in proof.stderr or "has no ledger" in proof.stderr
        light.fab("retry", f"--dst={dst}", code=proof.returncode if proof.returncode == 2 else 0)
        (disk / "fill").unlink()
        check_goes_on(light, argv, src, dst)


@pytest.mark.parametrize("inodes", range(6, 40, 2))
def test_so_many_files_may_be_made(light: Light, src: Path, tmp_path: Path, inodes: int) -> None:
    with small_disk(tmp_path / "disk", inodes) as disk:
        dst = disk / "dst"
        argv = ["run", f"--src={src}", f"--dst={dst}", f"--image={light.image}"]
        done = light.fab(*argv, code=None)
        if done.returncode:
            check_unfinished(done.returncode, done.stderr)
        light.fab("verify", f"--dst={dst}", code=None)
        root("mount", "-o", "remount,nr_inodes=10000", str(disk))
        check_goes_on(light, argv, src, dst)


@pytest.mark.parametrize("turn", range(4))
def test_it_becomes_full_while_a_run_goes_on(light: Light, tmp_path: Path, turn: int) -> None:
    dice, src = random.Random(turn), tmp_path / "src"
    src.mkdir()
    for number in range(200):
        (src / f"{number:03}.bin").write_bytes(dice.randbytes(3000))
    with small_disk(tmp_path / "disk") as disk:
        dst = disk / "dst"
        argv = ["run", f"--src={src}", f"--dst={dst}", f"--image={light.image}"]
        run, home = light.fab.start(*argv), dice.randrange(60)
        wait_until(lambda: dst.exists() and (len(tree(dst)) >= home > 0 or (home == 0 and log(dst) == "")))
        fill(disk)
        out, err = run.communicate(timeout=120)
        assert "Traceback" not in out + err
        if run.returncode:  # it may have been done already
            check_unfinished(run.returncode, err)
        (disk / "fill").unlink()
        check_goes_on(light, argv, src, dst)


def test_a_retry_into_a_full_one_is_unfinished_and_goes_on_later(light: Light, src: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        dst = disk / "dst"
        (dst / "03.bin" / "in the way").mkdir(parents=True)
        light.fab("run", f"--src={src}", f"--dst={dst}", f"--image={light.image}", code=1)
        with contextlib.suppress(OSError):
            os.removedirs(dst / "03.bin" / "in the way")
        fill(disk)
        done = light.fab("retry", f"--dst={dst}", code=None)
        check_unfinished(done.returncode, done.stderr)
        assert "1 of 12" not in done.stderr
        (disk / "fill").unlink()
        light.fab("retry", f"--dst={dst}")
        light.fab("verify", f"--dst={dst}")
