"""What a run looks at before it asks any host."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fanout import run as runs
from fanout.plan import Input
from fanout.run import Request, Run, check_paths, check_tools, check_writable, find_inputs, make_plan
from provision.errors import ToolMissing, UsageError
from provision.fleet import Folder
from provision.progress import Board
from tests.unit.samples import FLEET, PROBE, write_tree


@pytest.fixture
def top(tmp_path: Path) -> Path:
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
        find_inputs(Request(str(top / "empty"), "/dst"))
    with pytest.raises(UsageError, match="no file matches"):
        find_inputs(Request(str(top / "src"), "/dst", exclude=("*",)))
    assert [item.key for item in find_inputs(Request(str(top / "src"), "/dst"))[0]] == [b"a"]


@pytest.mark.parametrize("tool", ["ssh", "rsync"])
def test_a_tool_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    check_tools()
    write_tree(tmp_path, (b"ssh", b"rsync"))
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    (tmp_path / tool).unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=f"{tool} is not installed here; script/setup installs it") as caught:
        check_tools()
    assert caught.value.tool == tool


def test_a_plan_is_every_workers_batches() -> None:
    inputs = [Input(b"%d" % n, n) for n in range(5)]
    todo = make_plan(inputs, 1, ["worker-1", "worker-2"])
    assert (todo.size, todo.links) == (10, 1)
    assert {name: [batch.size for batch in cut] for name, cut in todo.batches.items()} == {
        "worker-1": [0 + 2 + 4], "worker-2": [1 + 3],
    }  # fmt: skip


def test_workers_without_room_take_no_part(tmp_path: Path, folder: Folder) -> None:
    current = Run(Request("/src", str(tmp_path)), FLEET, folder, "image", Board())
    todo = make_plan([Input(b"a", 1000)], 0, ["worker-1", "worker-2"])
    needed = 4 * 1000 + runs.SPARE
    roomy, full = (dataclasses.replace(PROBE, disk_free=free) for free in (needed, needed - 1))
    assert current.check_space({"worker-1": full, "worker-2": roomy}, todo) == {"worker-2": roomy}
    with pytest.raises(UsageError, match="no worker has 67 MB free for its batches"):
        current.check_space({"worker-1": full, "worker-2": full}, todo)
