"""What process.py does with broken files, wrong arguments, and folders that it cannot use."""

import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.process_program import AS_ANYBODY, Finished, files, patch_tag, picture, rotated, run


def broken_png(width: int, height: int) -> bytes:
    """Make a PNG that promises so many pixels and has hardly any."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"\0"), b"IEND"]
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


BROKEN = {
    "zero byte.jpg": (b"", "not an image (PIL: cannot identify image file)"),
    "text.png": (b"Once upon a time\n" * 9, "not an image (PIL: cannot identify image file)"),
    "bomb.png": (broken_png(20000, 20000), "DecompressionBombError: Image size (400000000 pixels) exceeds limit"),
    "cropped.png": (broken_png(5, 5), "image file is truncated"),
    "read only.xpm": (b'/* XPM */\n"1 1 1 1",\n"a c #ff0000",\n"a"\n', "Pillow reads XPM but cannot write it"),
}


@pytest.fixture(params=["1", "2"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, str], Finished]:
    """A run over good and broken files, with old results of the broken ones in its way."""
    source, output = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    (output / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/z.jpg"):
        picture(width=60, height=40).save(source / name)
    cut = {"cut.jpg": "image file is truncated", "cut.png": "image file is truncated", "cut.gif": "", "cut.tif": ""}
    for name in cut:
        picture(width=60, height=40).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (source / name).write_bytes(content[: len(content) // 2])
    for name, (content, _) in BROKEN.items():
        (source / name).write_bytes(content)
    picture().save(source / "samples.tif")
    patch_tag(source / "samples.tif", 277, value=9)  # of which Pillow makes a line in its log
    (source / "sub/new\nline\x1b\udcff").write_bytes(b"?")
    picture().save(source / "blocked.png")
    (output / "blocked.png").mkdir()
    reasons = {name: text for name, (_, text) in BROKEN.items()} | cut
    reasons |= {
        "sub/new\\nline\\x1b\\udcff": "not an image",
        "blocked.png": "Is a directory (in OUTPUT)",
        "samples.tif": "",
    }
    for name in [*BROKEN, *cut]:
        (output / name).write_bytes(b"stale")
    finished = run(source, output, "--workers", request.param, FANRUN_REPORT=tmp_path / "report")
    return tmp_path, reasons, finished


def test_broken_files_are_told_and_keep_nothing_back(broken: tuple[Path, dict[str, str], Finished]) -> None:
    folder, reasons, finished = broken
    assert (finished.returncode, finished.stdout) == (1, "")
    *lines, summary = finished.stderr.splitlines()
    assert summary == f"process.py: 2 done, {len(reasons)} failed"
    told = dict(line.removeprefix("process.py: ").split(": ", 1) for line in lines)
    assert told.keys() == reasons.keys()
    assert len(lines) == len(reasons)
    assert [name for name in reasons if not told[name].startswith(reasons[name])] == [], told
    assert str(folder) not in finished.stderr
    assert files(folder / "out") == {"a.png", "sub/z.jpg"}
    for name in ("a.png", "sub/z.jpg"):
        assert (folder / "out" / name).read_bytes() == rotated(folder / "in" / name, folder / "expected")
    entries = [json.loads(line) for line in (folder / "report").read_text("ascii").splitlines()]
    assert {entry["path"] for entry in entries if entry["ok"]} == {"a.png", "sub/z.jpg"}
    assert {entry["error"] for entry in entries if not entry["ok"]} == set(told.values())


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    (tmp_path / "in/closed").mkdir(parents=True)
    picture().save(tmp_path / "in/open.png")
    picture().save(tmp_path / "in/closed/lost.png")
    picture().save(tmp_path / "in/secret.png")
    (tmp_path / "in/secret.png").chmod(0)
    (tmp_path / "in/closed").chmod(0)
    finished = run(tmp_path / "in", tmp_path / "out", prefix=AS_ANYBODY)
    (tmp_path / "in/closed").chmod(0o700)
    assert finished.returncode == 1
    assert sorted(finished.stderr.splitlines()) == [
        "process.py: 1 done, 2 failed",
        "process.py: closed: Permission denied",
        "process.py: secret.png: Permission denied",
    ]
    assert files(tmp_path / "out") == {"open.png"}


def test_an_image_that_no_other_try_can_read_is_reported_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("no image")
    (tmp_path / "in" / "b.png").symlink_to("c.png")
    Image.new("L", (2, 2)).save(tmp_path / "in" / "c.png")
    (tmp_path / "out" / "c.png").mkdir(parents=True)
    for args in ((), ("--grayscale",)):
        report = tmp_path / f"report{len(args)}"
        assert run(tmp_path / "in", tmp_path / "out", *args, FANRUN_REPORT=report).returncode == 1
        told = {entry["path"]: entry for entry in map(json.loads, report.read_text("ascii").splitlines())}
        assert told["a.txt"]["permanent"] is True
        assert told["b.png"]["ok"]
        assert not told["c.png"]["ok"], "something is in the way of its result"
        assert "permanent" not in told["c.png"]


USAGE: dict[str, list[str]] = {
    "no argument": [],
    "no OUTPUT": ["in"],
    "too many": ["in", "out", "more"],
    "unknown option": ["in", "out", "--fast"],
    "workers: none": ["in", "out", "--workers", "0"],
    "workers: negative": ["in", "out", "--workers", "-1"],
    "workers: no number": ["in", "out", "--workers", "abc"],
}
FOLDERS: dict[str, tuple[str, str, str]] = {
    "INPUT is missing": ("missing", "out", ""),
    "INPUT is a file": ("in/a.png", "out", ""),
    "INPUT is closed": ("closed", "out", ""),
    "OUTPUT is INPUT": ("in", "in", ""),
    "OUTPUT is INPUT by another way": ("in", "in/../link to in/", ""),
    "OUTPUT is inside INPUT": ("in", "in/new/out", ""),
    "OUTPUT is inside by a link": ("in", "link to in/out", ""),
    "INPUT is a link around OUTPUT": ("link to in", "in/out", ""),
    "OUTPUT is a file": ("in", "file", ""),
    "OUTPUT is under a file": ("in", "file/out", ""),
    "OUTPUT is closed": ("in", "closed", ""),
    "OUTPUT cannot be made": ("in", "closed/out", ""),
    "the report is a folder": ("in", "out", "in"),
    "the report has no folder": ("in", "out", "missing/report"),
    "the report is closed": ("in", "out", "closed/report"),
}


@pytest.fixture
def premises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    picture().save("in/a.png")
    Path("link to in").symlink_to("in")
    Path("file").write_text("a file")
    Path("closed").mkdir(mode=0)
    yield tmp_path
    Path("closed").chmod(0o700)


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_usage_errors(arguments: list[str], premises: Path) -> None:
    finished = run(*arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.splitlines()[-1].startswith("process.py: error: ")
    assert not (premises / "out").exists()


@pytest.mark.parametrize(("source", "output", "report"), FOLDERS.values(), ids=FOLDERS)
def test_folders_that_will_not_do(source: str, output: str, report: str, premises: Path) -> None:
    finished = run(source, output, prefix=AS_ANYBODY, FANRUN_REPORT=report)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert re.fullmatch(r"process\.py: error: .+: .+\n", finished.stderr)
    assert files(premises / "in") == {"a.png"}
    assert files(premises) <= {"in/a.png", "file", "link to in"}


def test_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "in/empty").mkdir(parents=True)
    finished = run(tmp_path / "in", tmp_path / "out")
    assert (finished.returncode, finished.stdout) == (0, "")
    assert finished.stderr == f"process.py: nothing to do: no file under {tmp_path / 'in'}\n"
    assert not files(tmp_path / "out")
