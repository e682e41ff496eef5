"""What is checked before any host is asked: paths, tools, inputs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from fanrun.fanout.plan import Skipped
from fanrun.fanout.preflight import check, check_paths, check_tools, check_writable, dry_run, find_inputs
from fanrun.fanout.request import RunRequest
from fanrun.fleet.errors import ToolMissing, UsageError
from tests.unit.run_world import IMAGE, record
from tests.unit.samples import FLEET, read_tree, write_tree


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder with inputs in `src`, a file, and links."""
    write_tree(tmp_path, (b"src/a", b"file"))
    (tmp_path / "link").symlink_to("src")
    (tmp_path / "src" / "out").symlink_to("..")
    return tmp_path


@pytest.mark.parametrize(
    ("src", "dst", "words"),
    [
        ("nowhere", "dst", "--src .*nowhere' does not exist"),
        ("file", "dst", "--src .*file' is a file"),
        ("src", "file", "--dst .*file' is a file"),
        ("src", "src", "is inside --src"),
        ("src", "src/new/er", "is inside --src"),
        ("src", "link", "is inside --src"),
        ("link", "src/new", "is inside --src"),
        ("src", "link/new", "is inside --src"),
    ],
)
def test_paths_that_can_not_be_meant(top: Path, src: str, dst: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_paths(str(top / src), str(top / dst))


@pytest.mark.parametrize(("src", "dst"), [("src", "dst"), ("src", "src2"), ("link", "dst"), ("src", "src/out/dst")])
def test_paths_that_can_be_meant(top: Path, src: str, dst: str) -> None:
    check_paths(str(top / src), str(top / dst))
    assert not (top / dst).exists()


def test_dst_is_made_or_it_is_said_why_not(top: Path) -> None:
    check_writable(str(top / "new" / "er"))
    assert [path.name for path in (top / "new" / "er").iterdir()] == [".fanrun"]
    check_writable(str(top / "new" / "er"))
    with pytest.raises(UsageError, match=r"can't be written \(Not a directory\)"):
        check_writable(str(top / "file" / "dst"))


def test_a_source_without_inputs(top: Path) -> None:
    (top / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(UsageError, match="there are no files in it"):
        find_inputs(RunRequest(str(top / "empty"), "/dst"))
    with pytest.raises(UsageError, match="no file matches"):
        find_inputs(RunRequest(str(top / "src"), "/dst", exclude=("*",)))
    assert [item.key for item in find_inputs(RunRequest(str(top / "src"), "/dst"))[0]] == [b"a"]


@pytest.mark.parametrize("tool", ["ssh", "rsync"])
def test_a_tool_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    check_tools("ssh", "rsync")
    write_tree(tmp_path, (b"ssh", b"rsync"))
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    (tmp_path / tool).unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=f"{tool} is not installed here; script/setup installs it") as caught:
        check_tools("ssh", "rsync")
    assert caught.value.tool == tool


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("rsync  version 3.2.7  protocol version 31\nCopyright", ""),
        ("rsync  version v3.4.1  protocol version 32", ""),
        ("rsync  version 10.0.0  protocol version 40", ""),
        ("openrsync: protocol version 29\nrsync version 2.6.9 compatible", "openrsync"),
        ("rsync  version 2.6.9  protocol version 29", "rsync  version 2.6.9  protocol version 29"),
        ("usage: rsync", r"no rsync that tells its version \(usage: rsync\)"),
        ("", r"no rsync that tells its version \(it prints nothing\)"),
    ],
)
def test_an_rsync_that_is_none_of_version_3_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, why: str
) -> None:
    (tmp_path / "rsync").write_text(f"#!/bin/sh\necho '{said}'\n")
    (tmp_path / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if not why:
        check_tools("rsync")
        return
    check_tools("ssh")
    with pytest.raises(ToolMissing, match=f"^{tmp_path}/rsync is {why}, and version 3 is needed; install it"):
        check_tools("rsync")


def test_only_some_inputs_are_found_and_it_may_be_none(top: Path) -> None:
    write_tree(top, (b"src/b", b"src/c"))
    wanted = RunRequest(str(top / "src"), "/dst", exclude=("c",), only=frozenset([b"b", b"c", b"gone"]))
    assert [item.key for item in find_inputs(wanted)[0]] == [b"b"]
    with pytest.raises(UsageError, match="none of the inputs that failed is in"):
        find_inputs(dataclasses.replace(wanted, only=frozenset([b"gone"])))


def test_a_check_makes_dst_and_tells_the_inputs(top: Path) -> None:
    (top / "src" / "loop").symlink_to(".")
    (top / "src" / "a~").touch()
    inputs, skipped = check(RunRequest(str(top / "src"), str(top / "dst")))
    assert ([item.key for item in inputs], skipped) == ([b"a"], Skipped(links=2, junk=1))
    with pytest.raises(UsageError, match="no file matches but for 1 that --junk takes"):
        find_inputs(RunRequest(str(top / "src"), "/dst", include=("*~",)))
    assert (top / "dst" / ".fanrun").is_dir()


def test_dst_may_hold_src_unless_results_would_replace_inputs(top: Path) -> None:
    """A result of the input KEY goes to DST/KEY; that must not be an input's own path."""
    write_tree(top, (b"inner/src/a",))
    check_paths(str(top / "inner" / "src"), str(top / "inner"))
    write_tree(top, (b"inner/src/src/a",))
    with pytest.raises(UsageError, match="holds --src, and results would replace inputs in src"):
        check_paths(str(top / "inner" / "src"), str(top / "inner"))


def test_a_dry_run_tells_what_is_done_and_deals_the_rest(top: Path) -> None:
    write_tree(top / "src", (b"a", b"b", b"c", b"d"))
    record(top / "dst", ("--op",), b"a", b"b").close()
    request = RunRequest(str(top / "src"), str(top / "dst"), ("--op",))
    before = read_tree(top)
    todo = dry_run(request, FLEET, IMAGE)
    assert (todo.inputs, todo.kept) == (4, 2)
    shares = {name: [item.key for item in share] for name, share in todo.shares.items()}
    assert shares == {"worker-1": [b"c"], "worker-2": [b"d"]}
    other = dataclasses.replace(IMAGE, id="sha256:22")
    assert dry_run(dataclasses.replace(request, force=True), FLEET, IMAGE).kept == 0
    assert dry_run(dataclasses.replace(request, args=()), FLEET, IMAGE).kept == 0
    assert dry_run(request, FLEET, other).kept == 0
    assert dry_run(request, FLEET, None).kept == 0
    assert read_tree(top) == before
