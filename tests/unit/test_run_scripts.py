"""The scripts that open, stop and watch a run, under real shells on this machine."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fanrun.fanout import run_commands
from fanrun.fanout.workers.heartbeat import verdict
from tests.unit.samples import write_filter, write_tree
from tests.unit.worker_scripts import batch_argv, docker, run_open, run_script, stand_in
from tests.waiting import wait_until


def test_open_ends_runs_that_give_no_sign_of_life(shell: str, tmp_path: Path) -> None:
    """However old they are: a batch may take days, and a run that is alive says so."""
    runs, tools = tmp_path / "runs", tmp_path / "bin"
    stand_in(tools, "sudo", f'echo "$*" >>{tmp_path}/asked')
    before = (("20260101-dead", 20), ("20260102-alive", 10), (".gone-a b", 20), (".gone-new", 1), (".ended-old", 20))
    for name, minutes in before:
        write_tree(runs / name, (b"-f/a",))
        at = (runs / name).stat().st_mtime - minutes * 60
        os.utime(runs / name, (at, at))
    done = run_open(shell, runs, "new", path=f"{tools}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    left = {"20260102-alive", ".gone-new", ".ended-20260101-dead", "new"}
    wait_until(lambda: {path.name for path in runs.iterdir()} - {".gone-20260101-dead"} == left)
    asked = (tmp_path / "asked").read_text()
    assert "label=fanrun.run=20260101-dead" in asked, "its containers end with it"
    assert "alive" not in asked


def test_open_makes_the_first_run_and_says_when_it_can_not(shell: str, tmp_path: Path) -> None:
    path = docker(tmp_path, "")
    assert run_open(shell, tmp_path / "runs", "r", path=path).returncode == 0
    assert (tmp_path / "runs" / "r").is_dir()
    (tmp_path / "file").touch()
    assert run_open(shell, tmp_path / "file", "r", path=path).returncode == 1


@pytest.mark.parametrize("containers", ["", "c1\nc2\n"])
def test_stop_ends_the_runs_containers_and_deletes_its_folder(shell: str, tmp_path: Path, containers: str) -> None:
    path, runs = docker(tmp_path, containers), tmp_path / "all runs"
    write_tree(runs, (b"r/b.in/a", b"other/b.in/a"))
    done = run_script(shell, run_commands.stop_argv("r"), runs, "r", path=path)
    assert (done.returncode, done.stderr) == (0, b"")
    expected = [
        "ps --all --filter label=fanrun.run=r --format {{.ID}} {{.Names}}",
        *(["rm --force c1 c2"] if containers else []),
    ]
    assert (tmp_path / "bin" / "log").read_text().splitlines() == expected
    assert not (runs / "r").exists()
    wait_until(lambda: {item.name for item in runs.iterdir()} == {"other", ".ended-r"})


def test_the_inputs_of_an_ended_run_are_kept(shell: str, tmp_path: Path) -> None:
    """Inputs of batches that have ended are kept as well, and those of a run whose client was killed."""
    path, work = docker(tmp_path, ""), tmp_path / "work folder"
    runs = work / "runs"
    for run in ("r", "dead"):
        assert run_open(shell, runs, run, path=path).returncode == 0
    files = write_tree(runs, (b"r/.gone-w.1.in/a", b"r/w.2.in/sub/b", b"dead/w.3.in/c", b"r/w.2.out/data/result"))
    assert run_script(shell, run_commands.stop_argv("r"), runs, "r", path=path).returncode == 0
    assert run_open(shell, runs, "new", "dead", path=path).returncode == 0
    wait_until(lambda: not list(runs.glob(".gone-*")))
    kept = {path.read_bytes() for path in (work / "cache").glob("?" * 64)}
    assert kept == {content for key, content in files.items() if b".in/" in key}
    assert (work / "cache" / "size").read_text().startswith("3 ")


@pytest.mark.parametrize("fails", ["ps", "rm"])
def test_a_run_whose_containers_may_be_left_keeps_a_folder(shell: str, tmp_path: Path, fails: str) -> None:
    """Docker does not answer, or can't remove one: so it is known that there is something to end."""
    path, runs = docker(tmp_path, ""), tmp_path / "all runs"
    write_tree(runs, (b"r/turn", b"r/b.in/a", b"dead/b.in/a"))
    stand_in(tmp_path / "bin", "docker", f"[ $1 = {fails} ] && exit 1; [ $1 != ps ] || echo c1 none")
    assert run_script(shell, run_commands.stop_argv("r"), runs, "r", path=path).returncode != 0
    done = run_open(shell, runs, "new", "dead", "r", path=path)
    assert (done.returncode, done.stdout) == (0, b"left dead\nleft r\n")
    assert [list((runs / name).iterdir()) for name in ("r", "dead")] == [[], []]
    docker(tmp_path, "")
    assert run_open(shell, runs, "new", "dead", "r", path=path).stdout == b""
    wait_until(lambda: {item.name for item in runs.iterdir() if item.name[0] != "."} == {"new"})


