"""What a run looks at before it asks any host."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path

import pytest

from fanrun.fanout.commands import MIB, USUAL, Program, Scratch
from fanrun.fanout.context import RunContext
from fanrun.fanout.plan import Skipped
from fanrun.fanout.preflight import check, check_paths, check_tools, check_writable, dry_run, find_inputs
from fanrun.fanout.request import Limits, Request, again_text, retry_request
from fanrun.fanout.results import ledger as ledgers
from fanrun.fanout.results.file_stat import file_stat
from fanrun.fanout.results.ledger import Fact, Ledger
from fanrun.fanout.run import Run
from fanrun.fanout.verify import ledger_path
from fanrun.fanout.workers.fitness import SPARE_BYTES, unfit
from fanrun.fleet.errors import ToolMissing, UsageError
from fanrun.fleet.model import Image
from fanrun.fleet.progress import Board
from fanrun.fleet.store import Folder
from tests.unit.samples import FLEET, PROBE, read_tree, write_tree

PROGRAM = Program("image")
IMAGE = Image("process.py", "sha256:11", "hub:5000/i@sha256:00")


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
    wanted = Request(str(top / "src"), "/dst", exclude=("c",), only=frozenset([b"b", b"c", b"gone"]))
    assert [item.key for item in find_inputs(wanted)[0]] == [b"b"]
    with pytest.raises(UsageError, match="none of the inputs that failed is in"):
        find_inputs(dataclasses.replace(wanted, only=frozenset([b"gone"])))


def test_a_check_makes_dst_and_tells_the_inputs(top: Path) -> None:
    (top / "src" / "loop").symlink_to(".")
    (top / "src" / "a~").touch()
    inputs, skipped = check(Request(str(top / "src"), str(top / "dst")))
    assert ([item.key for item in inputs], skipped) == ([b"a"], Skipped(links=2, junk=1))
    with pytest.raises(UsageError, match="no file matches but for 1 that --junk takes"):
        find_inputs(Request(str(top / "src"), "/dst", include=("*~",)))
    assert (top / "dst" / ".fanrun").is_dir()


def test_dst_may_hold_src_unless_results_would_replace_inputs(top: Path) -> None:
    """A result of the input KEY goes to DST/KEY; that must not be an input's own path."""
    write_tree(top, (b"inner/src/a",))
    check_paths(str(top / "inner" / "src"), str(top / "inner"))
    write_tree(top, (b"inner/src/src/a",))
    with pytest.raises(UsageError, match="holds --src, and results would replace inputs in src"):
        check_paths(str(top / "inner" / "src"), str(top / "inner"))


def test_a_dst_is_held_by_one_run(top: Path, folder: Folder) -> None:
    request = Request(str(top / "src"), str(top / "dst"))
    check_writable(request.dst)
    first, second = (Run(RunContext(request, FLEET, IMAGE), folder, Board()) for _ in range(2))
    assert first.context.name != second.context.name
    with first.hold():
        assert (top / "dst" / ".fanrun" / "staging").is_dir()
        with (
            pytest.raises(UsageError, match=f"is in use by run {first.context.name} .*; wait for it, or give another"),
            second.hold(),
        ):
            pass
    assert sorted(path.name for path in (top / "dst" / ".fanrun").iterdir()) == ["lock", "runs"]
    with second.hold():
        assert Path(second.context.home).is_dir()


def test_what_a_killed_run_left_is_cleared(top: Path, folder: Folder) -> None:
    write_tree(top, (b"dst/.fanrun/staging/worker-1-b/data/a",))
    run = Run(RunContext(Request(str(top / "src"), str(top / "dst")), FLEET, IMAGE), folder, Board())
    with run.hold():
        assert read_tree(top / "dst" / ".fanrun" / "staging") == {}
        assert [path.name for path in (top / "dst" / ".fanrun" / "staging").iterdir()] == [run.context.name]


def test_workers_without_room_or_docker_take_no_part() -> None:
    needed = 4 * 1000 + SPARE_BYTES
    assert unfit(dataclasses.replace(PROBE, disk_free=needed), 1000, PROGRAM) == ""
    assert unfit(dataclasses.replace(PROBE, disk_free=needed - 1), 1000, PROGRAM).startswith(
        "67 MB free, 67 MB needed; "
    )
    assert unfit(dataclasses.replace(PROBE, docker=""), 0, PROGRAM).startswith("its Docker does not answer; ")


@pytest.mark.parametrize(
    ("memory", "scratch", "words"),
    [
        (0, USUAL, ""),  # what nobody asked for keeps no small worker out
        (0, Scratch(tmp=900 * MIB), ""),
        (0, Scratch(tmp=901 * MIB), "its containers may have 900 MB of memory, and --tmp wants 901 MB of that; "),
        (0, Scratch(shm=1024 * MIB), "its containers may have 900 MB of memory, and --shm wants 1024 MB of that; "),
        (2048 * MIB, Scratch(tmp=1024 * MIB, shm=1024 * MIB), ""),
    ],
)
def test_workers_whose_memory_is_less_than_the_scratch_asked_for_take_no_part(
    memory: int, scratch: Scratch, words: str
) -> None:
    found = unfit(dataclasses.replace(PROBE, memory=1000 * MIB), 0, Program("image", memory=memory, scratch=scratch))
    assert found.startswith(words)
    assert bool(found) == bool(words)
    assert unfit(PROBE, 0, PROGRAM) == ""


