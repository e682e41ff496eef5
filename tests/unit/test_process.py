"""process.py, run as a program on real files; its results are compared with what Pillow's own three calls write."""

import ast
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.waiting import wait_until

PROGRAM = Path(__file__).resolve().parents[2] / "process.py"
Finished = subprocess.CompletedProcess[str]

# Root may read and write everywhere; without these capabilities it is held to a file's mode like everybody.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def command(*arguments: str | Path, prefix: list[str] | None = None) -> list[str | Path]:
    return [*(prefix or []), sys.executable, PROGRAM, *arguments]


def run(*arguments: str | Path, prefix: list[str] | None = None, **variables: str | Path) -> Finished:
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    argv = command(*arguments, prefix=prefix)
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def rotated(source: Path, folder: Path) -> bytes:
    """Make Pillow's own three calls, under the same file name in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        image.rotate(90, expand=True).save(folder / source.name, format=image.format)
    return (folder / source.name).read_bytes()


def picture(mode: str = "RGB", width: int = 13, height: int = 7, seed: int = 1) -> Image.Image:
    noise = Image.frombytes("RGB", (width, height), Random(seed).randbytes(3 * width * height))
    if mode == "I;16":
        return Image.frombytes(mode, (width, height), Random(seed).randbytes(2 * width * height))
    return noise.convert(mode)


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


def patch_tag(tiff: Path, tag: int, count: int = 1, value: int = 2) -> None:
    """Give the one short number of a TIFF's tag another count or value."""
    pattern = re.compile(re.escape(struct.pack("<HHI", tag, 3, 1)) + b"....", re.DOTALL)
    content, found = pattern.subn(struct.pack("<HHIHH", tag, 3, count, value, value), tiff.read_bytes())
    assert found == 1
    tiff.write_bytes(content)


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
    b" ", b"~", b"...", b"-", b"-dash.png", b"--workers", b"two words.png", b"quo'te\"s`.png", b"[b](r){a}<c>.png",
    b"$(x);&|*?!.png", b"back\\slash.png", b"new\nline.png", b"\ttab\r.png", b"\x1b[31mred.png", b"\x7f\x01.png",
    "Blüte 花.png".encode(), "\u202egnp.png".encode(), b"\xff\xfe.png", b"half \xe2\x82.png",
    b"x" * 251 + b".png", b"\xff" * 255, "é".encode() * 127,
]  # fmt: skip


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


