"""How a run uses the caches of its workers: which files it asks for, and which workers get an input."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanrun.fanout import run_commands
from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.plan import Input, deal
from fanrun.fanout.results.file_stat import FileStat, file_stat
from fanrun.fanout.workers.executor import CommandResult
from fanrun.fanout.workers.input_cache import InputCache
from fanrun.fanout.workers.link import Link
from fanrun.fleet.layout import Layout
from tests.unit.samples import PROBE, read_tree

CACHED = dataclasses.replace(PROBE, cached=0)


class Worker(Link):
    """A worker whose commands run here, with a work folder of its own."""

    def __init__(self, host: str, top: Path) -> None:
        self.host, self.layout, self.count = host, Layout(str(top / host)), 0
        (top / host / "runs" / "r").mkdir(parents=True)
        (top / host / "runs" / "r" / "cache.py").write_text(run_commands.CACHE)

    def run(self, argv: list[str], *, timeout: float | None = None, slot: int = 0, stdin: bytes = b"") -> CommandResult:
        self.count += 1
        argv = [sys.executable if word == "python3" else word for word in argv]
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, check=False)
        return CommandResult(done.returncode, done.stdout, done.stderr.decode())

    def keep(self, **files: str) -> None:
        """Put files into the cache, as an earlier run does."""
        folder = Path(self.layout.runs) / "before" / "b.in"
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_text(content)
            os.utime(folder / name, (5, 5))
        program = Path(self.layout.runs) / "r" / "cache.py"
        argv = [sys.executable, str(program), "keep", self.layout.cache, "-1", str(folder.parent)]
        subprocess.run(argv, check=True)
        subprocess.run(["rm", "-rf", str(folder.parent)], check=True)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    for name, content in (("a", "one"), ("b", "other"), ("c", "third one")):
        (tmp_path / "src" / name).write_text(content)
        os.utime(tmp_path / "src" / name, (5, 5))
    return tmp_path / "src"


def inputs(src: Path, *names: str) -> list[Input]:
    return [Input(name.encode(), (src / name).stat().st_size) for name in names]


def hashed(src: Path, *names: str) -> dict[bytes, tuple[str, FileStat]]:
    return {
        name.encode(): (
            hashlib.sha256((src / name).read_bytes()).hexdigest(),
            file_stat(os.fsencode(src / name)),
        )
        for name in names
    }


def test_a_worker_without_a_cache_is_asked_nothing(src: Path, tmp_path: Path) -> None:
    worker, cache = Worker("worker-1", tmp_path), InputCache("r", str(src))
    cache.look(worker, PROBE)
    assert cache.place(worker, BatchFolder("r", "b", worker.layout), hashed(src, "a")) == set()
    assert cache.holders(inputs(src, "a")) == {}
    assert worker.count == 0


def test_only_files_whose_size_is_there_are_asked_for(src: Path, tmp_path: Path) -> None:
    worker, cache = Worker("worker-1", tmp_path), InputCache("r", str(src))
    worker.keep(x="other")
    cache.look(worker, CACHED)
    folder = BatchFolder("r", "b", worker.layout)
    assert cache.place(worker, folder, hashed(src, "a", "c")) == set()
    assert worker.count == 1
    assert cache.place(worker, folder, hashed(src, "a", "b", "c")) == {b"b"}
    assert read_tree(Path(folder.source)) == {b"b": b"other"}


def test_the_same_size_and_time_with_another_content_is_not_used(src: Path, tmp_path: Path) -> None:
    worker, cache = Worker("worker-1", tmp_path), InputCache("r", str(src))
    worker.keep(a="two")
    cache.look(worker, CACHED)
    assert cache.holders(inputs(src, "a", "b")) == {b"a": ["worker-1"]}, "it is only a guess"
    folder = BatchFolder("r", "b", worker.layout)
    assert cache.place(worker, folder, hashed(src, "a", "b")) == set()
    assert not list(Path(folder.source).iterdir())


def test_inputs_go_to_workers_that_may_have_them(src: Path, tmp_path: Path) -> None:
    first, second = Worker("worker-1", tmp_path), Worker("worker-2", tmp_path)
    cache = InputCache("r", str(src))
    first.keep(x="one")
    second.keep(x="other", y="third one")
    for worker in (first, second):
        cache.look(worker, CACHED)
    group = Input(b"b", 14, tuple(inputs(src, "b", "c")))
    mixed = Input(b"a", 8, tuple(inputs(src, "a", "b")))
    assert cache.holders(inputs(src, "a")) == {b"a": ["worker-1"]}
    assert cache.holders([group]) == {b"b": ["worker-2"]}
    assert cache.holders([mixed]) == {}, "no worker has the whole group"
    # Of two workers that have files of this size and time, the one with the name is found. Seconds are enough for that.
    worker = Worker("worker-3", tmp_path)
    worker.keep(a="two")
    os.utime(next(Path(worker.layout.cache).glob("?" * 64)), (5, 5))
    cache.look(worker, CACHED)
    os.utime(src / "a", ns=(5 * 10**9 + 7, 5 * 10**9 + 7))
    assert cache.holders(inputs(src, "a")) == {b"a": ["worker-3"]}
    os.utime(src / "a", (6, 6))
    (src / "b").unlink()
    assert cache.holders([*inputs(src, "a"), Input(b"b", 5)]) == {}


def test_a_full_disk_empties_the_cache(src: Path, tmp_path: Path) -> None:
    worker, cache = Worker("worker-1", tmp_path), InputCache("r", str(src))
    worker.keep(x="one")
    cache.look(worker, CACHED)
    cache.make_room(worker, "rsync: connection unexpectedly closed")
    assert Path(worker.layout.cache).exists()
    cache.make_room(worker, 'rsync: write failed on "/x": No space left on device (28)')
    assert not Path(worker.layout.cache).exists()
    assert cache.holders(inputs(src, "a")) == {}
    cache.make_room(worker, "No space left on device")
    assert worker.count == 2, "it has no cache any more"


def test_a_cache_that_can_not_be_listed_is_none(src: Path, tmp_path: Path) -> None:
    """Lines of the answer that are not a size, a time and a CRC-32 are ignored."""
    worker, cache = Worker("worker-1", tmp_path), InputCache("r", str(src))
    cache.look(worker, CACHED)  # there is no folder
    assert cache.holders(inputs(src, "a")) == {}
    (Path(worker.layout.runs) / "r" / "cache.py").write_text(
        "print('a b\\n3 5000000000 00000000\\n-1 5 00000000\\n3 5 7\\n\\u0663 5 00000000')"
    )
    cache.look(worker, CACHED)
    assert cache.holders(inputs(src, "a", "b")) == {b"a": ["worker-1"]}


def test_dealing_prefers_holders_and_is_round_robin_for_the_rest() -> None:
    many = [Input(b"%d" % number, 100) for number in range(8)]
    workers = ["worker-1", "worker-2"]
    assert deal(many, workers, {}) == deal(many, workers) == {"worker-1": many[::2], "worker-2": many[1::2]}
    shares = deal(
        many, workers, {b"0": ["worker-2"], b"1": ["worker-2"], b"3": ["worker-2", "worker-1"], b"4": ["worker-9"]}
    )
    assert many[0] in shares["worker-2"]
    assert many[3] in shares["worker-1"], "it has less so far"
    assert sorted(shares["worker-1"] + shares["worker-2"]) == many
