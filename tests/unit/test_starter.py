"""fanrun.starter: a program to begin with that works with any name, and that replaces no file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fanrun import starter
from fanrun.fleet.errors import UsageError
from provision.registry.build import BASE
from tests.fleet.harness import tree
from tests.unit.fab_world import FAB, ROOT
from tests.unit.samples import HOSTILE, write_tree

LONG = b"d/" + b"n" * 255


def fab_init(*argv: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `fab init` as a person would."""
    command = [FAB, "--search-root", str(ROOT), "init", *argv]
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)


def test_the_program_works_with_any_name_and_in_sub_folders(tmp_path: Path) -> None:
    starter.make(tmp_path / "mine")
    written = write_tree(tmp_path / "in", (*HOSTILE, LONG, b".hidden/.x", b"a.tmp"))
    (tmp_path / "out").mkdir()
    argv = [sys.executable, str(tmp_path / "mine/program.py"), str(tmp_path / "in"), str(tmp_path / "out")]
    subprocess.run(argv, check=True)
    assert tree(tmp_path / "out") == {key: content.upper() for key, content in written.items()}


def test_the_program_has_ten_lines() -> None:
    text = (ROOT / "fanrun/starter_files/program.py.template").read_text()
    assert len([line for line in text.splitlines() if line]) <= 10


def test_the_image_is_of_the_family_of_fanruns_own(tmp_path: Path) -> None:
    starter.make(tmp_path)
    assert (tmp_path / "Dockerfile").read_text().splitlines()[0] == f"FROM {BASE}"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-program", "my-program"),
        ("My_Program 2.0", "my-program-2-0"),
        ("--a--b--", "a-b"),
        ("...", "my-program"),
        ("ü", "my-program"),
    ],
)
def test_the_image_is_named_after_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert starter.make(tmp_path / folder) == name
    text = (tmp_path / folder / "README.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert f"docker build --tag {name} .\n" in text
    assert f"fab run --image {name} --src" in text


@pytest.mark.parametrize("name", starter.NAMES)
def test_no_file_is_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name}' exists already, and nothing was written"):
        starter.make(tmp_path)
    assert tree(tmp_path) == {name.encode(): b"mine"}


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="Dockerfile' exists already"):
        starter.make(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    starter.make(tmp_path)
    assert (tmp_path / "notes").read_text() == "mine"


def test_it_says_how_to_build_and_run_the_program(tmp_path: Path) -> None:
    done = fab_init("--dir=my work", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "my work").iterdir()} == set(starter.NAMES)
    assert "`docker build --tag my-work 'my work'`" in done.stderr
    assert "`fab run --image my-work --src SRC --dst DST`" in done.stderr
    again = fab_init("--dir=my work", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")
    assert again.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "error: fab init needs --dir, the folder for the program, as `fab init --dir my-program`"),
        (("--dir=",), "error: fab init needs --dir"),
        (("--dir=fabfile.py/x",), "fabfile.py/x' can't be written (Not a directory); name another folder"),
        (("--dir=fabfile.py",), "fabfile.py' can't be written"),
        (("--dir", "n" * 300), "can't be written (File name too long)"),
    ],
)
def test_what_can_not_be_meant_is_one_line(argv: tuple[str, ...], words: str) -> None:
    done = fab_init(*argv)
    assert words in done.stderr
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
