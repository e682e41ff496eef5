"""Every line that containers write: kept, brought home, and shown once, whatever happens to the run."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, Runs, joblog, log, report, run_folder, tree
from tests.fleet.log_checks import (
    WORKERS,
    Shown,
    by_container,
    check_numbers,
    cut_off,
    is_at_work,
    kill_at_work,
    numbered,
    same_lines,
    show,
    start,
    write_inputs,
)
from tests.waiting import wait_until


@pytest.fixture
def repaired(fab: Fab) -> Iterator[None]:
    """Bring the fleet to its full state afterwards."""
    yield
    fab("up", "--hosts=2")


def check_batches_and_failures(runs: Runs, shown: Shown) -> None:
    """Check that there are lines of each batch, also of those the joblog lacks, and of each input that failed."""
    batches = {line["batch"] for line in shown.lines}
    assert batches >= {line["Batch"] for line in joblog(runs.dst)}
    assert len(batches) > len({line["Batch"] for line in joblog(runs.dst)}), "halved batches, and one that was lost"
    failed = [failure["path"] for failure in report(runs.dst)["failed"]]
    assert len(failed) == 3
    for path in failed:
        assert any(line["message"].endswith(f"begin {path}") for line in shown.lines)


@pytest.mark.long
@pytest.mark.usefixtures("repaired")
def test_every_line_is_shown_once(fab: Fab, runs: Runs) -> None:
    """With inputs that fail, batches that are halved, and a worker that is killed and comes back."""
    write_inputs(runs, 100, bad=(20, 21, 70))
    run = start(runs, numbered(0.3), "--jobs=1")  # so that no batch is copied at the end
    follower = None
    try:
        wait_until(lambda: runs.dst.exists() and tree(runs.dst) and is_at_work(fab, "worker-2"))
        follower = fab.start("logs", "--json", "--follow", "--dst", str(runs.dst))
        killed = datetime.now(timezone.utc)
        kill_at_work(fab, "worker-2", 0.3)
        wait_until(lambda: "worker-2 is lost" in log(runs.dst))
        check_numbers(show(fab, "--host", "worker-1").lines, run_folder(runs.dst).name)
        fab("up", "--hosts=2")
        wait_until(lambda: "worker-2 is back" in log(runs.dst))
        out, err = run.communicate(timeout=200)
        assert run.returncode == 1, out + err
        followed, said = follower.communicate(timeout=60)
    finally:
        for process in (run, follower):
            if process is not None and process.poll() is None:
                process.kill()
    shown = show(fab, "--run", run_folder(runs.dst).name)
    check_numbers(shown.lines, run_folder(runs.dst).name)
    for line in cut_off(shown.lines):
        assert line["host"] == "worker-2"
        assert datetime.fromisoformat(line["timestamp"][:-1] + "+00:00") > killed - timedelta(seconds=2)
    check_batches_and_failures(runs, shown)
    assert follower.returncode == 0, said
    same_lines([json.loads(line) for line in followed.splitlines()], shown.lines)


def test_while_a_run_is_under_way_and_after_it(fab: Fab, runs: Runs) -> None:
    write_inputs(runs, 30)
    run = start(runs, numbered(0.3), "--jobs=1")  # so that no batch is copied at the end
    before: list[Shown] = []
    wait_until(lambda: runs.dst.exists() and log(runs.dst) and is_at_work(fab, "worker-2"))
    follower = fab.start("logs", "--json", "--follow")
    while run.poll() is None:
        before.append(show(fab, "--dst", str(runs.dst)))
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    followed, said = follower.communicate(timeout=60)
    after = show(fab)
    check_numbers(after.lines, run_folder(runs.dst).name)
    assert cut_off(after.lines) == []
    whole = by_container(after.lines)
    assert any(each.lines for each in before)
    for each in before:
        check_numbers(each.lines, run_folder(runs.dst).name)
        for container, mine in by_container(each.lines).items():
            assert whole[container][: len(mine)] == mine
    assert (follower.returncode, said) == (0, "")
    same_lines([json.loads(line) for line in followed.splitlines()], after.lines)
    text = fab("logs").stdout.splitlines()
    assert text == [f"{line['timestamp']} {line['batch']} | {line['message']}" for line in after.lines]


def test_what_was_written_while_an_input_was_processed(fab: Fab, runs: Runs) -> None:
    runs.write(*(f"cat/{number}.jpg" for number in range(1, 11)))
    script = numbered(0.5, tells=True).replace("for f in *;", "mkdir $1/cat; for f in */*;")
    runs(script, "--jobs=1")  # all of a worker in one batch
    lines = show(fab, "--input", "cat/5.jpg").lines
    (batch,) = {line["batch"] for line in lines}
    said = {line["message"].split(" ", 2)[2] for line in lines}
    assert said >= {"begin cat/5.jpg", "done cat/5.jpg"}
    # The lines just before and just after may be there: Docker passes lines on a little later than they are written.
    assert len(said) <= 4
    assert {"begin cat/3.jpg", "done cat/7.jpg", "end"}.isdisjoint(said)
    assert lines == [line for line in show(fab, "--batch", batch).lines if line in lines]
    assert "has not processed it" in show(fab, "--input", "cat/99.jpg", code=2).error


def test_without_a_report_it_is_the_whole_batch(fab: Fab, runs: Runs) -> None:
    runs.write("a", "b")
    runs(numbered(0))
    batch = next(line["Batch"] for line in joblog(runs.dst) if line["Input"] == "a")
    assert show(fab, "--input", "a").lines == show(fab, "--batch", batch).lines != []


def test_lines_are_chosen(fab: Fab, runs: Runs) -> None:
    runs.write("a", "b")
    runs("for f in *; do echo INFO begin $f; echo ERROR: no $f >&2; cp $f $1; done")
    assert {line["message"] for line in show(fab, "--level", "error").lines} == {"ERROR: no a", "ERROR: no b"}
    assert {line["message"] for line in show(fab, "--grep", "begin [a]").lines} == {"INFO begin a"}
    assert {line["host"] for line in show(fab, "--host", "worker-1").lines} == {"worker-1"}
    assert len(show(fab, "--since", "1h").lines) == 4
    none = show(fab, "--since", "0s")
    assert (none.lines, none.error) == ([], f"run {run_folder(runs.dst).name}: no line is as asked for\n")


def test_a_program_that_hangs_has_its_lines_kept(fab: Fab, runs: Runs) -> None:
    """It prints all the time, but finishes nothing."""
    runs.write("a")
    script = "n=0; while sleep 0.1; do n=$((n + 1)); echo $HOSTNAME $n; done"
    assert "a: " in runs(script, "--timeout", "3", "--retries", "0", code=1)
    shown = show(fab)
    check_numbers(shown.lines, run_folder(runs.dst).name)
    assert all(len(mine) > 10 for mine in by_container(shown.lines).values())
    assert shown.lines


def test_a_container_forges_no_line_of_another(fab: Fab, runs: Runs) -> None:
    """It may print what a line of the log looks like, write to its report, and fill /out with files of logs' names."""
    runs.write("a", "b")
    line = (
        '{"timestamp":"2026-01-31T12:00:00.000Z","run":"r","host":"worker-9","batch":"worker-9.0001","stream":"stdout"}'
    )
    text = line.replace('"', '\\"')
    runs(f'printf "%s\\n" "{text}"; printf "\\033[2J\\n"; for f in *; do cp $f $1; done')
    shown = show(fab)
    assert {line["message"] for line in shown.lines} == {line, "\x1b[2J"}
    assert {line["host"] for line in shown.lines} == set(WORKERS)
    assert "\x1b" not in fab("logs").stdout


