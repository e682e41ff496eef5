"""process.py, run as a program on real files; its results are compared with what Pillow's own three calls write."""

import ast
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.unit.process_program import PROGRAM, command, files, patch_tag, picture, rotated, run
from tests.unit.samples import unmeasured

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CAMERA = Image.Exif()
CAMERA.update({0x010F: "Maker", 0x0112: 6})

SAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "rgb.jpg": ("RGB", {"exif": CAMERA, "icc_profile": PROFILE, "dpi": (300, 150), "comment": b"note"}),
    "progressive.JPEG": ("RGB", {"progressive": True, "quality": 30, "subsampling": 2}),
    "grey.jpg": ("L", {}),
    "cmyk.jpg": ("CMYK", {}),
    "several.jpg": ("RGB", {"format": "MPO", "save_all": True, "append_images": [picture(seed=2)]}),
    "alpha.png": ("RGBA", {"dpi": (72, 72), "icc_profile": PROFILE}),
    "palette.png": ("P", {"transparency": 3}),
    "bits.png": ("1", {}),
    "deep.png": ("I;16", {}),
    "grey alpha.png": ("LA", {"exif": CAMERA}),
    "colour.tiff": ("RGB", {"dpi": (200, 200), "exif": CAMERA, "icc_profile": PROFILE}),
    "packed.tif": ("L", {"compression": "tiff_lzw"}),
    "deep.tif": ("I;16", {}),
    "still.gif": ("P", {}),
    "moving.gif": ("P", {"save_all": True, "append_images": [picture("P", seed=2)], "transparency": 1}),
    "lossy.webp": ("RGB", {"exif": CAMERA}),
    "exact.webp": ("RGBA", {"lossless": True}),
    "colour.bmp": ("RGB", {}),
    "bits.bmp": ("1", {}),
    "plain.ppm": ("RGB", {}),
    "plain.tga": ("RGB", {}),
    "wave.jp2": ("RGB", {}),
    "wave.j2k": ("RGB", {}),
    "named.sgi": ("RGB", {}),
    "photo of a png.jpg": ("RGBA", {"format": "PNG"}),
    "no extension": ("RGB", {"format": "JPEG"}),
    "unknown.extension": ("RGB", {"format": "WEBP"}),
    ".hidden": ("L", {"format": "PNG"}),
    ".folder/a/b/deep down.png": ("RGB", {}),
}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an image of every kind."""
    folder = tmp_path_factory.mktemp("gallery")
    for name, (mode, options) in SAMPLES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(mode).save(folder / name, **options)
    patch_tag(folder / "colour.tiff", 296, count=2)
    with pytest.warns(UserWarning, match="too many entries"):
        Image.open(folder / "colour.tiff").close()
    return folder


@pytest.fixture(scope="module", params=["1", "2"])
def processed(request: pytest.FixtureRequest, gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("processed") / "made" / "for it"
    finished = run(gallery, output, "--workers", request.param)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    assert files(output) == set(SAMPLES)
    return output


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize("name", SAMPLES)
def test_a_result_is_what_pillow_writes(name: str, gallery: Path, processed: Path, tmp_path: Path) -> None:
    assert (processed / name).read_bytes() == rotated(gallery / name, tmp_path)
    with Image.open(gallery / name) as before, Image.open(processed / name) as after:
        assert after.format == before.format or (before.format, after.format) == ("MPO", "JPEG")


def test_a_format_does_not_depend_on_the_files_before_it(tmp_path: Path) -> None:
    """To Pillow's TGA reader this icon is a TGA, and TGA would be asked first, had the .tga been met first."""
    (tmp_path / "in/later").mkdir(parents=True)
    picture().save(tmp_path / "in/first.tga")
    picture("RGB", 170, 170).save(tmp_path / "in/later/icon.ico", sizes=[(170, 170)])
    assert (tmp_path / "in/later/icon.ico").read_bytes()[16] == 1
    assert run(tmp_path / "in", tmp_path / "out", "--workers", "1").returncode == 0
    with Image.open(tmp_path / "in/later/icon.ico") as icon:
        icon.rotate(90, expand=True).save(tmp_path / "expected.ico", sizes=[(170, 170)])
    assert (tmp_path / "out/later/icon.ico").read_bytes() == (tmp_path / "expected.ico").read_bytes()


