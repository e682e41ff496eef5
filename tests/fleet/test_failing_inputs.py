"""Inputs that fail: tried elsewhere, then listed with all that is known, and no other is harmed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import BIG_DISK, SMALL_DISK, Fab, joblog, log, report, tree
from tests.variants import some


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Ten files, two of them bad."""
    (tmp_path / "src").mkdir()
    for number in range(10):
        name = f"{number}{'-bad' if number in (3, 6) else ''}.bin"
        (tmp_path / "src" / name).write_bytes(b"%d" % number * 100)
    return tmp_path / "src"


@pytest.fixture
def small_disk(fab: Fab) -> Iterator[None]:
    """Make worker-1 one that the program called picky fails on."""
    fab.on("worker-1", SMALL_DISK)
    yield
    fab.on("worker-1", BIG_DISK)


def good(src: Path) -> dict[bytes, bytes]:
    return {key: content for key, content in tree(src).items() if b"bad" not in key}


@pytest.mark.long
@pytest.mark.usefixtures("small_disk")
def test_what_fails_on_one_worker_is_tried_on_another(fab: Fab, program: str, inputs: Path, tmp_path: Path) -> None:
    dst = tmp_path / "dst"
    fab("run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "picky")
    assert tree(dst) == tree(inputs)
    tried = {line["Input"]: (line["Host"], line["Attempts"]) for line in joblog(dst)}
    # Round robin: 3-bad was dealt to worker-2, 6-bad to worker-1, where it failed.
    assert (tried["3-bad.bin"], tried["6-bad.bin"]) == (("worker-2", "1"), ("worker-2", "2"))


def test_what_fails_everywhere_is_listed_and_can_be_tried_again(
    fab: Fab, program: str, inputs: Path, tmp_path: Path
) -> None:
    dst = tmp_path / "dst"
    run = ["run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", "picky"]
    try:
        for host in ("worker-1", "worker-2"):
            fab.on(host, SMALL_DISK)
        said = fab(*run, "--retries=1", code=1).stdout
        assert tree(dst) == good(inputs)
        failed = report(dst)["failed"]
        assert [item["path"] for item in failed] == ["3-bad.bin", "6-bad.bin"]
        assert {item["worker"] for item in failed} == {"worker-1", "worker-2"}
        for item in failed:
            assert (item["reason"], item["tries"], item["words"]) == ("too small", 2, [f"no room for {item['path']}"])
            assert f"    {item['path']} (2 tries, the last on {item['worker']})" in said
        assert {"  2 inputs: too small", "    | no room for 3-bad.bin"} <= set(said.splitlines())
        assert {line["Input"]: (line["Attempts"], line["Exitval"]) for line in joblog(dst)}["3-bad.bin"] == ("2", "1")
        assert "it failed: too small" in fab("verify", "--dst", str(dst), code=1).stdout
        again = fab("retry", "--dst", str(dst), "--retries=0", code=1).stdout
        assert again.startswith("0 of 2 inputs done")
        assert "  2 inputs: too small\n    3-bad.bin (worker-" in again
    finally:
        for host in ("worker-1", "worker-2"):
            fab.on(host, BIG_DISK)
    assert fab("retry", "--dst", str(dst)).stdout.startswith("2 of 2 inputs done")
    assert tree(dst) == tree(inputs)
    assert {line["Input"] for line in joblog(dst)} == {"3-bad.bin", "6-bad.bin"}
    assert "nothing failed" in fab("retry", "--dst", str(dst)).stderr
    assert "10 of 10 inputs" in fab("verify", "--dst", str(dst)).stdout


FAILURES = {
    "hangs": ("--timeout=2", "the program finished nothing within the timeout and was stopped"),
    "eats": ("--memory=32m", "exit 137, it was killed, as the memory limit does"),
    "dies": ("--timeout=600", "exit 3: can't stand"),
}
"""What the program does with a bad file: under which limit, and what the reason is then."""


@pytest.mark.parametrize("how", some(FAILURES, "dies"))
def test_a_program_that_reports_nothing_loses_only_the_bad_files(
    fab: Fab, program: str, inputs: Path, tmp_path: Path, how: str
) -> None:
    dst = tmp_path / "dst"
    limit, reason = FAILURES[how]
    argv = ["run", "--src", str(inputs), "--dst", str(dst), "--image", program, "--args", how, limit, "--retries=1"]
    fab(*argv, code=1)
    assert tree(dst) == good(inputs)
    failed = report(dst)["failed"]
    assert [item["path"] for item in failed] == ["3-bad.bin", "6-bad.bin"]
    assert all(reason in item["reason"] and item["tries"] == 2 for item in failed)
    if how == "hangs":
        assert [item["words"] for item in failed] == [[f"thinking about {item['path']}"] for item in failed]
    assert " is lost" not in log(dst)