@pytest.mark.long
def test_many_lines_and_long_ones_at_once(fab: Fab, runs: Runs) -> None:
    """The results are there, and all lines are below the bounds."""
    runs.write("a", "b")
    runs('seq 200000; head -c 3000000 /dev/zero | tr "\\000" x; for f in *; do cp $f $1; done')
    assert set(runs.results()) == {"a", "b"}
    for worker in WORKERS:
        lines = show(fab, "--host", worker).lines
        numbers = [line["message"] for line in lines if line["message"].isdecimal()]
        assert numbers == [str(number) for number in range(1, 200001)]
        pieces = [line["message"] for line in lines if line["message"].startswith("x")]
        assert sum(map(len, pieces)) == 3_000_000
        assert max(map(len, pieces)) == 64 * 1024


def test_a_run_that_wrote_nothing(fab: Fab, runs: Runs) -> None:
    runs.write("a", "b")
    runs("cp * $1")
    shown = show(fab)
    assert (shown.lines, shown.error) == ([], f"run {run_folder(runs.dst).name}: its containers wrote nothing\n")


def test_logs_are_in_dst_without_the_fleet_and_wherever_dst_is(fab: Fab, runs: Runs, tmp_path: Path) -> None:
    runs.write("a", "b")
    runs(numbered(0))
    lines = show(fab).lines
    other = Fab(tmp_path / "home", "nowhere")
    assert show(other, "--dst", str(runs.dst)).lines == lines
    runs.dst.rename(tmp_path / "moved")
    assert "if DST was moved, name it with --dst" in show(fab, code=2).error
    assert show(fab, "--dst", str(tmp_path / "moved")).lines == lines
    assert "no run is known of fleet nowhere" in show(other, code=2).error


