"""Operations of process.py: what size they lead to, and that they are typed, done and told as they should be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imaging.rules import Operations, target_size
from imaging.transform import transform

PROGRAM = Path(__file__).resolve().parents[2] / "process.py"
Size = tuple[int, int]


@pytest.mark.parametrize(
    ("size", "wish", "expected"),
    [
        ((1400, 1316), Operations(1024, 768), (1024, 768)),
        ((1400, 1316), Operations(), None),
        ((1400, 1316), Operations(grayscale=True, rotate=90), None),
        ((1024, 768), Operations(1024, 768), None),
        ((1, 1), Operations(1024, 768), (1024, 768)),
        # 5 % of 1024 are 51.2, of 768 are 38.4
        ((1075, 730), Operations(1024, 768, margin=0.05), None),
        ((973, 806), Operations(1024, 768, margin=0.05), None),
        ((1076, 768), Operations(1024, 768, margin=0.05), (1024, 768)),
        ((972, 768), Operations(1024, 768, margin=0.05), (1024, 768)),
        ((1024, 807), Operations(1024, 768, margin=0.05), (1024, 768)),
        ((1025, 768), Operations(1024, 768), (1024, 768)),
        # inside
        ((400, 300), Operations(100, 100, "fit"), (100, 75)),
        ((300, 400), Operations(100, 100, "fit"), (75, 100)),
        ((40, 30), Operations(100, 100, "fit"), (100, 75)),
        ((10_000, 1), Operations(100, 100, "fit"), (100, 1)),
        ((104, 78), Operations(100, 100, "fit", 0.05), None),
        # filling
        ((400, 300), Operations(100, 100, "cover"), (100, 100)),
        ((101, 99), Operations(100, 100, "cover", 0.05), None),
        # a side that follows
        ((400, 300), Operations(width=200), (200, 150)),
        ((400, 300), Operations(height=600), (800, 600)),
        ((400, 300), Operations(width=200, how="cover"), (200, 150)),
        ((400, 300), Operations(width=200, how="fit"), (200, 150)),
        ((10_000, 1), Operations(width=10), (10, 1)),
    ],
)
def test_target_sizes(size: Size, wish: Operations, expected: Size | None) -> None:
    assert target_size(size, wish) == expected


SIDES = st.integers(1, 65_535)
WISHES = st.builds(
    Operations,
    st.integers(0, 65_535),
    st.integers(0, 65_535),
    st.sampled_from(["exact", "fit", "cover"]),
    st.floats(0, 0.99),
)


@given(st.tuples(SIDES, SIDES), WISHES)
def test_a_size_is_at_least_a_pixel_and_never_too_large(size: Size, wish: Operations) -> None:
    found = target_size(size, wish)
    if found is None:
        return
    assert min(found) >= 1
    if wish.width and wish.height:
        assert found[0] <= wish.width
        assert found[1] <= wish.height
        assert wish.how == "fit" or found == (wish.width, wish.height)
    assert target_size(found, wish._replace(how="exact")) in (None, (wish.width, wish.height)) or 0 in wish[:2]


@given(st.tuples(SIDES, SIDES), WISHES)
def test_twice_is_once(size: Size, wish: Operations) -> None:
    """What was scaled is not scaled again, if rounding has not bent it."""
    found = target_size(size, wish)
    if found is not None and wish.how != "fit" and wish.width and wish.height:
        assert target_size(found, wish) is None


@given(*[st.integers(1, 300)] * 4)
def test_any_size_can_be_filled(width: int, height: int, new_width: int, new_height: int) -> None:
    source, target = io.BytesIO(), io.BytesIO()
    Image.new("L", (width, height), 200).save(source, "PNG")
    transform(source, target, Operations(new_width, new_height, "cover"))
    with Image.open(target) as found:
        assert found.size == (new_width, new_height)
        assert found.getextrema() == (200, 200)


def image(width: int = 60, height: int = 40, kind: str = "JPEG") -> bytes:
    target = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(target, kind)
    return target.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of good images."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name, kind in {"a.jpg": "JPEG", "b.png": "PNG", "deep/c.webp": "WEBP", "no extension": "TIFF"}.items():
        (folder / name).write_bytes(image(kind=kind))
    return folder


def run(source: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict[str, bytes]]:
    """Run the program; returns how it ended, and its results."""
    output = source.parent / "out"
    argv = [sys.executable, str(PROGRAM), str(source), str(output), *options]
    environment = {**os.environ, "FANRUN_REPORT": str(source.parent / "report")}
    finished = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return finished, {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


TYPED = {
    "--size 30x20": Operations(30, 20),
    "--size 30x": Operations(30),
    "--size x20 --how fit": Operations(0, 20, "fit"),
    "--size 30x20 --how cover --grayscale": Operations(30, 20, "cover", grayscale=True),
    "--size 30x20 --rotate 270": Operations(30, 20, rotate=270),
    "--size 58x41 --margin 0.05 --grayscale": Operations(58, 41, margin=0.05, grayscale=True),
    "--size 58x41 --margin 5% --rotate 90": Operations(58, 41, margin=0.05, rotate=90),
    "--grayscale": Operations(grayscale=True),
    "--rotate 180": Operations(rotate=180),
}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("options", TYPED)
def test_what_is_typed_is_done(options: str, workers: str, source: Path) -> None:
    finished, results = run(source, *options.split(), "--workers", workers)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert set(results) == {"a.jpg", "b.png", "deep/c.webp", "no extension"}
    for name, content in results.items():
        expected = io.BytesIO()
        transform(io.BytesIO((source / name).read_bytes()), expected, TYPED[options])
        assert content == expected.getvalue(), name


@pytest.mark.parametrize("options", ["--size 58x41 --margin 5%", "--size 60x40", "--rotate 0"])
def test_where_nothing_is_to_be_done_files_are_copied(options: str, source: Path) -> None:
    _, results = run(source, *options.split())
    assert results == {name: (source / name).read_bytes() for name in results}
    assert len(results) == 4


def test_it_runs_in_any_folder_and_is_a_module_of_python_path(source: Path) -> None:
    """As in the container, where nothing is imported from the folder that it runs in."""
    (source.parent / "imaging").mkdir()
    (source.parent / "imaging/__init__.py").write_text("raise SystemExit(9)")
    argv: list[str | Path] = [sys.executable, PROGRAM, source, source.parent / "script", "--size", "30x20"]
    subprocess.run(argv, cwd=source.parent, timeout=60, check=True)
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parent), "PYTHONSAFEPATH": "1"}
    argv[1:4] = ["-m", "process", source, source.parent / "module"]
    subprocess.run(argv, cwd="/", env=environment, timeout=60, check=True)
    script, module = (sorted(path.name for path in (source.parent / name).iterdir()) for name in ("script", "module"))
    assert script == module == sorted(path.name for path in source.iterdir())


def test_without_operations_it_rotates_as_ever(source: Path) -> None:
    _, results = run(source)
    with Image.open(source / "a.jpg") as before:
        expected = io.BytesIO()
        before.rotate(90, expand=True).save(expected, "JPEG")
    assert results["a.jpg"] == expected.getvalue()


def test_what_is_refused_is_told(source: Path) -> None:
    bad = {
        "cut.jpg": (image()[:-100], "the image is damaged, cut off, or of a kind that cannot be read"),
        "empty.png": (b"", "the image is empty"),
        "text.png": (b"Once upon a time\n" * 9, "this is not an image"),
        "image.ppm": (image(kind="PPM"), "images of this format are not supported"),
    }
    for name, (content, _) in bad.items():
        (source / name).write_bytes(content)
    finished, results = run(source, "--size", "30x20")
    assert finished.returncode == 1
    *lines, summary = finished.stderr.splitlines()
    assert summary == "process.py: 4 done, 4 failed"
    assert set(lines) == {f"process.py: {name}: {text}" for name, (_, text) in bad.items()}
    assert not set(results) & set(bad)
    told = [json.loads(line) for line in (source.parent / "report").read_text().splitlines()]
    assert {entry["path"]: entry["error"] for entry in told if not entry["ok"]} == {
        name: text for name, (_, text) in bad.items()
    }


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--size 10", "argument --size: give WIDTHxHEIGHT in pixels, each up to 65535, as in 1024x768"),
        ("--size 0x0", "argument --size: give WIDTHxHEIGHT in pixels, each up to 65535, as in 1024x768"),
        ("--size x", "argument --size: give WIDTHxHEIGHT in pixels, each up to 65535, as in 1024x768"),
        ("--size=-1x5", "argument --size: give WIDTHxHEIGHT in pixels, each up to 65535, as in 1024x768"),
        ("--size 1x99999999", "argument --size: give WIDTHxHEIGHT in pixels, each up to 65535, as in 1024x768"),
        ("--size 5x5x5", "argument --size: give WIDTHxHEIGHT in pixels, each up to 65535, as in 1024x768"),
        ("--size 5x5 --margin 1", "argument --margin: give a share below 1, as in 0.05 or 5%"),
        ("--size 5x5 --margin nan", "argument --margin: give a share below 1, as in 0.05 or 5%"),
        ("--size 5x5 --margin=-1%", "argument --margin: give a share below 1, as in 0.05 or 5%"),
        ("--margin 5%", "argument --margin: needs --size"),
        ("--how fit", "argument --how: needs --size"),
        ("--rotate 45", "argument --rotate: invalid choice"),
        ("--size 5x5 --how zoom", "argument --how: invalid choice"),
    ],
)
def test_what_cannot_be_meant(options: str, told: str, source: Path) -> None:
    finished, results = run(source, *options.split())
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1].startswith(f"process.py: error: {told}")
    assert results == {}
