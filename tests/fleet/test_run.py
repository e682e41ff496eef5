"""Real runs on a real fleet."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from provision.registry.build import SOURCES
from tests.fleet.harness import ROOT, Fab, report, tree

HOSTILE = [
    b"plain.jpg",
    b"with space.jpg",
    b'it\'s "quoted".jpg',
    b"[a]{b}*?$x`y`.jpg",
    b"new\nline.jpg",
    b"\xff\xfe.jpg",
    b"-rf.jpg",
    b"#hash.jpg",
    b";semicolon.jpg",
    b"back\\slash.jpg",
    b"--help",
    b"deep/er/and \xe9/file.jpg",
    b"host:path.jpg",
    b"  ",
    b"%n.jpg",
    "Ünïcode.jpg".encode(),
    b"a" * 255,
]


def write(top: Path, files: dict[bytes, bytes]) -> Path:
    for key, content in files.items():
        path = os.path.join(os.fsencode(top), key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(content)
    return top


def rotated(src: Path, tmp_path: Path) -> dict[bytes, bytes]:
    """What Pillow gives here for every image under src."""
    expected = {}
    for key in tree(src):
        target = tmp_path / "expected" / Path(os.fsdecode(key)).name
        target.parent.mkdir(exist_ok=True)
        with Image.open(src / os.fsdecode(key)) as image:
            image.rotate(90, expand=True).save(target)
        expected[key] = target.read_bytes()
    return expected


def test_every_result_is_what_pillow_gives(fab: Fab, src: Path, tmp_path: Path) -> None:
    done = fab.program()("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert "12 of 12 inputs done" in done.stdout
    assert tree(tmp_path / "dst") == rotated(src, tmp_path)
    found = report(tmp_path / "dst")
    assert (found["inputs"], found["done"], found["left"], found["failed"]) == (12, 12, 0, [])
    assert [worker["done"] for worker in found["workers"]] == [6, 6]
    assert found["bytes_in"] == sum(len(content) for content in tree(src).values())
    assert found["bytes_out"] == sum(len(content) for content in tree(tmp_path / "dst").values())
    (home,) = (tmp_path / "dst" / ".fanrun" / "runs").iterdir()
    assert {path.name for path in home.iterdir()} == {"joblog.tsv", "report.json", "run.log"}
    assert home.name not in fab.on("worker-1", "ls /var/lib/fanrun/runs")


def test_any_name_travels_both_ways(fab: Fab, program: str, tmp_path: Path) -> None:
    src = write(tmp_path / "it's src [1]:", {key: b"content of " + key for key in HOSTILE})
    (src / "empty folder").mkdir()
    dst = tmp_path / "d s't"
    fab("run", "--src", str(src), "--dst", str(dst), "--image", program, "--args", "copy")
    assert tree(dst) == tree(src)
    assert not (dst / "empty folder").exists()


def test_inputs_that_fail_are_listed_and_harm_no_other(fab: Fab, src: Path, tmp_path: Path) -> None:
    (src / "notes.txt").write_text("no image")
    (src / "folder 0" / "cut.jpg").write_bytes((src / "folder 0" / "plate (0).jpg").read_bytes()[:300])
    done = fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"), code=1)
    found = report(tmp_path / "dst")
    assert sorted(item["path"] for item in found["failed"]) == ["folder 0/cut.jpg", "notes.txt"]
    assert all(item["reason"] and item["reason"] in done.stdout for item in found["failed"])
    assert (found["done"], found["left"]) == (12, 0)
    assert set(tree(tmp_path / "dst")) == set(tree(src)) - {b"notes.txt", b"folder 0/cut.jpg"}


@pytest.mark.long
def test_a_program_that_dies_silently_loses_only_its_bad_files(fab: Fab, program: str, tmp_path: Path) -> None:
    files = {f"{n:03}{'bad' if n in (7, 8, 31) else ''}.bin".encode(): b"%d" % n for n in range(40)}
    src = write(tmp_path / "src", files)
    done = fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", program, "--args", "dies", code=1)
    failed = {item["path"]: item["reason"] for item in report(tmp_path / "dst")["failed"]}
    assert set(failed) == {"007bad.bin", "008bad.bin", "031bad.bin"}
    assert failed["007bad.bin"] == "the program ended with exit 3: can't stand ./007bad.bin"
    assert "007bad.bin" in done.stdout
    assert tree(tmp_path / "dst") == {key: content for key, content in files.items() if b"bad" not in key}


@pytest.mark.parametrize(
    ("how", "reason"),
    [("forgets", "the program ended well but left no result for it"), ("report", "not today")],
)
def test_no_result_is_a_failure(fab: Fab, program: str, tmp_path: Path, how: str, reason: str) -> None:
    src = write(tmp_path / "src", {b"a": b"1", b"b": b"2"})
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", program, "--args", how, code=1)
    assert [item["reason"] for item in report(tmp_path / "dst")["failed"]] == [reason, reason]
    assert tree(tmp_path / "dst") == {}


def test_results_may_have_other_names_and_be_many(fab: Fab, program: str, tmp_path: Path) -> None:
    src = write(tmp_path / "src", {b"a.jpg": b"1", b"a2.jpg": b"2"})
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", program, "--args", "rename")
    assert set(tree(tmp_path / "dst")) == {b"a.png", b"a_small.png", b"a2.png", b"a2_small.png"}


def test_the_container_may_do_next_to_nothing(fab: Fab, program: str, tmp_path: Path) -> None:
    src = write(tmp_path / "src", {b"a": b""})
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--image", program, "--args", "looks")
    said = (tmp_path / "dst" / "a").read_text()
    assert said.splitlines()[0] != "0"
    assert said.count("Read-only file system") == 2
    assert "eth" not in said
    assert "CapEff:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said


def test_a_changed_program_is_deployed_first(fab: Fab, src: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    for name in (*SOURCES, "fabfile.py"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    for name in ("fanrun", "provision", "service"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = (copy / "imaging" / "rotate.py").read_text()
    assert ".rotate(90, expand=True)" in program
    (copy / "imaging" / "rotate.py").write_text(
        program.replace(".rotate(90, expand=True)", ".rotate(180, expand=True)")
    )
    before = fab.status()["worker-1"]["images"]
    other = Fab(fab.home, fab.fleet, copy)
    said = other("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert "changed" in said.stderr
    with Image.open(tmp_path / "dst" / "folder 0" / "plate (0).jpg") as image:
        assert image.size == (60, 40)
    assert "changed" not in other("run", "--src", str(src), "--dst", str(tmp_path / "dst")).stderr
    fab("deploy")
    assert set(before) <= set(fab.status()["worker-1"]["images"])


def test_include_and_exclude_choose(fab: Fab, program: str, src: Path, tmp_path: Path) -> None:
    fab(
        "run",
        "--src",
        str(src),
        "--dst",
        str(tmp_path / "dst"),
        "--image",
        program,
        "--args",
        "copy",
        "--include",
        "folder 0/*",
        "--include",
        "plate (1).jpg",
        "--exclude",
        "*(1[0-9]).jpg",
    )
    names = {f"folder 0/plate ({n}).jpg" for n in (0, 2, 4, 6, 8)} | {"folder 1/plate (1).jpg"}
    assert {os.fsdecode(key) for key in tree(tmp_path / "dst")} == names


@pytest.mark.long
def test_two_runs_share_a_fleet(fab: Fab, program: str, src: Path, tmp_path: Path) -> None:
    runs = [
        fab.start("run", "--src", str(src), "--dst", str(tmp_path / name), "--image", program, "--args", "slow 1")
        for name in ("one", "two")
    ]
    for run in runs:
        out, err = run.communicate(timeout=120)
        assert run.returncode == 0, out + err
    assert tree(tmp_path / "one") == tree(tmp_path / "two") == tree(src)