# ---- what is done before


def record(dst: Path, args: tuple[str, ...], *keys: bytes, image: Image = IMAGE) -> Ledger:
    """A DST in which these inputs (of write_tree) are done: their results are copies."""
    check_writable(str(dst))
    ledger = Ledger(ledger_path(str(dst)))
    written = write_tree(dst, keys)
    hashes = {key: ledger.hash_of(bytes(dst) + b"/" + key) for key in written}
    program = ledgers.program(image.program_id, args)
    ledger.record(program, [Fact(key, digest, {key: digest}) for key, digest in hashes.items()])
    for key, digest in hashes.items():
        ledger.remember_hash(bytes(dst) + b"/" + key, file_stat(bytes(dst) + b"/" + key), digest)
    return ledger


def test_a_dry_run_tells_what_is_done_and_deals_the_rest(top: Path) -> None:
    write_tree(top / "src", (b"a", b"b", b"c", b"d"))
    record(top / "dst", ("--op",), b"a", b"b").close()
    request = Request(str(top / "src"), str(top / "dst"), ("--op",))
    before = read_tree(top)
    todo = dry_run(request, FLEET, IMAGE)
    assert (todo.inputs, todo.kept) == (4, 2)
    assert {name: [item.key for item in share] for name, share in todo.shares.items()} == {
        "worker-1": [b"c"], "worker-2": [b"d"],
    }  # fmt: skip
    other = dataclasses.replace(IMAGE, id="sha256:22")
    assert dry_run(dataclasses.replace(request, force=True), FLEET, IMAGE).kept == 0
    assert dry_run(dataclasses.replace(request, args=()), FLEET, IMAGE).kept == 0
    assert dry_run(request, FLEET, other).kept == 0
    assert dry_run(request, FLEET, None).kept == 0
    assert read_tree(top) == before


@pytest.mark.parametrize(("source", "by_content"), [("made of our Dockerfile", False), ("", True)])
def test_a_run_sorts_out_unless_it_is_forced(top: Path, folder: Folder, source: str, by_content: bool) -> None:
    write_tree(top / "src", (b"a", b"b"))
    image = dataclasses.replace(IMAGE, source=source)
    ledger = record(top / "dst", (), b"a", image=image)
    (top / "src" / "a").rename(top / "src" / "renamed")
    stream = io.StringIO()
    request = Request(str(top / "src"), str(top / "dst"))
    inputs, _ = find_inputs(request)
    asked = dataclasses.replace(request, by_content=by_content)
    current = Run(RunContext(asked, FLEET, image), folder, Board(total=len(inputs), stream=stream, pause=0))
    forced = Run(RunContext(dataclasses.replace(request, force=True), FLEET, IMAGE), folder, Board())
    others = Run(RunContext(request, FLEET, IMAGE), folder, Board())
    rebuilt = dataclasses.replace(image, id="sha256:22")
    with current.hold():
        assert others.plan_resume(ledger, inputs).todo == inputs, "what others built may depend on names"
        assert forced.plan_resume(ledger, inputs).todo == inputs
        found = current.plan_resume(ledger, inputs)
    assert dry_run(asked, FLEET, rebuilt).kept == (1 if source else 0), "a build of the same sources has another id"
    assert [item.key for item in found.todo] == [b"b"]
    assert [item.key for item in found.copied] == [b"renamed"]
    assert found.kept == []
    assert "1 of 2 done before, 1 under another name" in stream.getvalue()
    assert (top / "dst" / "renamed").read_bytes() == (top / "src" / "renamed").read_bytes()
    ledger.close()


@pytest.mark.parametrize(
    ("force", "words"),
    [(False, "the same command again goes on from here"), (True, "the same command without --force does those that")],
)
def test_what_the_next_command_does_is_true_of_a_forced_run_as_well(force: bool, words: str) -> None:
    assert again_text(force).startswith(words)


def test_a_retry_is_the_last_run_with_what_failed_in_it(tmp_path: Path) -> None:
    dst = str(tmp_path)
    with pytest.raises(UsageError, match="has no ledger; give a folder that `fab run` brought results to"):
        retry_request(dst, Limits())
    check_writable(dst)
    ledger = Ledger(ledger_path(dst))
    with pytest.raises(UsageError, match="no run has begun there yet"):
        retry_request(dst, Limits())
    for name, args in (("r1", ("--other",)), ("r2", ("--op", "rotate 90"))):
        request = Request("/src", dst, args, ("*.jpg",), ("b*", "d/*"), Limits(9, 9, 9))
        ledger.begin(name, "p", request.remembered("another:1"))
    ledger.fail([(b"a\xff.jpg", "dark")])
    assert retry_request(dst, Limits(retries=0)) == (
        Request("/src", dst, ("--op", "rotate 90"), ("*.jpg",), ("b*", "d/*"), Limits(retries=0), False,
                frozenset([b"a\xff.jpg"]), keep_going=True),
        "another:1",
    )  # fmt: skip
    ledger.close()
