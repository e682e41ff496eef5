"""DST on a file system that takes two names for one, and that can't hold every name."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, report, tree
from tests.fleet.mounts import exfat

pytestmark = pytest.mark.long

TWINS = {"a.jpg": "A.jpg", "sub/X.jpg": "Sub/x.jpg", "ärger.jpg": "Ärger.jpg"}
"""Inputs that are one there: what fails, and what keeps the path."""
ALONE = ["plain.jpg", *(unicodedata.normalize(form, "pêche.jpg") for form in ("NFC", "NFD"))]
"""Names that no other one equals there."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The top of an exFAT."""
    with exfat(tmp_path) as folder:
        (folder / "Name").touch()
        assert (folder / "nAME").exists()
        yield folder


def looks(top: Path) -> dict[bytes, tuple[bytes, int]]:
    """{path: content and time of change} of all results."""
    found = tree(top)
    return {key: (content, (top / os.fsdecode(key)).stat().st_mtime_ns) for key, content in found.items()}


def check_twins_have_failed(fab: Fab, dst: Path) -> None:
    """Check that the report and `fab verify` name each twin, and the input whose result has its path."""
    reasons = {key: f"its result {key} has the same path as that of {first}" for key, first in TWINS.items()}
    failed = {each["path"]: each["reason"] for each in report(dst)["failed"]}
    assert failed.keys() == reasons.keys()
    assert all(reason in failed[key] for key, reason in reasons.items())
    told = fab("verify", f"--dst={dst}", code=1).stdout
    assert "6 of 9 inputs" in told
    assert all(reason in told for reason in reasons.values())


def test_names_that_are_one_there_are_one_result(fab: Fab, program: str, disk: Path, tmp_path: Path) -> None:
    src, dst = tmp_path / "src", disk / "dst"
    for key in (*TWINS, *TWINS.values(), *ALONE):
        (src / key).parent.mkdir(parents=True, exist_ok=True)
        (src / key).write_text(f"this is {key}")
    argv = ["run", f"--src={src}", f"--dst={dst}", f"--image={program}", "--args=copy"]
    results = {os.fsencode(key): os.fsencode(f"this is {key}") for key in (*TWINS.values(), *ALONE)}

    fab(*argv, code=1)
    assert tree(dst) == results
    check_twins_have_failed(fab, dst)
    before = looks(dst)
    fab(*argv, code=1)
    assert (report(dst)["kept"], report(dst)["done"]) == (6, 0)
    fab("retry", f"--dst={dst}", code=1)
    assert looks(dst) == before

    for key in TWINS:
        (src / key).unlink()
    fab(*argv)
    fab("verify", f"--dst={dst}")
    assert looks(dst) == before

    # Where the first one is gone, its twin is the first.
    (src / "A.jpg").rename(src / "a.jpg")
    (src / "a.jpg").write_text("this is a.jpg")
    fab(*argv)
    fab("verify", f"--dst={dst}")
    assert sorted(map(bytes.lower, tree(dst))) == sorted(map(bytes.lower, results))
    assert (dst / "a.jpg").read_text() == "this is a.jpg"


@pytest.mark.parametrize("name", [b"10:30.txt", b"why?.txt", b"no-utf-8-\xff.txt"])
def test_a_name_that_can_not_be_had_there_spoils_no_other(
    fab: Fab, program: str, disk: Path, tmp_path: Path, name: bytes
) -> None:
    src, dst = tmp_path / "src", disk / "dst"
    src.mkdir()
    for key in (name, *(b"%d.txt" % number for number in range(10))):
        (src / os.fsdecode(key)).write_bytes(b"this is " + key)
    fab("run", f"--src={src}", f"--dst={dst}", f"--image={program}", "--args=copy", code=1)
    (failed,) = report(dst)["failed"]
    assert os.fsencode(failed["path"]) == name
    assert "did not arrive (DST can't hold that name: " in failed["reason"]
    assert tree(dst) == {key: content for key, content in tree(src).items() if key != name}
    assert "10 of 11 inputs" in fab("verify", f"--dst={dst}", code=1).stdout
