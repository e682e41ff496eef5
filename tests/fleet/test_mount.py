"""Reference data: folders that every container sees, sent once, kept on the workers, read-only, known by content."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, Runs, log
from tests.fleet.reference_data import HOSTS, KEPT, LOOKS, READS, Data, pair_of_workers, runs_without_data, sent
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    with pair_of_workers(tmp_path_factory.mktemp("mount")) as fab:
        yield fab


@pytest.fixture
def own(pair: Fab, shell: str, tmp_path: Path) -> Runs:
    return runs_without_data(pair, shell, tmp_path)


class Network:
    """What the hosts of a fleet get from their network."""

    def __init__(self, fab: Fab) -> None:
        self._fab = fab
        self._before = self._count()

    def _count(self) -> dict[str, int]:
        read = "cat /sys/class/net/eth0/statistics/rx_bytes"
        return {host: int(self._fab.on(host, read)) for host in HOSTS}

    def got(self) -> list[int]:
        """Return the bytes that each host has got since the last time."""
        before, self._before = self._before, self._count()
        return [self._before[host] - count for host, count in before.items()]


def test_data_are_sent_once_kept_and_known_by_content(own: Runs, tmp_path: Path) -> None:
    data, fab = Data(tmp_path), own.fab
    own("cp * $1/", "--force")  # the container image is there
    network = Network(fab)
    own(LOOKS, *data.options)
    assert set(own.results().values()) == {"one\nno\n8000000\nruns"}
    assert sum(sent(own.dst)) in range(10_000_000, 10_100_000)
    assert all(10_000_000 < count < 11_500_000 for count in network.got()), "each has it once"
    for host in HOSTS:
        assert "fanrun-reference" not in fab.on(host, "cat /home/admin/.ssh/authorized_keys"), (
            "nobody is let in any more"
        )

    # Known by content: another DST, and another look of a file.
    assert "nothing to do: all 2 results are there" in own(LOOKS, *data.options)
    own.dst = tmp_path / "other"
    (data.words / "list").touch()
    own(LOOKS, *data.options)
    assert sent(own.dst) == []
    assert all(count < 200_000 for count in network.got())

    # Of many files two are changed: they travel alone, and all is made again.
    (data.model / "7 it's").write_bytes(random.Random("new").randbytes(100_000))
    (data.model / "tool").write_text("#!/bin/sh\necho walks\n")
    assert "2 of 2 inputs done" in own(LOOKS, *data.options)
    assert {text.split()[-1] for text in own.results().values()} == {"walks"}
    assert sum(sent(own.dst)) in range(100_000, 110_000)
    assert all(100_000 < count < 400_000 for count in network.got())
    own.verify()
    check_what_is_told(own, data)


def check_what_is_told(own: Runs, data: Data) -> None:
    """The plan, the status, and what is cleaned are told; after it nothing is left."""
    fab = own.fab
    where = ["--src", str(own.src), "--dst", str(own.dst), "--image", own.shell, "--args", f"'cd $0; {LOOKS}'"]
    plan = json.loads(fab("run", *data.options, *where, "--dry-run", "--json").stdout)
    assert (plan["kept"], [mount["name"] for mount in plan["mounts"]]) == (2, ["model-1", "words"])
    words = plan["mounts"][1]
    assert (
        f"/words     reference data, 4 B, {words['digest'][:12]}"
        in fab("run", *data.options, *where, "--dry-run").stdout
    )
    kept = {"name": "words", "digest": words["digest"], "bytes": 4}
    status = fab.status()
    assert all(kept in status[host]["reference"] and len(status[host]["reference"]) == 3 for host in HOSTS)
    assert f" model-1 {plan['mounts'][0]['digest'][:12]} (10.0 MB), " in fab("status").stdout
    told = fab("clean", "--dry-run").stdout
    assert told.count("model-1") == 6
    assert f"hub: reference data words {words['digest'][:12]}, 4 B\n" in told
    assert fab("clean").stdout == told
    left = f"find {KEPT} -mindepth 1 ! -name lock ! -name rsyncd.conf"
    wait_until(lambda: [fab.on(host, left) for host in HOSTS] == ["", "", ""])
    assert "there is nothing to remove" in fab("clean").stderr
    assert not any(row["reference"] for row in fab.status().values())


@pytest.fixture
def slow(own: Runs) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start runs over more inputs that work on worker-1 alone; worker-2 is drained until the end of the test."""

    def start(script: str, *options: str) -> subprocess.Popen[str]:
        own.write(*(f"{number:03}" for number in range(60)))
        where = ["--src", str(own.src), "--dst", str(own.dst), "--image", own.shell, "--jobs=1"]
        run = own.fab.start("run", *where, "--args", f"'cd $0; {script}'", *options)
        wait_until(lambda: "process worker-1" in log(own.dst), 90)
        return run

    own.fab("drain", "--host=worker-2")
    yield start
    own.fab("drain", "--undo", "--host=worker-2")


@pytest.mark.long
def test_a_folder_that_changes_does_no_harm(
    own: Runs, tmp_path: Path, slow: Callable[..., subprocess.Popen[str]]
) -> None:
    """Results are of what it held at the beginning; a worker that would need it later can't join."""
    data = Data(tmp_path)
    script = "for file in *; do sleep 0.4; cat /words/list >$1/$file; done"
    run = slow(script, "--mount", f"{data.words}:words")
    (data.words / "list").write_text("two\n")
    assert "which a run uses" in own.fab("clean", "--dry-run").stdout
    own.fab("clean", "--yes")  # the hub's copy goes, that of worker-1 stays
    own.fab("drain", "--undo", "--host=worker-2")
    _, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert "some words changed during the run; results are of what it held at its beginning" in err
    assert set(own.results().values()) == {"one"}
    assert "62 of 62 inputs done" in own(READS, "--mount", f"{data.words}:words")
    assert set(own.results().values()) == {"two"}


@pytest.mark.long
def test_a_worker_that_joins_has_the_data_before_it_works(
    own: Runs, tmp_path: Path, slow: Callable[..., subprocess.Popen[str]]
) -> None:
    data = Data(tmp_path)
    run = slow("for file in *; do sleep 0.5; /model-1/tool >$1/$file; done", *data.options)
    own.fab("drain", "--undo", "--host=worker-2")
    _, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert "worker-2: reference data model-1 fetched from the hub" in log(own.dst)
    assert "process worker-2" in log(own.dst)
    assert set(own.results().values()) == {"runs"}
    assert len(sent(own.dst)) == 2, "this machine sends it once"


@pytest.mark.long
def test_a_retry_remembers_the_data(own: Runs, tmp_path: Path) -> None:
    data = Data(tmp_path)
    fails = "for file in *; do [ $file = b ] || cat /words/list >$1/$file; done"
    own(fails, "--retries=0", "--mount", f"{data.words}:words", code=1)
    (data.words / "b").write_text("")
    again = own.fab("retry", "--dst", str(own.dst), "--retries=0", code=1)
    assert "gets reference data words" in again.stderr
