"""Inputs that workers have from earlier runs are not sent again, and no other file is used in their place."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fleet.harness import SMALL_DISK, Fab, Runs, docker, report, tree
from tests.waiting import wait_until

WORKERS = ("worker-1", "worker-2")
ALONE = WORKERS[:1]
"""Most tests here use one worker. With two, it depends on the load of the machine which worker gets an input."""
CACHE = "/var/lib/fanrun/cache"
SIZE, COUNT = 1_000_000, 40
COPY, TWICE = "cp -R . $1/", "for file in *; do cat $file $file >$1/$file; done"
SUMS = "for file in *; do sha256sum $file >$1/$file; done"
# Replace each cached file by one with another content, but with the same name, size and time.
DAMAGE = f"""cd {CACHE} && for file in *; do
  [ ${{#file}} -eq 64 ] || continue
  tr '\\000-\\377' '\\001-\\377\\000' <$file >.new && touch -r $file .new && chown --reference=$file .new
  mv .new $file
done"""
RIGHT = f"cd {CACHE} && for file in ????????*; do echo $file $file; done | sha256sum --check --quiet"


class Cached(Runs):
    """Runs over inputs of random bytes, on workers that keep nothing at first."""

    def fill(self, count: int = COUNT, size: int = SIZE) -> None:
        """Write the inputs."""
        self.src.mkdir()
        for number in range(count):
            (self.src / f"{number:03}.bin").write_bytes(random.Random(f"{self.src} {number}").randbytes(size))

    def into(self, name: str) -> None:
        """Use another DST from now on."""
        self.dst = self.dst.with_name(name)

    def cached(self) -> int:
        """Return how many files of the last run were not sent."""
        return int(report(self.dst)["cached"])

    def kept(self, workers: Sequence[str] = ALONE) -> int:
        """Return how many files workers have in their caches, when no more files are being moved there."""
        moving = "find /var/lib/fanrun/runs -name '.gone-*'"
        wait_until(lambda: not any(self.fab.on(worker, moving) for worker in workers))
        count = f"find {CACHE} -name '????????*' 2>/dev/null | wc -l"
        return sum(int(self.fab.on(worker, count)) for worker in workers)

    def check(self, times: int = 1) -> None:
        """Check that each result is its input, repeated so many times."""
        assert tree(self.dst) == {key: times * content for key, content in tree(self.src).items()}
        self.verify()


@pytest.fixture
def cached(fab: Fab, shell: str, tmp_path: Path) -> Iterator[Cached]:
    fab("clean", "--yes")
    fab("drain", "--host", "worker-2")
    yield Cached(fab, shell, tmp_path)
    fab("drain", "--undo", "--host", "worker-2")
    fab("clean", "--yes")


def received(fab: Fab) -> int:
    """Return the bytes that worker-1 got from its network so far."""
    read = "cat /sys/class/net/eth0/statistics/rx_bytes"
    return int(docker("exec", fab.containers()["worker-1"], "sh", "-c", read))


def test_the_same_inputs_are_sent_once(cached: Cached) -> None:
    cached.fill()
    cached(COPY)
    cached.check()
    assert (cached.cached(), cached.kept()) == (0, COUNT)
    assert cached.fab.status()["worker-1"]["cached"] == COUNT * SIZE
    assert "inputs of earlier runs (" in cached.fab("status").stdout

    cached.into("sums")
    before = received(cached.fab)
    told = cached(SUMS)
    assert received(cached.fab) - before < COUNT * SIZE / 100
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in cached.src.iterdir()}
    assert cached.results() == {name: f"{digest}  {name}" for name, digest in sums.items()}
    assert f"{COUNT} files, 40.0 MB, had been sent by earlier runs" in told
    assert cached.kept() == COUNT, "what was used stays, and once"

    plan = cached.fab("clean", "--dry-run").stdout
    assert plan == f"worker-1: {COUNT} inputs of earlier runs, 40.0 MB\n"
    assert cached.fab("clean", "--yes").stdout == plan
    assert cached.kept() == 0
    assert cached.fab.status()["worker-1"]["cached"] == 0


@pytest.mark.long
def test_an_input_is_known_by_its_content(cached: Cached) -> None:
    """One input gets a new name; another one gets a new content, but keeps its name, size and time."""
    cached.fill(12, 1000)
    cached(COPY)
    cached.kept()
    cached.into("changed")
    path = cached.src / "000.bin"
    before = path.stat()
    path.write_bytes(random.Random("other").randbytes(1000))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (cached.src / "001.bin").rename(cached.src / "new name")
    cached(COPY)
    cached.check()
    assert cached.cached() == 11


@pytest.mark.long
def test_a_program_sees_the_time_of_its_input(cached: Cached) -> None:
    """An input whose content is cached gets a new time: the batch gets a copy, and the cached file stays as it was."""
    cached.fill(4, 1000)
    cached(COPY)
    assert cached.kept() == 4
    os.utime(cached.src / "000.bin", (1_000_000_000, 1_000_000_000))
    cached.into("times")
    cached("for file in *; do stat -c %Y $file >$1/$file; done")
    assert cached.results()["000.bin"] == "1000000000"
    assert cached.cached() == 4
    assert cached.results()["001.bin"] == str(int((cached.src / "001.bin").stat().st_mtime))


@pytest.mark.long
def test_a_damaged_copy_is_found_and_sent_again(cached: Cached) -> None:
    cached.fill(8, 1000)
    cached(COPY)
    assert cached.kept() == 8
    cached.fab.on("worker-1", DAMAGE)
    cached.into("again")
    cached(COPY)
    cached.check()
    assert cached.cached() == 0
    cached.fab.on("worker-1", RIGHT)


@pytest.mark.long
def test_a_group_comes_from_the_cache_as_a_whole(cached: Cached) -> None:
    cached.fill(12, 1000)
    group = ["--group-by", r"(\d\d)\d\.bin"]
    cached(COPY, *group)
    assert cached.kept() == 12
    cached.into("again")
    (cached.src / "005.bin").write_bytes(b"new")
    cached(COPY, *group)
    cached.check()
    assert cached.cached() == 11


@pytest.mark.long
def test_inputs_of_a_run_that_failed_or_whose_client_was_killed_are_kept(cached: Cached) -> None:
    cached.fill(6, 1000)
    cached("exit 3", "--retries=0", code=1)
    assert cached.kept() == 6
    cached.fab("clean", "--yes")
    cached.into("killed")
    where = ["--src", str(cached.src), "--dst", str(cached.dst), "--image", cached.shell]
    run = cached.fab.start("run", *where, "--args", "'sleep 600'")
    started = "find /var/lib/fanrun/runs -path '*.in/*' -name '*.bin' | wc -l"
    wait_until(lambda: int(cached.fab.on("worker-1", started)))
    run.kill()
    run.communicate()
    (cached.src.parent / "other").mkdir()
    (cached.src.parent / "other" / "file").write_text("begins")
    cached.into("begins")
    cached.src, src = cached.src.parent / "other", cached.src
    cached(COPY)
    assert cached.kept() >= 2, "it ends the run before it, and keeps that one's inputs"
    cached.into("after")
    cached.src = src
    cached(TWICE)
    cached.check(2)
    assert cached.cached() >= 1


@pytest.mark.long
def test_no_more_is_kept_than_the_setting_says(cached: Cached) -> None:
    cached.fill(8, 400_000)
    cached(COPY)
    assert cached.kept() == 8
    where = ["run", "--src", str(cached.src), "--image", cached.shell, "--args", f"'cd $0; {COPY}'"]
    for setting, before, before_next in (("1m", 8, 2), ("off", 0, 0)):
        cached.into(setting)
        cached.fab(*where, "--dst", str(cached.dst), FANRUN_CACHE_BYTES=setting)
        cached.check()
        assert cached.cached() == before
        assert cached.kept() == before_next
    told = cached.fab(*where, "--dst", str(cached.dst), code=2, FANRUN_CACHE_BYTES="plenty").stderr
    assert told == "error: cache.bytes=plenty: give a size of 1m or more, as 512m or 4g\n"


@pytest.mark.long
def test_a_disk_that_fills_loses_the_cache_and_no_input(cached: Cached) -> None:
    """The cache takes nearly all of a small disk; the next inputs have room after it was removed."""
    cached.fill(2, 10_000_000)
    cached.fab.on("worker-1", SMALL_DISK)
    try:
        cached(COPY)
        assert cached.kept() == 2
        # Something else takes the room.
        cached.fab.on("worker-1", f"head -c 170M /dev/zero >{CACHE}/{'0' * 64}; echo '3 199000000' >{CACHE}/size")
        for path in cached.src.iterdir():
            path.write_bytes(random.Random(path.name).randbytes(16_000_000))
        cached.into("larger")
        told = cached(COPY)
        cached.check()
        assert "its disk is full; the inputs that it had kept of earlier runs are removed" in told
    finally:
        cached.fab.on("worker-1", "umount --lazy /var/lib/fanrun")


@pytest.mark.long
def test_each_worker_gets_what_it_has(cached: Cached) -> None:
    cached.fab("drain", "--undo", "--host", "worker-2")
    cached.fill(40, 1000)
    cached("sleep 1; cp -R . $1/")
    assert all(cached.kept([worker]) > 0 for worker in WORKERS)
    cached.into("again")
    cached("sleep 1; cp -R . $1/")
    cached.check()
    assert cached.cached() > 30, "dealt by chance it would be half of them"