def test_the_report_is_appended_to(gallery: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.write_text("what was there\n")
    assert run(gallery, tmp_path / "out", FANRUN_REPORT=report).returncode == 0
    first, *lines = report.read_text("ascii").splitlines()
    assert first == "what was there"
    assert {json.loads(line)["path"] for line in lines} == set(SAMPLES)
    assert all(list(json.loads(line)) == ["path", "ok", "seconds", "error"] for line in lines)


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
    told = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stderr
    assert "PIL.PngImagePlugin" in told
    assert not re.search(r"\| +(tqdm|multiprocessing|concurrent|PIL\.TiffImagePlugin)\b", told)


@dataclass(frozen=True)
class Running:
    """The program at work on a folder of `total` names of one slow image."""

    process: subprocess.Popen[str]
    output: Path
    total: int
    expected: bytes

    def done(self) -> int:
        return sum(1 for _ in self.output.glob("[!.]*"))

    def children(self) -> list[int]:
        folder = Path(f"/proc/{self.process.pid}/task")
        try:
            return [int(pid) for task in folder.iterdir() for pid in (task / "children").read_text().split()]
        except OSError:
            return []

    def wait(self) -> str:
        """Wait for its end; everything it leaves is complete."""
        _, errors = self.process.communicate(timeout=60)
        assert "Traceback" not in errors
        assert all(path.read_bytes() == self.expected for path in self.output.iterdir())
        return errors


def state(pid: int) -> str:
    """Tell a process's state as ps does; Z is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def alive(pid: int) -> bool:
    return state(pid) != "Z"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[subprocess.Popen[str]] = []

    def launch(total: int, *options: str, prefix: list[str] | None = None, **variables: str | Path) -> Running:
        source = tmp_path / "in"
        source.mkdir()
        picture(width=400, height=300).save(source / "0.png")
        for number in range(1, total):
            (source / f"{number}.png").hardlink_to(source / "0.png")
        argv = command(source, tmp_path / "out", *options, prefix=prefix)
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return Running(process, tmp_path / "out", total, rotated(source / "0.png", tmp_path / "expected"))

    yield launch
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", STOPS)
def test_a_signal_ends_it(launch: Callable[..., Running], number: signal.Signals, workers: str) -> None:
    running = launch(2000, "--workers", workers)
    wait_until(lambda: running.done() > 1)
    children = running.children()
    assert len(children) == (0 if workers == "1" else 2)
    running.process.send_signal(number)
    assert running.wait() == ""
    assert running.process.returncode == 128 + number
    assert 1 < running.done() < running.total
    assert not any(alive(pid) for pid in children)


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_to_the_whole_group_ends_it(launch: Callable[..., Running], number: signal.Signals) -> None:
    running = launch(2000, "--workers", "3")
    wait_until(lambda: running.done() > 1)
    os.killpg(running.process.pid, number)
    assert running.wait() == ""
    assert running.process.returncode == 128 + number


def test_a_signal_does_not_wait_for_the_children(launch: Callable[..., Running]) -> None:
    running = launch(2000, "--workers", "2")
    wait_until(lambda: running.done() > 1)
    children = running.children()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    naps: list[str] = []

    def sleeps() -> bool:
        """Tell whether the program has nothing to do but to wait for its children."""
        naps.append(state(running.process.pid))
        return len(naps) > 25 and set(naps[-25:]) == {"S"}

    wait_until(sleeps)
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == ""
    assert running.process.returncode == 128 + signal.SIGTERM
    assert len(children) == 2
    assert not any(alive(pid) for pid in children)


def test_many_signals_at_once_end_it(launch: Callable[..., Running]) -> None:
    running = launch(2000)
    wait_until(lambda: running.done() > 1)
    for number in STOPS * 3:
        running.process.send_signal(number)
    assert running.wait() == ""
    assert running.process.returncode in {128 + number for number in STOPS}


def test_a_killed_child_costs_only_its_file(launch: Callable[..., Running], tmp_path: Path) -> None:
    running = launch(30, "--workers", "2", FANRUN_REPORT=tmp_path / "report")
    wait_until(running.children)
    victim = running.children()[0]
    # Stopped, it keeps whatever it is at or will be given next: once others go on, it does have a file in its hands.
    os.kill(victim, signal.SIGSTOP)
    before = running.done()
    wait_until(lambda: running.done() >= before + 3)
    for name in {f"{number}.png" for number in range(30)} - files(running.output):
        with suppress(FileExistsError), (running.output / name).open("xb") as file:
            file.write(b"stale")
    os.kill(victim, signal.SIGKILL)
    lines = running.wait().splitlines()
    assert running.process.returncode == 1
    assert len(lines) == 2
    found = re.fullmatch(r"process\.py: (\d+\.png): the process that worked on it died \(signal 9\)", lines[0])
    assert found
    assert lines[1] == "process.py: 29 done, 1 failed"
    assert files(running.output) == {f"{number}.png" for number in range(30)} - {found[1]}
    entries = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert len(entries) == 30
    assert [entry["path"] for entry in entries if not entry["ok"]] == [found[1]]


def test_children_do_not_outlive_it(launch: Callable[..., Running]) -> None:
    running = launch(2000, "--workers", "3")
    wait_until(lambda: len(running.children()) == 3 and running.done() > 2)
    children = running.children()
    running.process.kill()
    wait_until(lambda: not any(alive(pid) for pid in children))


def test_every_core_it_may_use_is_used(launch: Callable[..., Running]) -> None:
    running = launch(2000)
    wait_until(lambda: running.done() > 2)
    cores = len(os.sched_getaffinity(0))
    assert len(running.children()) == (cores if cores > 1 else 0)


def test_only_cores_it_may_use_are_used(launch: Callable[..., Running]) -> None:
    core = min(os.sched_getaffinity(0))
    running = launch(2000, prefix=["taskset", "--cpu-list", str(core)])
    wait_until(lambda: running.done() > 2)
    assert not running.children()


@pytest.mark.parametrize("limit", range(6, 12))
def test_where_no_more_processes_may_start_no_file_is_lost(limit: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(12):
        picture().save(tmp_path / f"in/{number}.png")
    finished = run(tmp_path / "in", tmp_path / "out", "--workers", "9", prefix=["prlimit", f"--nofile={limit}"])
    failures = [line for line in finished.stderr.splitlines() if line.endswith(": Too many open files")]
    assert finished.returncode == (1 if failures else 0)
    assert len(files(tmp_path / "out")) + len(failures) == 12


def peak(folder: Path, count: int) -> int:
    """Tell the peak memory of a run over so many files, in KiB."""
    source = folder / str(count)
    source.mkdir()
    picture(width=1, height=1).save(source / "first.bmp")
    for number in range(1, count):
        (source / f"{number:0100}.bmp").hardlink_to(source / "first.bmp")
    process = subprocess.Popen(command(source, folder / "out"))
    peaks = [0]

    def ended() -> bool:
        # Not ru_maxrss: it begins with what pytest itself had at the fork.
        peaks.extend(map(int, re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())))
        return process.poll() is not None

    wait_until(ended, 60)
    assert process.returncode == 0
    return max(peaks)


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    assert peak(tmp_path, 4_000) - peak(tmp_path, 100) < 1_500


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