HOSTILE = [
    b" ",
    b"~",
    b"...",
    b"-",
    b"-dash.png",
    b"--workers",
    b"two words.png",
    b"quo'te\"s`.png",
    b"[b](r){a}<c>.png",
    b"$(x);&|*?!.png",
    b"back\\slash.png",
    b"new\nline.png",
    b"\ttab\r.png",
    b"\x1b[31mred.png",
    b"\x7f\x01.png",
    "Blüte 花.png".encode(),
    "\u202egnp.png".encode(),
    b"\xff\xfe.png",
    b"half \xe2\x82.png",
    b"x" * 251 + b".png",
    b"\xff" * 255,
    "é".encode() * 127,
]


def check_names(names: list[bytes]) -> None:
    """Images of these names come to the same names, and the report has the names' own bytes."""
    with tempfile.TemporaryDirectory() as folder:
        source, output, report = (os.path.join(os.fsencode(folder), name) for name in (b"in", b"out", b"report"))
        os.mkdir(source)
        for name in names:
            with open(os.path.join(source, name), "xb") as file:
                picture().save(file, format="PNG")
        variables = {**os.environ, "FANRUN_REPORT": os.fsdecode(report)}
        argv = [sys.executable, str(PROGRAM), os.fsdecode(source), os.fsdecode(output), "--workers", "2"]
        finished = subprocess.run(argv, env=variables, capture_output=True, timeout=60, check=False)
        assert (finished.returncode, finished.stderr) == (0, b"")
        assert sorted(os.listdir(output)) == sorted(names)
        with open(report, "rb") as lines:
            told = [json.loads(line) for line in lines.read().decode("ascii").splitlines()]
        assert sorted(os.fsencode(entry["path"]) for entry in told) == sorted(names)
        assert all(entry["ok"] and entry["error"] is None and entry["seconds"] >= 0 for entry in told)


def test_hostile_names() -> None:
    check_names(HOSTILE)


NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b".."))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(st.lists(NAMES, min_size=1, max_size=40, unique=True))
def test_any_name(names: list[bytes]) -> None:
    check_names(names)


def test_links_and_what_is_no_file(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    (source / "empty/folder").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    picture().save(tmp_path / "elsewhere/away.png")
    picture().save(source / "own.png")
    (source / "link.png").symlink_to("own.png")
    (source / "away").symlink_to("../elsewhere/away.png")
    (source / "folder link").symlink_to("../elsewhere")
    (source / "round and round").symlink_to(".")
    (source / "loop").symlink_to("loop")
    (source / "nowhere").symlink_to("missing")
    os.mkfifo(source / "pipe.png")
    finished = run(source, output)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert {path.name for path in output.rglob("*")} == {"own.png", "link.png", "away"}
    assert not any(path.is_symlink() for path in output.iterdir())


def test_the_report_is_appended_to(gallery: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.write_text("what was there\n")
    assert run(gallery, tmp_path / "out", FANRUN_REPORT=report).returncode == 0
    first, *lines = report.read_text("ascii").splitlines()
    assert first == "what was there"
    assert {json.loads(line)["path"] for line in lines} == set(SAMPLES)
    assert all(list(json.loads(line)) == ["path", "ok", "seconds", "error"] for line in lines)


def test_version() -> None:
    finished = run("--version")
    assert finished.returncode == 0
    assert re.fullmatch(r"process\.py \d+\.\d+\.\d+\n", finished.stdout)


def test_it_speaks_python_3_8() -> None:
    ast.parse(PROGRAM.read_text(), feature_version=(3, 8))


def test_one_file_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture().save(tmp_path / "in/a.png")
    argv = [sys.executable, "-X", "importtime", *command(tmp_path / "in", tmp_path / "out")[1:]]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, env=unmeasured()).stderr
    assert "PIL.PngImagePlugin" in told
    assert not re.search(r"\| +(tqdm|multiprocessing|concurrent|PIL\.TiffImagePlugin)\b", told)


def test_the_bar_is_for_terminals(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        picture().save(tmp_path / f"in/{number}.png")
    (tmp_path / "in/broken.png").write_text("?")
    main, terminal = pty.openpty()
    process = subprocess.Popen(command(tmp_path / "in", tmp_path / "out", "--workers", "2"), stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(main, 65536):
            shown += piece
    except OSError:  # Linux says EIO when the last writer has closed the terminal
        pass
    os.close(main)
    assert process.wait(60) == 1
    assert b"100%" in shown
    assert b"4/4" in shown
    assert re.search(rb"[\r\n]process\.py: broken\.png: not an image", b"\n" + shown)
    assert shown.rstrip().splitlines()[-1] == b"process.py: 3 done, 1 failed"
