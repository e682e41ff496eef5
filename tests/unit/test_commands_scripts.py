"""The shell scripts of a run, under real shells on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from fanrun.fanout import commands
from fanrun.fanout.commands import BatchFolder, LogSource, Program
from fanrun.fanout.results.container_end import parse_ending
from fanrun.fanout.workers.heartbeat import verdict
from tests.unit.samples import PROBE, write_filter, write_tree
from tests.waiting import wait_until

PLACE, SOURCE = BatchFolder("20260101-000000-abcd", "worker-1.0001"), LogSource("default", "worker-1")
FILTER = commands.log_filter()
NO_LOG = ["/nowhere/spool", '"run":"r"', "0", "0"]


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


def run_batch(
    shell: str,
    target: Path,
    *program: str,
    timeout: int = 0,
    path: str | None = None,
    room: int = 0,
    spent: Sequence[Path] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run BATCH over a program that stands in for docker."""
    write_tree(target.parent, (b"identity/env",))
    write_filter(target.parent)
    argv = commands.batch_argv(PLACE, Program("image"), PROBE, SOURCE)
    return run_script(
        shell,
        argv,
        target,
        "a name",
        "65532:65532",
        str(timeout),
        str(room),
        target.parent / "spool.jsonl",
        commands.log_fields(PLACE, SOURCE),
        "33554432",
        "1073741824",
        str(len(spent)),
        *spent,
        *program,
        path=path,
    )


def code_of(target: Path) -> int:
    """The exit code that a batch kept, and with it a look at the rest of its end."""
    return parse_ending((target / "exit").read_bytes(), b"").code


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
    assert code_of(target) == code
    printed = {"log.jsonl.gz", "times"} if (target / "log").read_bytes() else set()
    names = {path.name for path in target.iterdir()}
    assert names == {"data", "exit", "links", "log", "manifest", "report.jsonl"} | printed
    assert (target / "manifest").read_bytes() == (target / "report.jsonl").read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a file")
def test_a_batch_of_roots_gives_the_program_what_it_writes_to(shell: str, request: pytest.FixtureRequest) -> None:
    script = 'cd "$0" && echo {} >>report.jsonl && mkdir -m 700 data/d && umask 077 && echo x >data/d/a && id -u'
    drop = ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups"]
    target = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="fanrun-test-")) / "out"  # pytest's folders are root's alone
    target.parent.chmod(0o755)
    request.addfinalizer(lambda: shutil.rmtree(target.parent))
    done = run_batch(shell, target, *drop, "sh", "-c", script, str(target))
    assert done.returncode == 0, done.stderr
    assert (target / "log").read_text() == "65532\n"
    assert code_of(target) == 0
    assert (target / "manifest").read_bytes().split(b"\0")[:-1] == manifest_of({b"d/a": b"x\n"})


def test_batch_tells_how_long_the_program_took(shell: str, tmp_path: Path) -> None:
    run_batch(shell, tmp_path / "out", "sleep", "0.2")
    assert 0.2 <= parse_ending((tmp_path / "out" / "exit").read_bytes(), b"").seconds < 60


Batching = Future[subprocess.CompletedProcess[bytes]]


def two_batches(pool: ThreadPoolExecutor, shell: str, run: Path, tmp_path: Path) -> tuple[Batching, Batching]:
    """One that holds the run's turn until tmp_path/go is there, and one that waits for it to make tmp_path/second."""
    hold = f'echo begun >"{tmp_path}/began"; while [ ! -e "{tmp_path}/go" ]; do sleep 0.02; done; ls "{tmp_path}"'
    first = pool.submit(run_batch, shell, run / "one", "sh", "-c", hold)
    wait_until((tmp_path / "began").exists)
    second = pool.submit(run_batch, shell, run / "two", "touch", f"{tmp_path}/second")
    wait_until((run / "two").exists)
    return first, second


def test_batches_of_a_run_wait_for_their_turn(shell: str, tmp_path: Path) -> None:
    """One holds the turn until it is let go; the other begins only then."""
    with ThreadPoolExecutor() as pool:
        first, second = two_batches(pool, shell, tmp_path, tmp_path)
        (tmp_path / "go").touch()
        assert (first.result().returncode, second.result().returncode) == (0, 0)
    assert "second" not in (tmp_path / "one" / "log").read_text()
    assert (tmp_path / "second").exists()


