"""The program that manages the cache of a worker: keep inputs, list them, and place them into a batch's folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from fanrun.fanout import cache_commands, run_commands
from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.worker_files import cache as worker_cache
from fanrun.fleet.layout import Layout
from tests.unit.samples import HOSTILE, read_tree, write_tree

PROGRAM = Path(worker_cache.__file__)
SECOND = 10**9


def cached(top: Path, *words: str | Path, stdin: bytes = b"") -> str:
    """Run the program; `words` are the command, and its arguments after the cache."""
    printed, before = io.StringIO(), os.umask(0o022)
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        worker_cache.main(str(words[0]), str(top / "cache"), *map(str, words[1:]))
    os.umask(before)
    return printed.getvalue()


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    """A worker starts it without its site packages."""
    keep(tmp_path, {"a": b"one"})
    argv = [sys.executable, "-I", "-S", str(PROGRAM), "list", str(tmp_path / "cache")]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert done.stdout.decode() == cached(tmp_path, "list")
    assert done.stdout.startswith(b"3 ")


def keep(top: Path, contents: Mapping[str, bytes], limit: int = worker_cache.QUARTER) -> None:
    """Put files into the cache as the inputs of a run that has ended."""
    run = top / "run"
    run.mkdir()
    for number, (name, content) in enumerate(contents.items()):
        path = run / f"{'.gone-' if number % 2 else ''}worker-1.{number:04}.in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    cached(top, "keep", str(limit), run)
    subprocess.run(["rm", "-rf", str(run)], check=True)


def names(top: Path) -> set[str]:
    """Return the names of the files in the cache."""
    return {path.name for path in (top / "cache").iterdir()} - {"lock", "names", "size"}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def place(top: Path, files: Mapping[bytes, tuple[bytes, int]]) -> dict[bytes, bytes]:
    """Ask for files, each with its content and its time; return what is in the batch's folder then."""
    wanted = [(sha(content), time, key) for key, (content, time) in files.items()]
    told = cached(top, "place", top / "batch", stdin=cache_commands.wanted(wanted))
    found = read_tree(top / "batch")
    assert {list(files)[int(line)] for line in told.split()} == found.keys()
    return found


def test_inputs_are_kept_by_content_and_placed_under_any_name(tmp_path: Path) -> None:
    write_tree(tmp_path / "run" / "worker-1.0001.in", HOSTILE)
    contents = read_tree(tmp_path / "run" / "worker-1.0001.in")
    cached(tmp_path, "keep", "-1", tmp_path / "run")
    assert names(tmp_path) == {sha(content) for content in contents.values() if content}
    count, size = (tmp_path / "cache" / "size").read_text().split()
    assert int(count) == len(names(tmp_path))
    assert int(size) == sum(path.stat().st_size for path in (tmp_path / "cache").iterdir() if len(path.name) == 64)
    wanted = {key: (content, 5 * SECOND + 7) for key, content in contents.items() if content}
    assert place(tmp_path, wanted) == {key: content for key, (content, _) in wanted.items()}
    for key in wanted:
        found = os.stat(os.path.join(os.fsencode(tmp_path / "batch"), key))
        assert found.st_mtime_ns == 5 * SECOND + 7
        assert found.st_mode & 0o777 == 0o644


def test_a_file_of_the_same_time_is_a_link(tmp_path: Path) -> None:
    keep(tmp_path, {"a": b"one"})
    (path,) = (tmp_path / "cache").glob("?" * 64)
    os.utime(path, ns=(1, 3 * SECOND))
    place(tmp_path, {b"x/y": (b"one", 3 * SECOND)})
    assert (tmp_path / "batch" / "x" / "y").stat().st_ino == path.stat().st_ino
    # The link is not moved to the cache again. The cache still has the file.
    keep(tmp_path, {})
    os.rename(tmp_path / "batch", tmp_path / "worker-1.0001.in")
    (tmp_path / "run").mkdir()
    os.rename(tmp_path / "worker-1.0001.in", tmp_path / "run" / "worker-1.0001.in")
    cached(tmp_path, "keep", "-1", tmp_path / "run")
    assert (tmp_path / "run" / "worker-1.0001.in" / "x" / "y").exists()
    assert (tmp_path / "cache" / "size").read_text() == "1 3\n"


@pytest.mark.parametrize("damaged", [b"two", b"", b"one and more"])
def test_a_damaged_file_is_not_used_and_removed(tmp_path: Path, damaged: bytes) -> None:
    keep(tmp_path, {"a": b"one", "b": b"other"})
    path = tmp_path / "cache" / sha(b"one")
    before = path.stat()
    path.write_bytes(damaged)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert place(tmp_path, {b"a": (b"one", SECOND), b"b": (b"other", SECOND)}) == {b"b": b"other"}
    assert names(tmp_path) == {sha(b"other")}