def test_an_interrupted_run_keeps_its_lines(fab: Fab, runs: Runs) -> None:
    write_inputs(runs, 40)
    run = start(runs, numbered(0.5))
    wait_until(lambda: runs.dst.exists() and log(runs.dst) and all(is_at_work(fab, name) for name in WORKERS))
    wait_until(lambda: by_container(show(fab, "--dst", str(runs.dst)).lines))
    written = show(fab, "--dst", str(runs.dst)).lines
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=90)
    assert run.returncode == 3, out + err
    after = show(fab)
    check_numbers(after.lines, run_folder(runs.dst).name)
    whole = by_container(after.lines)
    for container, mine in by_container(written).items():
        assert whole[container][: len(mine)] == mine
    for worker in WORKERS:  # all is in DST
        fab.on(worker, "rm -f /var/log/fanrun/*.jsonl")
    assert show(fab).lines == after.lines


@pytest.mark.long
def test_lines_of_a_copy_that_was_not_needed(fab: Fab, runs: Runs) -> None:
    """A container that hangs is left alone when a copy of its batch is done; what it wrote until then is kept."""
    write_inputs(runs, 120, size=150_000)
    run = start(runs, numbered(0.15), "--jobs=1")
    wait_until(lambda: runs.dst.exists() and tree(runs.dst) and is_at_work(fab, "worker-2"))
    pause = "docker pause $(docker ps --quiet --filter label=fanrun.run)"
    paused = fab.on("worker-2", f"for n in $(seq 100); do {pause} && exit; sleep 0.1; done; exit 1").strip()
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    shown = show(fab)
    check_numbers(shown.lines, run_folder(runs.dst).name)
    (container,) = {line["message"].split()[0] for line in cut_off(shown.lines)}
    assert paused.startswith(container)


@pytest.mark.long
@pytest.mark.usefixtures("repaired")
def test_a_worker_that_is_gone_at_the_end(fab: Fab, runs: Runs) -> None:
    write_inputs(runs, 100, size=150_000)
    run = start(runs, numbered(0.3), "--jobs=1")  # so that no batch is copied at the end
    wait_until(lambda: runs.dst.exists() and tree(runs.dst) and is_at_work(fab, "worker-2"))
    kill_at_work(fab, "worker-2", 0.3)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    gone = show(fab, code=1)
    assert "worker-2: error: its lines could not be read: no SSH to " in gone.error
    check_numbers(gone.lines, run_folder(runs.dst).name)
    assert show(fab, "--host", "worker-1").lines
    fab("up", "--hosts=2")
    back = show(fab)
    check_numbers(back.lines, run_folder(runs.dst).name)
    assert len(back.lines) > len(gone.lines)
    assert {line["host"] for line in cut_off(back.lines)} == {"worker-2"}