@pytest.mark.parametrize("how", ["halted", "gone"])
def test_a_batch_whose_run_is_over_has_no_turn(shell: str, tmp_path: Path, how: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with ThreadPoolExecutor() as pool:
        first, second = two_batches(pool, shell, run, tmp_path)
        if how == "halted":
            (run / "halt").touch()
        else:
            run.rename(tmp_path / "discarded")
        (tmp_path / "go").touch()
        assert second.result().returncode != 0  # 2 from dash, if it was just opening a file
        first.result()
    assert not (tmp_path / "second").exists()


def test_batch_tells_what_is_free(shell: str, tmp_path: Path) -> None:
    run_batch(shell, tmp_path, "true")
    disk = os.statvfs(tmp_path)
    ending = parse_ending((tmp_path / "exit").read_bytes(), b"")
    assert ending.free == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.1)
    assert ending.inodes == (pytest.approx(disk.f_ffree, rel=0.1) if disk.f_files else None)


def test_batch_that_can_not_keep_its_results_says_so(shell: str, tmp_path: Path) -> None:
    """A disk that is full, as sha256sum finds it."""
    stand_in(tmp_path / "bin", "sha256sum", "exit 1")
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    done = run_batch(shell, tmp_path / "out", "touch", f"{tmp_path}/out/data/a", path=path)
    assert done.returncode == 1
    assert done.stderr.startswith(b"it can't keep its results (")
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "out" / "exit").exists()