def test_a_late_command_does_not_open_a_run_that_is_ended(shell: str, tmp_path: Path) -> None:
    """Neither after that, nor where it began before and is not through yet."""
    path, runs = docker(tmp_path, ""), tmp_path / "all runs"
    wait = f'[ "$4" != label=fanrun.run=dead ] || until [ -e "{tmp_path}/go" ]; do touch "{tmp_path}/asks"; done'
    stand_in(tmp_path / "bin", "docker", wait)
    write_tree(runs, (b"dead/b.in/a",))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(run_open, shell, runs, "r", "dead", path=path)
        wait_until((tmp_path / "asks").exists)
        assert run_script(shell, run_commands.stop_argv("r"), runs, "r", path=path).returncode == 0
        (tmp_path / "go").touch()
        assert late.result().returncode == 1
    assert run_open(shell, runs, "r", path=path).returncode == 1
    wait_until(lambda: {item.name for item in runs.iterdir()} == {".ended-r", ".ended-dead"})


def test_a_batch_that_began_after_the_end_keeps_its_container(shell: str, tmp_path: Path) -> None:
    """A run may come back to a worker while what ends its former containers there is still at work."""
    runs = tmp_path / "all runs"
    path, names = docker(tmp_path, ""), "c1 fanrun-r-w.0001\\nc2 fanrun-r-w.0002\\nc3 other\\n"
    log = tmp_path / "bin" / "log"
    script = f'echo "$*" >>"{log}"; [ $1 = ps ] || exit 0; mkdir -p "{runs}/r/w.0002.out"; printf "{names}"'
    stand_in(tmp_path / "bin", "docker", script)
    write_tree(runs, (b"r/w.0001.out/a",))
    done = run_script(shell, run_commands.stop_argv("r"), runs, "r", path=path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert log.read_text().splitlines()[1:] == ["rm --force c1 c3"]


def test_open_ends_what_dead_runs_left(shell: str, tmp_path: Path) -> None:
    """Itself too, when it comes back to a worker that was lost."""
    path, runs = docker(tmp_path, "c1\nc2\n"), tmp_path / "all runs"
    write_tree(runs, (b"r/b.in/a", b"dead/b.in/a", b"other/b.in/a"))
    for dead in (["r", "dead"], ["dead"], ["r"]):
        done = run_open(shell, runs, "r", *dead, path=path)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert {item.name for item in (runs / "r").iterdir()} == {
            "turn",
            "identity",
            "log_filter.py",
            "log_files.py",
            "log_spool.py",
            "cache.py",
            "cache.limit",
        }
        subprocess.run(["flock", str(runs / "r" / "turn"), "true"], check=True, timeout=60)
    ended = [
        f"ps --all --filter label=fanrun.run={name} --format {{{{.ID}}}} {{{{.Names}}}}"
        for name in ("r", "dead", "dead", "r")
    ]
    told = [line for line in (tmp_path / "bin" / "log").read_text().splitlines() if line.startswith(("ps", "rm"))]
    assert told == [line for asked in ended for line in (asked, "rm --force c1 c2")]
    wait_until(lambda: {item.name for item in runs.iterdir()} == {"other", "r", ".ended-dead"})
    assert (runs / "other" / "b.in" / "a").exists()


@pytest.mark.parametrize("containers", ["", "c1\nc2\n"])
def test_halt_gives_containers_time_to_end(shell: str, tmp_path: Path, containers: str) -> None:
    (tmp_path / "r").mkdir()
    done = run_script(shell, run_commands.halt_argv("r", 2), "r", "2", tmp_path, path=docker(tmp_path, containers))
    assert (tmp_path / "r" / "halt").exists()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    expected = ["ps --quiet --filter label=fanrun.run=r", *(["stop -t 2 c1 c2"] if containers else [])]
    assert (tmp_path / "bin" / "log").read_text().splitlines() == expected


def test_halt_waits_for_a_container_that_is_about_to_start(shell: str, tmp_path: Path) -> None:
    """Its batch has looked for `halt` before it was there, and docker does not list the container yet."""
    path, run = docker(tmp_path, ""), tmp_path / "r"
    write_tree(run, (b"identity/env",))
    write_filter(run)
    stand_in(
        tmp_path / "bin",
        "docker",
        f'cd "{run}"; [ -e running ] || exit 0; [ $1 != ps ] || exec echo c1; rm running; echo "$*" >>log',
    )
    start = f'touch "{run}/turned"; until [ -e "{run}/halt" ]; do sleep 0.02; done; sleep 0.5; touch "{run}/running"'
    wait = f'tries=0; while [ -e "{run}/running" ] && [ $tries -lt 500 ]; do sleep 0.02; tries=$((tries + 1)); done'
    argv = batch_argv(shell, run / "b.out", "sh", "-c", f"{start}; {wait}")
    with subprocess.Popen(argv) as batch:
        wait_until((run / "turned").exists)
        run_script(shell, run_commands.halt_argv("r", 2), "r", "2", tmp_path, path=path)
        assert (run / "log").read_text() == "stop -t 2 c1\n"
        assert batch.wait(30) == 0


@pytest.mark.parametrize(("answers", "code"), [("exit 0", 0), ("echo gone >&2; exit 1", 1), ("kill -9 $$", 137)])
def test_a_beat_tells_of_docker_and_the_disk_until_nobody_listens(
    shell: str, tmp_path: Path, answers: str, code: int
) -> None:
    tools = tmp_path / "bin"
    marks = [tmp_path / "lease", tmp_path / "run"]
    for mark in marks:
        mark.touch()
        os.utime(mark, (1, 1))
    stand_in(tools, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    stand_in(tools, "docker", f'[ "$*" = version ] || exit 99; {answers}')
    argv = [shell, *run_commands.heartbeat_argv("r1", 1)[3:6], str(tmp_path), "0.05", *map(str, marks)]
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.stdout.close()
        assert process.wait(20) != 0
    assert all(mark.stat().st_mtime > 1 for mark in marks), "the host and the run are alive"
    disk = os.statvfs(tmp_path)
    for line in lines:
        said, blocks, size, _, cpus = map(float, line.split())
        assert cpus >= 1
        assert said == code
        assert blocks * size == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.1)
        assert verdict(line) == ("its Docker does not answer" if code else "")


@pytest.mark.parametrize("prefix", ["", "sudo -n"])
@pytest.mark.parametrize(("opens", "said"), [("echo left r1", "left r1\n{}\n"), ("exit 3", "")])
def test_a_host_is_asked_once_its_run_is_open(shell: str, opens: str, said: str, prefix: str) -> None:
    words = ("/work", "/lease", "/mark", "15")
    said = said.format(" ".join([*words, *prefix.split()]))
    argv = run_commands.open_and_probe_argv("r", "i")
    done = run_script(shell, argv, 'echo "$*"', *words, prefix, "sh", "-c", opens)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0 if said else 3, said, b"")
