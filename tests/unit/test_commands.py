"""The commands of a run: to the letter, and the shell and rsync ones at work on this machine."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest

from fanout import commands
from fanout.commands import Place
from fanout.worker import VANISHED
from tests.unit.samples import HOSTILE, PROBE, read_tree, write_tree
from tests.waiting import wait_until

PLACE = Place("20260101-000000-abcd", "worker-1.0001")
HOME = "/var/lib/fanrun/runs/20260101-000000-abcd"
DOCKER = [
    "sudo", "-n", "docker", "run", "--rm", "--name", "fanrun-20260101-000000-abcd-worker-1.0001",
    "--label", "fanrun.run=20260101-000000-abcd", "--network", "none", "--read-only", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--user", "1000:1001",
    "--memory", "900", "--pids-limit", "1024", "--tmpfs", "/tmp:rw,nosuid,nodev,size=256m", "--log-driver", "none",
    "--env", "FANRUN_REPORT=/report.jsonl", "--volume", f"{HOME}/worker-1.0001.in:/in:ro",
    "--volume", f"{HOME}/worker-1.0001.out/data:/out",
    "--volume", f"{HOME}/worker-1.0001.out/report.jsonl:/report.jsonl",
    "hub:5000/fanrun/image@sha256:00", "--op", "rotate 90", "/in", "/out",
]  # fmt: skip


def test_a_place_is_three_folders() -> None:
    assert (PLACE.home, PLACE.source, PLACE.target) == (HOME, f"{HOME}/worker-1.0001.in", f"{HOME}/worker-1.0001.out")


def test_push_argv() -> None:
    assert commands.push_argv("ssh -F /f", "/src//", "worker-1", PLACE) == [
        "rsync", "--files-from=-", "--from0", "--relative", "--times", "--copy-links", "--chmod=D755,F644",
        "--timeout=60", "--rsh=ssh -F /f", "--", "/src/", f"worker-1:{HOME}/worker-1.0001.in/",
    ]  # fmt: skip


def test_pull_argv() -> None:
    assert commands.pull_argv("ssh -F /f", "worker-1", PLACE, "/staging/") == [
        "rsync", "--recursive", "--times", "--timeout=60", "--rsh=ssh -F /f",
        "--", f"worker-1:{HOME}/worker-1.0001.out/", "/staging/",
    ]  # fmt: skip


def test_batch_argv_and_docker_argv() -> None:
    image, args = "hub:5000/fanrun/image@sha256:00", ("--op", "rotate 90")
    assert commands.docker_argv(PLACE, image, args, PROBE) == DOCKER
    assert commands.batch_argv(PLACE, image, args, PROBE) == [
        "sh", "-c", commands.BATCH, "sh", f"{HOME}/worker-1.0001.out", *DOCKER,
    ]  # fmt: skip


def test_open_stop_and_forget_argv() -> None:
    run = "20260101-000000-abcd"
    assert commands.open_argv(run) == ["sh", "-c", commands.OPEN, "sh", "/var/lib/fanrun/runs", HOME]
    assert commands.stop_argv(run) == ["sh", "-c", commands.STOP, "sh", run, HOME]
    places = [f"{HOME}/worker-1.0001.in", f"{HOME}/worker-1.0001.out"]
    assert commands.forget_argv(PLACE) == ["sh", "-c", commands.DISCARD, "sh", *places]


def test_names() -> None:
    assert commands.names([b"a", b"-x", b"d/#\n\xff"]) == b"./a\0./-x\0./d/#\n\xff\0"
    assert commands.names([]) == b""


# ---- the scripts, under real shells


@pytest.fixture(params=["sh", "dash"])
def shell(request: pytest.FixtureRequest) -> str:
    """A shell that a host's sh may be."""
    return str(request.param)


