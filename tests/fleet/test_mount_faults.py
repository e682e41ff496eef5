"""Reference data when something is wrong: damage, full disks, a folder that changes, and a key in wrong hands."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fanout.reference_commands import let_in_argv
from fanrun.fleet.store import Folder
from tests.fleet.harness import SMALL_DISK, Fab, Runs
from tests.fleet.harness import ssh as ssh_to
from tests.fleet.reference_data import (
    HOSTS,
    KEPT,
    LOOKS,
    READS,
    WORDS_OF_BIG,
    Data,
    pair_of_workers,
    runs_without_data,
    sent,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    with pair_of_workers(tmp_path_factory.mktemp("faults")) as fab:
        yield fab


@pytest.fixture
def own(pair: Fab, shell: str, tmp_path: Path) -> Runs:
    return runs_without_data(pair, shell, tmp_path)


def test_a_damaged_copy_is_found_and_fetched_again(own: Runs, tmp_path: Path) -> None:
    data, fab = Data(tmp_path), own.fab
    own(LOOKS, *data.options)
    fab.on("worker-1", f"for file in {KEPT}/words/*/data/list; do echo two >$file; done")
    # The hub's looks as it did before, and is read when a worker finds it wrong.
    change = "touch -r $file /tmp/then; echo two >$file; touch -r /tmp/then $file"
    fab.on("hub", f"for file in {KEPT}/words/*/data/list; do {change}; done")
    own(LOOKS, *data.options, "--force")
    assert set(own.results().values()) == {"one\nno\n8000000\nruns"}
    for host in HOSTS:
        assert fab.on(host, f"cat {KEPT}/words/*/data/list") == "one\n"
    assert len(sent(own.dst)) == 1


def test_a_worker_without_room_takes_no_part_and_the_others_do_it(own: Runs, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    (big / "list").write_bytes(b"x" * 150_000_000)
    own.fab.on("worker-1", SMALL_DISK)
    try:
        said = own(WORDS_OF_BIG, "--mount", str(big))
        assert "worker-1 can't take part: it has no room for the reference data big (150 MB, and " in said
        assert set(own.results().values()) == {"150000000"}
        assert own.fab.on("worker-1", f"ls {KEPT}/big") == ""
        # A version of before says nothing of the room for the next one.
        (big / "list").write_bytes(b"x" * 100_000_000)
        own(WORDS_OF_BIG, "--mount", str(big), "--force")
        (big / "list").write_bytes(random.Random(1).randbytes(150_000_000))
        said = own(WORDS_OF_BIG, "--mount", str(big), "--force")
        assert "worker-1 can't take part: it has no room for the reference data big (150 MB, and " in said
        free = "df -k /var/lib/fanrun | awk 'END { print $4 }'"
        wait_until(lambda: int(own.fab.on("worker-1", free)) > 90_000)  # what came is removed in the background
    finally:
        own.fab.on("worker-1", "umount --lazy /var/lib/fanrun")


def test_a_hub_without_room_is_told_before_anything_begins(own: Runs, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    (big / "list").write_bytes(b"x" * 150_000_000)
    own("cp * $1/")
    own.fab.on("hub", SMALL_DISK)
    try:
        said = own(WORDS_OF_BIG, "--mount", str(big), "--force", code=2)
    finally:
        own.fab.on("hub", "umount --lazy /var/lib/fanrun")
    assert "error: hub: it has no room for the reference data big (150 MB, and " in said
    assert set(own.results().values()) == {"a", "b"}


def test_a_folder_that_changes_while_it_is_sent_is_told_and_nothing_begins(own: Runs, tmp_path: Path) -> None:
    data = Data(tmp_path)
    own("cp * $1/")
    own.fab.on("hub", f"mkdir -p {KEPT}; touch {KEPT}/lock; chown -R admin {KEPT}")
    own.fab.on("hub", f"(flock 9; exec sleep 600) 9>{KEPT}/lock >/dev/null 2>&1 & echo $! >/tmp/holder")
    argv = ["--src", str(own.src), "--dst", str(own.dst), "--image", own.shell, "--args", f"'cd $0; {READS}'"]
    run = own.fab.start("run", *argv, "--mount", f"{data.words}:words")
    waits = "ps ax -o args | grep -c '[f]lock 9'"
    wait_until(lambda: int(own.fab.on("hub", f"{waits} || :")) > 0, 60)
    (data.words / "list").write_text("two, longer\n")
    own.fab.on("hub", "kill $(cat /tmp/holder)")
    try:
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 3, err
    assert [line for line in err.splitlines() if line.startswith("error: ")] == err.splitlines()[-1:]
    assert "some words' changed while it was read; the same command goes on once nothing writes to it" in err
    assert set(own.results().values()) == {"a", "b"}
    own(READS, "--mount", f"{data.words}:words")
    assert set(own.results().values()) == {"two, longer"}


def test_the_key_of_a_worker_reads_reference_data_and_does_nothing_else(own: Runs, tmp_path: Path) -> None:
    data, fab = Data(tmp_path), own.fab
    own(READS, "--mount", f"{data.words}:words")
    key = fab.on("worker-1", "rm -f /tmp/k*; ssh-keygen -q -t ed25519 -N '' -C '' -f /tmp/k; cat /tmp/k.pub").strip()
    folder = Folder(fab.home, fab.fleet)
    hub = folder.load().hub
    ssh = "ssh -i /tmp/k -o BatchMode=yes -o UserKnownHostsFile=/tmp/known -o LogLevel=ERROR"
    fab.on("worker-1", f"echo '{hub.inner} {folder.host_keys.key(hub.address, hub.port)}' >/tmp/known")

    def as_worker(command: str) -> str:
        return fab.on("worker-1", f"{{ timeout 20 {command}; echo exit $?; }} 2>&1 </dev/null")

    def admit(*words: str) -> None:
        done = ssh_to(fab, "hub", shlex.join(let_in_argv("r", "worker-1", *words)))
        assert done.returncode == 0, done.stderr

    admit(key)
    try:
        at = f"admin@{hub.inner}"
        assert "list" in as_worker(f"rsync --rsh='{ssh}' --recursive {at}::reference/words/")
        assert "uid=" not in as_worker(f"{ssh} {at} id")
        assert "exit 0" not in as_worker(f"rsync --rsh='{ssh}' /etc/hostname {at}::reference/words/")
        assert "exit 0" not in as_worker(f"rsync --rsh='{ssh}' /etc/hostname {at}:/tmp/")
        assert "fleet" not in as_worker(f"rsync --rsh='{ssh}' {at}::reference/../")
        assert "exit 0" not in as_worker(f"{ssh} -N -o ExitOnForwardFailure=yes -L 4999:127.0.0.1:4999 {at}")
    finally:
        admit()
    assert "list" not in as_worker(f"rsync --rsh='{ssh}' --recursive {at}::reference/words/")