def test_what_can_not_be_placed_is_not_called_there(tmp_path: Path) -> None:
    """There is no cache, or it does not have the file, or it has a folder with the file's name."""
    assert place(tmp_path, {b"a": (b"one", 1)}) == {}
    keep(tmp_path, {"a": b"one"})
    (tmp_path / "cache" / sha(b"two")).mkdir()
    assert place(tmp_path, {b"a": (b"two", 1), b"b": (b"three", 1)}) == {}
    write_tree(tmp_path / "batch", (b"in the way",))
    told = cached(
        tmp_path, "place", tmp_path / "batch", stdin=cache_commands.wanted([(sha(b"one"), 1, b"in the way/a")])
    )
    assert told == ""


def test_the_oldest_go_first(tmp_path: Path) -> None:
    """A file that a batch used is newer than files that were only kept."""
    for number in range(5):
        keep(tmp_path, {"file": b"%d" % number * 1000}, 3000)
    assert names(tmp_path) == {sha(b"%d" % number * 1000) for number in (2, 3, 4)}
    place(tmp_path, {b"a": (b"2" * 1000, (tmp_path / "cache" / sha(b"2" * 1000)).stat().st_mtime_ns)})
    keep(tmp_path, {"file": b"5" * 1000}, 3000)
    assert names(tmp_path) == {sha(b"%d" % number * 1000) for number in (2, 4, 5)}


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (999, 0), (2500, 2), (worker_cache.QUARTER, 4)])
def test_no_more_is_kept_than_the_limit(tmp_path: Path, limit: int, count: int) -> None:
    keep(tmp_path, {"old": b"old" * 100}, 10_000)
    keep(tmp_path, {f"file {number}": b"%d" % number * 1000 for number in range(4)}, limit)
    large = [path for path in (tmp_path / "cache").iterdir() if path.stat().st_size == 1000]
    assert len(large) == count
    total = int((tmp_path / "cache" / "size").read_text().split()[1])
    assert total == sum(path.stat().st_size for path in (tmp_path / "cache").iterdir() if len(path.name) == 64)
    assert limit < 0 or total <= limit


def test_a_host_that_is_being_cleaned_keeps_nothing(tmp_path: Path) -> None:
    """`fab down` removes the work folder; the program in the background does not make it again."""
    write_tree(tmp_path / "run" / "worker-1.0001.in", (b"a",))
    argv = [sys.executable, str(PROGRAM), "keep", str(tmp_path / "gone" / "cache"), "-1", str(tmp_path / "run")]
    assert subprocess.run(argv, capture_output=True, check=False).returncode != 0
    assert not (tmp_path / "gone").exists()


def test_two_runs_that_end_at_the_same_time_are_both_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes the cache just before this one does."""
    make = os.mkdir

    def late(path: str, mode: int) -> None:
        make(path, mode)
        make(path, mode)

    (tmp_path / "run" / "b.in").mkdir(parents=True)
    (tmp_path / "run" / "b.in" / "a").write_bytes(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", late)
        cached(tmp_path, "keep", "-1", tmp_path / "run")
    assert names(tmp_path) == {sha(b"one")}


def test_the_list_has_sizes_and_times(tmp_path: Path) -> None:
    keep(tmp_path, {"a": b"one", "b": b"other"})
    for content, time in ((b"one", 3 * SECOND + 5), (b"other", 4 * SECOND)):
        os.utime(tmp_path / "cache" / sha(content), ns=(1, time))
    (tmp_path / "cache" / ("0" * 64)).write_bytes(b"")  # of which no name is known
    listed = sorted(line.split() for line in cached(tmp_path, "list").splitlines())
    assert [line[2] for line in listed] == ["00000000", f"{zlib.crc32(b'a'):08x}", f"{zlib.crc32(b'b'):08x}"]
    assert [line[:2] for line in listed[1:]] == [["3", "3000000005"], ["5", "4000000000"]]
    (tmp_path / "cache" / "names").write_text("no such line")
    keep(tmp_path, {"sub/c": b"more"})
    assert f" {zlib.crc32(b'sub/c'):08x}" in cached(tmp_path, "list")


def test_the_commands_find_the_program_where_the_run_put_it() -> None:
    layout = Layout("/srv/fanrun", "/srv/logs")
    program = f"{layout.runs}/r/cache.py"
    python = ["python3", "-I", "-S"]
    assert cache_commands.list_argv("r", layout) == [*python, program, "list", layout.cache]
    place = BatchFolder("r", "worker-1.0001", layout)
    assert cache_commands.place_argv(place) == [*python, program, "place", layout.cache, place.source]
    assert cache_commands.wanted([("00", 7, b"a b"), ("11", 8, b"c")]) == b"00\0007\0a b\x0011\0008\0c\0"
    assert PROGRAM.read_text() == run_commands.CACHE
