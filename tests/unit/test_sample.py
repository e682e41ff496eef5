"""fanrun.sample: the same plates every time, as large as real ones, under names that a shell could take amiss."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fanrun import sample
from fanrun.fleet.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
FAB = Path(sys.executable).with_name("fab")


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plates that `fab sample` makes when it isn't told how many."""
    folder = tmp_path_factory.mktemp("plates")
    sample.make(folder, 59)
    return folder


def fab_sample(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run `fab sample` as a person would."""
    return subprocess.run(
        [str(FAB), "sample", *argv], cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_plates_every_time_and_fewer_are_the_first(plates: Path, tmp_path: Path) -> None:
    sample.make(tmp_path / "few", 7)
    few, all_of_them = contents(tmp_path / "few"), contents(plates)
    assert len(few) == 7
    assert few.items() <= all_of_them.items()


def test_no_two_alike(plates: Path, tmp_path: Path) -> None:
    sample.make(tmp_path, 7, seed=5)
    assert len(set(contents(plates).values())) == 59
    assert not set(contents(tmp_path).values()) & set(contents(plates).values())


def test_they_are_as_large_as_real_ones(plates: Path) -> None:
    sizes = [path.stat().st_size for path in plates.iterdir()]
    assert len(sizes) == 59
    assert 60_000 < sum(sizes) / len(sizes) < 70_000
    assert min(sizes) > 40_000
    assert max(sizes) < 90_000


def test_they_are_pictures(plates: Path) -> None:
    for path in plates.iterdir():
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode, image.width) == ("JPEG", "RGB", 400)
            assert 600 < image.height < 800


def test_their_names_are_those_of_scans() -> None:
    names = [sample.name(number) for number in range(5000)]
    assert len(set(names)) == 5000
    assert all(mark in "".join(names[:59]) for mark in "'()[]&,.")
    assert "/" not in "".join(names)
    assert "Curtis's_botanical_magazine_(" in names[0]
    assert all(name.endswith(".jpg") and len(name) < 100 for name in names)


def test_their_bytes_are_counted(tmp_path: Path) -> None:
    assert sample.make(tmp_path / "a" / "b", 3) == sum(map(len, contents(tmp_path / "a" / "b").values()))


def test_an_empty_folder_will_do_and_no_other(tmp_path: Path) -> None:
    sample.make(tmp_path, 2)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="is not empty; choose a new folder"):
        sample.make(tmp_path, 1)
    with pytest.raises(UsageError, match=r"can't be made a folder.*choose another"):
        sample.make(next(tmp_path.iterdir()), 1)
    assert contents(tmp_path) == before


def test_to_draw_the_same_again_changes_nothing(tmp_path: Path) -> None:
    size = sample.make(tmp_path, 3)
    before = contents(tmp_path)
    assert sample.make(tmp_path, 3) == size
    assert contents(tmp_path) == before


@pytest.mark.parametrize("number", [0, 2])
def test_a_plate_that_was_changed_is_not_drawn_over(tmp_path: Path, number: int) -> None:
    sample.make(tmp_path, 3)
    (tmp_path / sample.name(number)).write_bytes(b"mine")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="is not empty; choose a new folder"):
        sample.make(tmp_path, 3)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize(("problem", "told"), [(OSError(28, "No space"), UsageError), (KeyboardInterrupt(), None)])
def test_what_was_begun_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, told: type[Exception] | None, made: bool
) -> None:
    plate = sample.plate

    def third(number: int, seed: int, noise: Image.Image) -> Image.Image:
        if number == 2:
            raise problem
        return plate(number, seed, noise)

    monkeypatch.setattr(sample, "plate", third)
    dst = tmp_path / "new" if made else tmp_path
    with pytest.raises(told or type(problem)):
        sample.make(dst, 5)
    assert list(tmp_path.iterdir()) == []


def test_the_task_draws_59(tmp_path: Path, plates: Path) -> None:
    done = fab_sample("--dst", os.path.relpath(tmp_path / "it's [new]", ROOT))
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"59 plates, 3.8 MB, in {tmp_path}/it's [new]\n"
    assert contents(tmp_path / "it's [new]") == contents(plates)


def test_the_task_tells_where_it_may_not_draw(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = fab_sample("--dst", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: --dst {str(tmp_path)!r} is not empty; choose a new folder, or empty this one first\n"


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many", "", "1000001", "1e3"])
def test_a_count_that_can_not_be_meant(tmp_path: Path, count: str) -> None:
    done = fab_sample("--dst", str(tmp_path / "new"), f"--count={count}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: --count={count}: give a whole number from 1 to 1000000\n"
    assert not (tmp_path / "new").exists()


def test_it_needs_a_folder() -> None:
    done = fab_sample()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: fab sample needs --dst; `fab --help sample` shows all it takes\n"