def run_script(
    shell: str, argv: list[str], *arguments: str | Path, path: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the script of one of our argvs under `shell`, with other arguments."""
    environment = os.environ | ({"PATH": path} if path else {})
    real = [shell, *argv[1:4], *map(str, arguments)]
    return subprocess.run(real, stdin=subprocess.PIPE, capture_output=True, env=environment, check=False)


def run_batch(shell: str, target: Path, *program: str) -> subprocess.CompletedProcess[bytes]:
    """Run BATCH with a stand-in for docker."""
    return run_script(shell, commands.batch_argv(PLACE, "image", (), PROBE), target, *program)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "exit 125"], 125),
        (["sh", "-c", "kill -9 $$"], 137),
        (["/nowhere/program"], 127),
        (["sh", "-c", 'test $# = 2 && test "$1" = \'a  b\' && test -z "$2"', "sh", "a  b", ""], 0),
        (["cat"], 0),
    ],
)
def test_batch_keeps_the_exit_code(shell: str, tmp_path: Path, program: list[str], code: int) -> None:
    target = tmp_path / "a batch's target"
    done = run_batch(shell, target, *program)
    assert done.returncode == 0, done.stderr
    assert (target / "exit").read_text() == f"{code}\n"
    assert sorted(path.name for path in target.iterdir()) == ["data", "exit", "log", "manifest", "report.jsonl"]
    assert (target / "manifest").read_bytes() == (target / "report.jsonl").read_bytes() == b""


def test_batch_keeps_the_last_64_kib_of_output(shell: str, tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo $i 789012345678901234567890; echo $i error >&2; i=$((i+1)); done"
    run_batch(shell, tmp_path, "sh", "-c", script)
    log = (tmp_path / "log").read_bytes()
    assert len(log) == 65536
    assert log.endswith(b"2999 789012345678901234567890\n2999 error\n")


def manifest_of(contents: dict[bytes, bytes]) -> list[bytes]:
    return sorted(hashlib.sha256(data).hexdigest().encode() + b"  ./" + key for key, data in contents.items())


def test_batch_hashes_results_with_hostile_names(shell: str, tmp_path: Path) -> None:
    written = write_tree(tmp_path / "made")
    run_batch(shell, tmp_path / "out", "cp", "-r", f"{tmp_path}/made/.", f"{tmp_path}/out/data/")
    *records, end = (tmp_path / "out" / "manifest").read_bytes().split(b"\0")
    assert end == b""
    assert sorted(records) == manifest_of(written)


def test_batch_opens_results_that_nobody_may_read(shell: str, tmp_path: Path) -> None:
    written = write_tree(tmp_path / "data", (b"locked", b"folder/inner", b"folder/er/most"))
    locked = [tmp_path / "data" / name for name in ("folder/er/most", "folder/er", "folder", "locked")]
    run_batch(shell, tmp_path, "chmod", "000", *map(str, locked))
    assert sorted((tmp_path / "manifest").read_bytes().split(b"\0")[:-1]) == manifest_of(written)
    assert all(path.stat().st_mode & stat.S_IRUSR for path in locked)  # whoever runs this: root could read them closed


def test_batch_hashes_regular_files_alone(shell: str, tmp_path: Path) -> None:
    script = "cd $0; echo x >file; ln -s file link; ln -s /etc/passwd out; mkfifo fifo; mkdir empty"
    run_batch(shell, tmp_path, "sh", "-c", script, f"{tmp_path}/data")
    assert (tmp_path / "exit").read_text() == "0\n"
    assert (tmp_path / "manifest").read_bytes().split(b"\0")[:-1] == manifest_of({b"file": b"x\n"})


def test_batch_that_can_not_end_leaves_no_exit(shell: str, tmp_path: Path) -> None:
    assert run_batch(shell, tmp_path, "rm", "-r", f"{tmp_path}/data").returncode == 1
    assert not (tmp_path / "exit").exists()
    (tmp_path / "file").touch()
    assert run_batch(shell, tmp_path / "file", "touch", f"{tmp_path}/began").returncode == 1
    assert not (tmp_path / "began").exists()


def test_open_clears_what_is_over_a_day_old(shell: str, tmp_path: Path) -> None:
    for name, hours in (("old run", 25), ("young", 23)):
        write_tree(tmp_path / name, (b"-f/a",))
        at = (tmp_path / name).stat().st_mtime - hours * 3600
        os.utime(tmp_path / name, (at, at))
    done = run_script(shell, commands.open_argv("r"), tmp_path, tmp_path / "new")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "young"]


def test_open_makes_the_first_run_and_says_when_it_can_not(shell: str, tmp_path: Path) -> None:
    assert run_script(shell, commands.open_argv("r"), tmp_path / "runs", tmp_path / "runs" / "r").returncode == 0
    assert (tmp_path / "runs" / "r").is_dir()
    (tmp_path / "file").touch()
    assert run_script(shell, commands.open_argv("r"), tmp_path / "file", tmp_path / "file" / "r").returncode == 1


def stand_in(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("containers", ["", "c1\nc2\n"])
def test_stop_ends_the_runs_containers_and_deletes_its_folder(shell: str, tmp_path: Path, containers: str) -> None:
    tools, run = tmp_path / "bin", tmp_path / "my run"
    stand_in(tools, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    stand_in(tools, "docker", f'echo "$*" >>"{tools}/log"; [ $1 = ps ] && printf "{containers}"; :')
    write_tree(run, (b"b.in/a",))
    done = run_script(shell, commands.stop_argv("r"), "r", run, path=f"{tools}:{os.environ['PATH']}")
    assert (done.returncode, done.stderr) == (0, b"")
    expected = ["ps --quiet --filter label=fanrun.run=r", *(["rm --force c1 c2"] if containers else [])]
    assert (tools / "log").read_text().splitlines() == expected
    assert not run.exists()
    wait_until(lambda: [path.name for path in tmp_path.iterdir()] == ["bin"])


def test_discard_doesnt_wait_for_the_deletion(shell: str, tmp_path: Path) -> None:
    """Names are taken as they are; what isn't there is no error."""
    for name in ("-f x", "it's", "kept"):
        write_tree(tmp_path / name, (b"a/b",))
    tools = tmp_path / "bin"
    stand_in(tools, "nice", f'until [ -e "{tmp_path}/go" ]; do sleep 0.05; done; exec "$@"')
    path = f"{tools}:{os.environ['PATH']}"
    paths = [tmp_path / "-f x", tmp_path / "it's", tmp_path / "none"]
    assert run_script(shell, ["sh", "-c", commands.DISCARD, "sh", *map(str, paths)], *paths, path=path).returncode == 0
    assert not any(path.exists() for path in paths)
    assert (tmp_path / ".gone-it's" / "a" / "b").exists()
    (tmp_path / "go").touch()
    wait_until(lambda: {path.name for path in tmp_path.iterdir()} == {"bin", "go", "kept"})


# ---- rsync, from folder to folder


def local(argv: list[str]) -> list[str]:
    """One of our rsync argvs without its host."""
    return [part.removeprefix("worker-1:") for part in argv if not part.startswith("--rsh=")]


def push(src: Path, target: Path, keys: list[bytes]) -> subprocess.CompletedProcess[bytes]:
    argv = [*local(commands.push_argv("ssh", str(src), "worker-1", PLACE))[:-1], f"{target}/"]
    return subprocess.run(argv, input=commands.names(keys), capture_output=True, check=False)


def pull(target: Path, staging: Path) -> subprocess.CompletedProcess[bytes]:
    argv = local(commands.pull_argv("ssh", "worker-1", PLACE, str(staging)))
    return subprocess.run([*argv[:-2], f"{target}/", argv[-1]], capture_output=True, check=False)


def test_hostile_names_arrive_as_they_left(tmp_path: Path) -> None:
    written = write_tree(tmp_path / "src", (*HOSTILE, b"not asked for"))
    del written[b"not asked for"]
    done = push(tmp_path / "src", tmp_path / "in", list(HOSTILE))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert read_tree(tmp_path / "in") == written


def test_pushed_files_are_readable_and_links_are_files(tmp_path: Path) -> None:
    write_tree(tmp_path / "src", (b"folder/private", b"to"))
    (tmp_path / "src" / "link").symlink_to("to")
    (tmp_path / "src" / "folder" / "private").chmod(0o600)
    (tmp_path / "src" / "folder").chmod(0o700)
    assert push(tmp_path / "src", tmp_path / "in", [b"folder/private", b"link"]).returncode == 0
    modes = {path.name: stat.filemode(path.lstat().st_mode) for path in (tmp_path / "in").rglob("*")}
    assert modes == {"folder": "drwxr-xr-x", "private": "-rw-r--r--", "link": "-rw-r--r--"}


def test_a_vanished_input_keeps_no_other_back(tmp_path: Path) -> None:
    written = write_tree(tmp_path / "src", (b"a", b"b"))
    assert push(tmp_path / "src", tmp_path / "in", [b"a", b"gone", b"b"]).returncode in VANISHED
    assert read_tree(tmp_path / "in") == written


def test_results_come_home_without_links_and_devices(tmp_path: Path) -> None:
    written = write_tree(tmp_path / "out")
    (tmp_path / "out" / "link").symlink_to("/etc/passwd")
    (tmp_path / "out" / "up").symlink_to("..")
    os.mkfifo(tmp_path / "out" / "fifo")
    assert pull(tmp_path / "out", tmp_path / "staging").returncode == 0
    assert read_tree(tmp_path / "staging") == written
    assert not any((tmp_path / "staging" / name).exists() for name in ("link", "up", "fifo"))