def test_batch_keeps_the_last_64_kib_of_output(shell: str, tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo $i 789012345678901234567890; echo $i error >&2; i=$((i+1)); done"
    run_batch(shell, tmp_path, "sh", "-c", script)
    log = (tmp_path / "log").read_bytes()
    assert len(log) == 65536
    assert b"\n2999 789012345678901234567890\n" in log
    assert b"\n2999 error\n" in log


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
    assert code_of(tmp_path) == 0
    assert (tmp_path / "manifest").read_bytes().split(b"\0")[:-1] == manifest_of({b"file": b"x\n"})


def test_batch_that_can_not_end_leaves_no_exit(shell: str, tmp_path: Path) -> None:
    assert run_batch(shell, tmp_path, "rm", "-r", f"{tmp_path}/data").returncode == 1
    assert not (tmp_path / "exit").exists()
    (tmp_path / "file").touch()
    assert run_batch(shell, tmp_path / "file", "touch", f"{tmp_path}/began").returncode == 1
    assert not (tmp_path / "began").exists()


@pytest.fixture
def killer(tmp_path: Path) -> str:
    """A PATH whose `sudo -n docker kill` ends the process group that stands in `group`, and tells what it was told."""
    tools = tmp_path / "bin"
    stand_in(tools, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    stand_in(
        tools,
        "docker",
        f'[ "$1" != ps ] || exec echo id; echo "$*" >>"{tools}/log"; kill -9 -$(cat "{tmp_path}/group")',
    )
    return f"{tools}:{os.environ['PATH']}"


def container(tmp_path: Path, script: str) -> list[str]:
    """A program in a process group of its own, as a container's are."""
    return ["setsid", "--wait", "sh", "-c", f'echo $$ >"{tmp_path}/group"; cd "{tmp_path}/out"; {script}']


@pytest.mark.parametrize(
    "script",
    ["exec sleep 100", "trap '' TERM; echo begun >data/a; sleep 100", "while :; do echo busy; sleep 0.1; done"],
)
def test_a_program_that_finishes_nothing_is_ended(tmp_path: Path, killer: str, script: str) -> None:
    """Words are no results; what it did before is kept."""
    begun = time.monotonic()
    done = run_batch("sh", tmp_path / "out", *container(tmp_path, script), timeout=1, path=killer)
    assert (done.returncode, code_of(tmp_path / "out")) == (0, 124), done.stderr
    assert 1 <= time.monotonic() - begun < 50
    assert (tmp_path / "bin" / "log").read_text() == "kill a name\n"
    kept = {b"a": b"begun\n"} if "data/a" in script else {}
    assert sorted((tmp_path / "out" / "manifest").read_bytes().split(b"\0")[:-1]) == manifest_of(kept)


def test_a_container_ends_when_its_run_gives_no_sign_of_life(shell: str, tmp_path: Path, killer: str) -> None:
    """Nobody would fetch what it does; what waits for its turn does not begin."""
    stale = f'touch -d "{commands.EXPIRY + 1} minutes ago" "{tmp_path}"'
    script = f"cd ..; [ -e began ] || {{ touch began; sleep 3; {stale}; }}; exec sleep 100"
    done = run_batch(shell, tmp_path / "out", *container(tmp_path, script), timeout=200, path=killer)
    assert (done.returncode, code_of(tmp_path / "out")) == (0, 137), done.stderr
    assert (tmp_path / "bin" / "log").read_text() == "kill a name\n"
    assert (tmp_path / "halt").exists()
    assert run_batch(shell, tmp_path / "two", "touch", f"{tmp_path}/second").returncode == 1
    assert not (tmp_path / "second").exists()


def test_a_batch_of_a_run_that_was_ended_does_not_begin(shell: str, tmp_path: Path) -> None:
    """A command may be late: the folder is not made anew."""
    argv = [
        shell,
        "-c",
        commands.BATCH,
        "sh",
        str(tmp_path / "r" / "out"),
        "a name",
        "1:1",
        "0",
        "0",
        *NO_LOG,
        "0",
        "true",
    ]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 1
    assert not (tmp_path / "r").exists()


def test_a_program_that_goes_on_finishing_is_not_ended(tmp_path: Path) -> None:
    """It takes twice as long as the timeout, but never so long for one; results and report lines count alike."""
    stand_in(tmp_path / "bin", "sudo", f'[ "$3" != ps ] || exec echo id; echo "$*" >>"{tmp_path}/bin/log"')
    path = f"{tmp_path}/bin:{os.environ['PATH']}"

    def go_on(name: str, step: str) -> int:
        script = f'cd "$1"; mkdir data/d; for n in 1 2 3 4 5 6 7 8; do {step}; sleep 0.5; done; exit 3'
        run_batch("sh", tmp_path / name, "sh", "-c", script, "sh", str(tmp_path / name), timeout=2, path=path)
        return code_of(tmp_path / name)

    with ThreadPoolExecutor() as pool:
        steps = {"results": "echo . >data/d/$n", "report": "echo {} >>report.jsonl"}
        assert list(pool.map(go_on, steps.keys(), steps.values())) == [3, 3]
    assert not (tmp_path / "bin" / "log").exists()


def test_nobody_watches_a_program_that_has_ended(tmp_path: Path, killer: str) -> None:
    """Its name may be another container's by then; and without a timeout nobody watches at all."""
    for timeout in (0, 1):
        run_batch("sh", tmp_path / "out", *container(tmp_path, "exit 0"), timeout=timeout, path=killer)
        assert code_of(tmp_path / "out") == 0
    argv = ["ps", "-eo", "args"]
    out = os.fsencode(tmp_path / "out")
    wait_until(lambda: out not in subprocess.run(argv, capture_output=True, check=True).stdout)


def test_open_ends_runs_that_give_no_sign_of_life(shell: str, tmp_path: Path) -> None:
    """However old they are: a batch may take days, and a run that is alive says so."""
    runs, tools = tmp_path / "runs", tmp_path / "bin"
    stand_in(tools, "sudo", f'echo "$*" >>{tmp_path}/asked')
    before = (("20260101-dead", 20), ("20260102-alive", 10), (".gone-a b", 20), (".gone-new", 1), (".ended-old", 20))
    for name, minutes in before:
        write_tree(runs / name, (b"-f/a",))
        at = (runs / name).stat().st_mtime - minutes * 60
        os.utime(runs / name, (at, at))
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    argv = [shell, "-c", commands.OPEN, "sh", str(runs), "new", "image", "65532", str(tmp_path / "logs"), *FILTER]
    done = subprocess.run(argv, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    left = {"20260102-alive", ".gone-new", ".ended-20260101-dead", "new"}
    wait_until(lambda: {path.name for path in runs.iterdir()} - {".gone-20260101-dead"} == left)
    asked = (tmp_path / "asked").read_text()
    assert "label=fanrun.run=20260101-dead" in asked, "its containers end with it"
    assert "alive" not in asked


def test_open_makes_the_first_run_and_says_when_it_can_not(shell: str, tmp_path: Path) -> None:
    path, argv = docker(tmp_path, ""), commands.open_argv("r", "image")
    assert (
        run_script(
            shell, argv, tmp_path / "runs", "r", "image", "65532", tmp_path / "logs", *FILTER, path=path
        ).returncode
        == 0
    )
    assert (tmp_path / "runs" / "r").is_dir()
    (tmp_path / "file").touch()
    assert (
        run_script(
            shell, argv, tmp_path / "file", "r", "image", "65532", tmp_path / "logs", *FILTER, path=path
        ).returncode
        == 1
    )


# A container whose image has these files and variables; "none" has no such file.
IMAGE = r"""
case $1 in
  create) [ ! -e no-image ] && echo c1 ;;
  cp) tar -cf - -C "FILES" "${3#*:/etc/}" ;;
  inspect) cat "FILES/variables" ;;
  rm) echo "removed $2" >>"FILES/log" ;;
  *) : ;;
esac
"""


@pytest.mark.parametrize(
    ("uid", "files", "user", "group", "variables"),
    [
        (1000, {}, "fanrun", "fanrun", ["LANG=C.UTF-8", "USER=fanrun", "LOGNAME=fanrun"]),
        (0, {"passwd": "nonroot:x:65532:65532::/home:/bin/false"}, "nonroot", "nonroot",
         ["LANG=C.UTF-8", "USER=nonroot", "LOGNAME=nonroot"]),
        (1000, {"passwd": "root:x:0:0::/:\nmary:x:1000:7::/home/mary:\njo:x:1000:8::/:\n", "group": "staff:x:1000:\n"},
         "mary", "staff", ["LANG=C.UTF-8", "USER=mary", "LOGNAME=mary"]),
        (1000, {"variables": "PATH=/bin\nLANG=de_DE.UTF-8\n"}, "fanrun", "fanrun", ["USER=fanrun", "LOGNAME=fanrun"]),
        (1000, {"variables": "LC_ALL=C\nUSER=me\nLOGNAME=me"}, "fanrun", "fanrun", []),
        (1000, {"variables": "LANGUAGE=de\nXLANG=1\nLC_CTYPE=C"}, "fanrun", "fanrun",
         ["LANG=C.UTF-8", "USER=fanrun", "LOGNAME=fanrun"]),
    ],
)  # fmt: skip
def test_a_containers_files_are_the_images_and_name_its_user(
    shell: str, tmp_path: Path, uid: int, files: dict[str, str], user: str, group: str, variables: list[str]
) -> None:
    """Its user's entry stands first, so it is the one that is found by the number and by the name."""
    image, tools = tmp_path / "image", tmp_path / "bin"
    write_tree(tmp_path, (b"image/variables",))
    for name, text in ({"variables": ""} | files).items():
        (image / name).write_text(text)
    stand_in(tools, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    stand_in(tools, "docker", IMAGE.replace("FILES", str(image)))
    stand_in(tools, "id", f"echo {uid}")
    path, identity = f"{tools}:{os.environ['PATH']}", tmp_path / "runs" / "r" / "identity"
    argv = commands.open_argv("r", "image")
    done = run_script(shell, argv, tmp_path / "runs", "r", "image", "65532", tmp_path / "logs", *FILTER, path=path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    wait_until((identity / "env").exists)
    number = uid or 65532
    first, *rest = (identity / "passwd").read_text().splitlines()
    assert first == f"{user}:x:{number}:{number}:{user}:/tmp:/bin/sh"
    assert rest == files.get("passwd", "").splitlines()
    groups = (identity / "group").read_text().splitlines()
    assert groups[0] == files.get("group", f"{group}:x:{number}:").splitlines()[0]
    assert (identity / "env").read_text().splitlines() == variables
    assert {stat.S_IMODE((identity / name).stat().st_mode) for name in ("passwd", "group")} == {0o644}
    assert (image / "log").read_text() == "removed c1\n"


def test_an_image_is_asked_for_them_once(shell: str, tmp_path: Path) -> None:
    """Its next run has them at once, on a host where this image was not used for long as well; old ones go."""
    image, tools, known = tmp_path / "image", tmp_path / "bin", tmp_path / "identity"
    write_tree(tmp_path, (b"image/variables", b"identity/old/env"))
    (image / "passwd").write_text("mary:x:1000:7::/home/mary:\n")
    stand_in(tools, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    stand_in(tools, "docker", IMAGE.replace("FILES", str(image)))
    stand_in(tools, "id", "echo 1000")
    os.utime(known / "old", (0, 0))
    found = []
    for run in ("first", "second"):
        argv, here = commands.open_argv(run, "hub/i@sha256:12"), tmp_path / "runs" / run / "identity"
        run_script(
            shell,
            argv,
            tmp_path / "runs",
            run,
            "hub/i@sha256:12",
            "65532",
            tmp_path / "logs",
            *FILTER,
            path=f"{tools}:{os.environ['PATH']}",
        )
        if run == "first":
            wait_until((known / "12").exists)
            os.utime(known / "12", (0, 0))
        found.append({name: (here / name).read_bytes() for name in ("passwd", "group", "env")})
        assert stat.S_IMODE((here / "passwd").stat().st_mode) == 0o644
    assert found[0] == found[1]
    assert found[0]["passwd"].startswith(b"mary:x:1000:1000:")
    assert (image / "log").read_text() == "removed c1\n"
    assert [path.name for path in known.iterdir()] == ["12"]


@pytest.mark.parametrize("fails", ["inspect", "rm"])
def test_what_docker_gave_only_in_part_is_not_kept(shell: str, tmp_path: Path, fails: str) -> None:
    image, tools = tmp_path / "image", tmp_path / "bin"
    write_tree(tmp_path, (b"image/variables",))
    stand_in(tools, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    stand_in(tools, "docker", f"[ $1 != {fails} ] || exit 1\n" + IMAGE.replace("FILES", str(image)))
    path, run = f"{tools}:{os.environ['PATH']}", tmp_path / "runs" / "r"
    run_script(
        shell,
        commands.open_argv("r", "i@sha256:1"),
        run.parent,
        "r",
        "i@sha256:1",
        "65532",
        tmp_path / "logs",
        *FILTER,
        path=path,
    )
    wait_until((run / "identity" / "env").exists)
    subprocess.run(["flock", str(run / "turn"), "true"], check=True, timeout=60)
    assert not (tmp_path / "identity").exists()


def open_run(shell: str, top: Path, path: str) -> None:
    """Open the run "r" under top/runs."""
    argv = commands.open_argv("r", "image")
    run_script(shell, argv, top / "runs", "r", "image", "65532", top / "logs", *FILTER, path=path)


def test_without_the_image_a_container_has_files_of_its_own(shell: str, tmp_path: Path) -> None:
    """Docker tells what is wrong when the container is started."""
    stand_in(tmp_path / "bin", "docker", "exit 1")
    path, identity = docker(tmp_path, ""), tmp_path / "runs" / "r" / "identity"
    stand_in(tmp_path / "bin", "docker", "exit 1")
    open_run(shell, tmp_path, path)
    wait_until((identity / "env").exists)
    assert (identity / "passwd").read_text().count("\n") == (identity / "group").read_text().count("\n") == 1
    assert not (tmp_path / "identity").exists(), "the next run asks again"


def test_a_first_batch_waits_for_the_files_of_its_container(shell: str, tmp_path: Path) -> None:
    path, run = docker(tmp_path, ""), tmp_path / "runs" / "r"
    stand_in(tmp_path / "bin", "docker", f'until [ -e "{tmp_path}/go" ]; do sleep 0.02; done; exit 1')
    open_run(shell, tmp_path, path)
    assert not (run / "identity" / "env").exists(), "nobody waited for it"
    argv = [shell, "-c", commands.BATCH, "sh", str(run / "b.out"), "a name", "65532:65532", "0", "0", *NO_LOG, "0"]
    with subprocess.Popen([*argv, "cat", str(run / "identity" / "env")], stderr=subprocess.PIPE) as batch:
        wait_until((run / "b.out").exists)
        (tmp_path / "go").touch()
        assert batch.communicate()[1] == b""
        assert batch.returncode == 0
    assert (run / "b.out" / "log").read_text().startswith("LANG=C.UTF-8\nUSER=")


def test_a_batch_without_these_files_does_not_begin(shell: str, tmp_path: Path) -> None:
    """Docker would make folders in the place of its files, and the program would be blamed."""
    argv = [shell, "-c", commands.BATCH, "sh", str(tmp_path / "out"), "a name", "1:1", "0", "0", *NO_LOG, "0"]
    done = subprocess.run([*argv, "touch", f"{tmp_path}/began"], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"it can't keep its results (")
    assert not (tmp_path / "began").exists()


def stand_in(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def docker(tmp_path: Path, containers: str) -> str:
    """A PATH with a docker that has these containers, and tells what it was told."""
    tools = tmp_path / "bin"
    stand_in(tools, "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    stand_in(tools, "docker", f'echo "$*" >>"{tools}/log"; [ $1 = ps ] && printf "{containers}"; :')
    return f"{tools}:{os.environ['PATH']}"


@pytest.mark.parametrize("containers", ["", "c1\nc2\n"])
def test_stop_ends_the_runs_containers_and_deletes_its_folder(shell: str, tmp_path: Path, containers: str) -> None:
    path, runs = docker(tmp_path, containers), tmp_path / "all runs"
    write_tree(runs, (b"r/b.in/a", b"other/b.in/a"))
    done = run_script(shell, commands.stop_argv("r"), runs, "r", path=path)
    assert (done.returncode, done.stderr) == (0, b"")
    expected = [
        "ps --all --filter label=fanrun.run=r --format {{.ID}} {{.Names}}",
        *(["rm --force c1 c2"] if containers else []),
    ]
    assert (tmp_path / "bin" / "log").read_text().splitlines() == expected
    assert not (runs / "r").exists()
    wait_until(lambda: {item.name for item in runs.iterdir()} == {"other", ".ended-r"})


@pytest.mark.parametrize("fails", ["ps", "rm"])
def test_a_run_whose_containers_may_be_left_keeps_a_folder(shell: str, tmp_path: Path, fails: str) -> None:
    """Docker does not answer, or can't remove one: so it is known that there is something to end."""
    path, runs = docker(tmp_path, ""), tmp_path / "all runs"
    write_tree(runs, (b"r/turn", b"r/b.in/a", b"dead/b.in/a"))
    stand_in(tmp_path / "bin", "docker", f"[ $1 = {fails} ] && exit 1; [ $1 != ps ] || echo c1 none")
    assert run_script(shell, commands.stop_argv("r"), runs, "r", path=path).returncode != 0
    opening = [*commands.open_argv("new", "i", ["dead", "r"])]
    done = run_script(shell, opening, runs, "new", "i", "65532", "/logs", *FILTER, "dead", "r", path=path)
    assert (done.returncode, done.stdout) == (0, b"left dead\nleft r\n")
    assert [list((runs / name).iterdir()) for name in ("r", "dead")] == [[], []]
    docker(tmp_path, "")
    assert run_script(shell, opening, runs, "new", "i", "65532", "/logs", *FILTER, "dead", "r", path=path).stdout == b""
    wait_until(lambda: {item.name for item in runs.iterdir() if item.name[0] != "."} == {"new"})


def test_a_late_command_does_not_open_a_run_that_is_ended(shell: str, tmp_path: Path) -> None:
    """Neither after that, nor where it began before and is not through yet."""
    path, runs = docker(tmp_path, ""), tmp_path / "all runs"
    wait = f'[ "$4" != label=fanrun.run=dead ] || until [ -e "{tmp_path}/go" ]; do touch "{tmp_path}/asks"; done'
    stand_in(tmp_path / "bin", "docker", wait)
    write_tree(runs, (b"dead/b.in/a",))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(
            run_script,
            shell,
            commands.open_argv("r", "i", ["dead"]),
            runs,
            "r",
            "i",
            "65532",
            tmp_path / "logs",
            *FILTER,
            "dead",
            path=path,
        )
        wait_until((tmp_path / "asks").exists)
        assert run_script(shell, commands.stop_argv("r"), runs, "r", path=path).returncode == 0
        (tmp_path / "go").touch()
        assert late.result().returncode == 1
    assert (
        run_script(
            shell, commands.open_argv("r", "i"), runs, "r", "i", "65532", tmp_path / "logs", *FILTER, path=path
        ).returncode
        == 1
    )
    wait_until(lambda: {item.name for item in runs.iterdir()} == {".ended-r", ".ended-dead"})


def test_a_batch_that_began_after_the_end_keeps_its_container(shell: str, tmp_path: Path) -> None:
    """A run may come back to a worker while what ends its former containers there is still at work."""
    runs = tmp_path / "all runs"
    path, names = docker(tmp_path, ""), "c1 fanrun-r-w.0001\\nc2 fanrun-r-w.0002\\nc3 other\\n"
    log = tmp_path / "bin" / "log"
    script = f'echo "$*" >>"{log}"; [ $1 = ps ] || exit 0; mkdir -p "{runs}/r/w.0002.out"; printf "{names}"'
    stand_in(tmp_path / "bin", "docker", script)
    write_tree(runs, (b"r/w.0001.out/a",))
    done = run_script(shell, commands.stop_argv("r"), runs, "r", path=path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert log.read_text().splitlines()[1:] == ["rm --force c1 c3"]


def test_open_ends_what_dead_runs_left(shell: str, tmp_path: Path) -> None:
    """Itself too, when it comes back to a worker that was lost."""
    path, runs = docker(tmp_path, "c1\nc2\n"), tmp_path / "all runs"
    write_tree(runs, (b"r/b.in/a", b"dead/b.in/a", b"other/b.in/a"))
    for dead in (["r", "dead"], ["dead"], ["r"]):
        done = run_script(
            shell,
            commands.open_argv("r", "i", dead),
            runs,
            "r",
            "i",
            "65532",
            tmp_path / "logs",
            *FILTER,
            *dead,
            path=path,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert {item.name for item in (runs / "r").iterdir()} == {"turn", "identity", "log_filter.py", "log_files.py"}
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
    done = run_script(shell, commands.halt_argv("r", 2), "r", "2", tmp_path, path=docker(tmp_path, containers))
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
    argv = [shell, "-c", commands.BATCH, "sh", str(run / "b.out"), "a name", "65532:65532", "0", "0", *NO_LOG, "0"]
    with subprocess.Popen([*argv, "sh", "-c", f"{start}; {wait}"]) as batch:
        wait_until((run / "turned").exists)
        run_script(shell, commands.halt_argv("r", 2), "r", "2", tmp_path, path=path)
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
    argv = [shell, *commands.heartbeat_argv("r1", 1)[3:6], str(tmp_path), "0.05", *map(str, marks)]
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


def test_what_is_spent_is_deleted_where_room_is_short_and_nobody_waits(shell: str, tmp_path: Path) -> None:
    """Names are taken as they are; what isn't there is no error; until room is short it only gets out of the way."""
    for name in ("-f x", "it's", "kept"):
        write_tree(tmp_path / name, (b"a/b",))
    tools = tmp_path / "bin"
    stand_in(tools, "nice", f'until [ -e "{tmp_path}/go" ]; do sleep 0.05; done; exec "$@"')
    path = f"{tools}:{os.environ['PATH']}"
    spent = [tmp_path / "-f x", tmp_path / "it's", tmp_path / "none"]
    script = 'cd "$1"; for path in "-f x" "it\'s" none; do [ ! -e "$path" ] || exit 7; done; [ -e kept ]'
    run_batch(shell, tmp_path / "out", "sh", "-c", script, "sh", str(tmp_path), path=path, spent=spent)
    assert code_of(tmp_path / "out") == 0
    (tmp_path / "go").touch()
    left = {"bin", "go", "kept", "out", "turn", "identity", "log_filter.py", "log_files.py", "__pycache__"}
    assert {path.name for path in tmp_path.iterdir()} == {*left, ".gone--f x", ".gone-it's"}
    (tmp_path / "go").unlink()
    run_batch(shell, tmp_path / "out", "true", path=path, room=2**62)
    assert (tmp_path / ".gone-it's" / "a" / "b").exists()
    (tmp_path / "go").touch()
    wait_until(lambda: {path.name for path in tmp_path.iterdir()} == left)
