"""Result files: safe paths, hashes, and how they are moved into DST."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout import commands, transfer_commands
from fanrun.fanout.commands import BatchFolder, LogSource
from fanrun.fanout.plan import Input
from fanrun.fanout.program import Program
from fanrun.fanout.results.container_end import (
    ContainerOutput,
    parse_ending,
    parse_manifest,
)
from fanrun.fanout.results.judge import judge
from fanrun.fanout.results.result_files import hash_file, move_into_place, safe, unfit
from tests.unit.container_ends import DIGEST
from tests.unit.samples import HOSTILE, PROBE, read_tree, write_filter, write_tree


@pytest.mark.parametrize("path", [b"a", b"a/b", b"...", b"a..b", b"..a", b"a/.fanrun/b", b".fanrun2", *HOSTILE])
def test_safe_paths(path: bytes) -> None:
    assert safe(path)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b"/etc/passwd",
        b"..",
        b"../a",
        b"a/../../b",
        b"a/..",
        b".fanrun",
        b".fanrun/runs",
        b"./.fanrun/runs",
        b"././.fanrun",
        b".//.fanrun/a",
    ],
)
def test_unsafe_paths(path: bytes) -> None:
    assert not safe(path)


def landed(tmp_path: Path, path: bytes) -> None:
    """Land staging/PATH in tmp_path/dst."""
    move_into_place(os.fsencode(tmp_path / "staging"), os.fsencode(tmp_path / "dst"), path)


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    (tmp_path / "staging" / "d").mkdir(parents=True)
    (tmp_path / "dst").mkdir()
    for name in ("a", "d/b"):
        (tmp_path / "staging" / name).write_bytes(b"new")
    return tmp_path


def test_a_result_lands_in_its_folder(staged: Path) -> None:
    landed(staged, b"d/b")
    assert read_tree(staged / "dst") == {b"d/b": b"new"}
    assert not (staged / "staging" / "d" / "b").exists()


def test_a_reader_never_sees_half_a_file(staged: Path) -> None:
    """The old file is replaced, not written to: who has it open keeps it."""
    (staged / "dst" / "a").write_bytes(b"old")
    with (staged / "dst" / "a").open("rb") as reader:
        landed(staged, b"a")
        assert reader.read() == b"old"
    assert (staged / "dst" / "a").read_bytes() == b"new"


def test_a_link_in_the_way_is_replaced_not_followed(staged: Path) -> None:
    (staged / "outside").write_bytes(b"precious")
    (staged / "dst" / "a").symlink_to(staged / "outside")
    landed(staged, b"a")
    assert (staged / "outside").read_bytes() == b"precious"
    assert not (staged / "dst" / "a").is_symlink()


def test_what_is_in_the_way_is_told_and_stays(staged: Path) -> None:
    (staged / "dst" / "a").mkdir()
    (staged / "dst" / "d").write_bytes(b"a file where a folder is needed")
    for path in (b"a", b"d/b", b"gone"):
        with pytest.raises(OSError, match=r"directory|exists|No such file"):
            landed(staged, path)
    assert read_tree(staged / "dst") == {b"d": b"a file where a folder is needed"}


@pytest.mark.parametrize("digest", ["0" * 64, "", "not a hash"])
def test_a_damaged_result_is_unfit(staged: Path, digest: str) -> None:
    staging = os.fsencode(staged / "staging")
    assert unfit(staging, b"a", hash_file(staging + b"/a")) is None
    assert unfit(staging, b"a", digest) == "its result is not what the worker computed (damaged on the way)"


@pytest.mark.parametrize("path", [b"../escaped", b"/tmp/escaped", b"d/../../escaped", b".fanrun/report.json", b""])
def test_a_path_that_leads_elsewhere_is_unfit(staged: Path, path: bytes) -> None:
    (staged / "escaped").write_bytes(b"new")
    reason = unfit(os.fsencode(staged / "staging"), path, hashlib.sha256(b"new").hexdigest())
    assert reason == f"its result's path {os.fsdecode(path)!r} is not one that may be written"


def test_a_result_that_did_not_arrive_is_unfit(staged: Path) -> None:
    reason = unfit(os.fsencode(staged / "staging"), b"gone", DIGEST)
    assert reason == "its result gone did not arrive (No such file or directory)"


def test_a_result_of_a_name_that_dst_cannot_hold_is_unfit(staged: Path) -> None:
    reason = unfit(os.fsencode(staged / "staging"), b"long" * 64, DIGEST)
    assert reason is not None
    assert reason.endswith("did not arrive (DST can't hold that name: File name too long)")


@given(st.binary(max_size=3000))
def test_a_files_hash_is_its_sha256(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content * 999)
        file.flush()
        assert hash_file(os.fsencode(file.name)) == hashlib.sha256(content * 999).hexdigest()


def test_from_a_program_to_dst(tmp_path: Path) -> None:
    """BATCH, the pull and the landing together, on names that could mean something else."""
    written = write_tree(tmp_path / "made")
    write_tree(tmp_path, (b"identity/env",))
    place = BatchFolder("r", "b")
    target, staging, dst = tmp_path / "out", tmp_path / "staging", tmp_path / "dst"
    program = ["cp", "-r", f"{tmp_path}/made/.", f"{target}/data/"]
    write_filter(tmp_path)
    argv = commands.batch_argv(place, Program("i"), PROBE, LogSource("f", "h"))
    user, log = f"{os.getuid()}:{os.getgid()}", [f"{tmp_path}/spool", '"run":"r"', "1000", "1000"]
    subprocess.run([*argv[:4], str(target), "name", user, "0", "0", *log, "15", "0", "0", *program], check=True)
    argv = [
        part for part in transfer_commands.pull_argv("ssh", "h", place, str(staging)) if not part.startswith("--rsh=")
    ]
    subprocess.run([*argv[:-2], f"{target}/", argv[-1]], check=True)
    manifest = parse_manifest((staging / "manifest").read_bytes())
    end = parse_ending((staging / "exit").read_bytes(), (staging / "log").read_bytes())
    assert (end.code, end.log) == (0, "")
    assert end.free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    outcome = judge([Input(key, 0) for key in written], ContainerOutput(end, {}, manifest))
    assert set(outcome.results) == set(written)
    data = os.fsencode(staging / "data")
    for path in [path for mine in outcome.results.values() for path in mine]:
        assert unfit(data, path, manifest[path]) is None
        move_into_place(data, os.fsencode(dst), path)
    assert read_tree(dst) == written
