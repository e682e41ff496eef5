"""The commands of a run, to the letter."""

from __future__ import annotations

import dataclasses

import pytest

from fanrun.fanout import commands, each, run_commands, transfer_commands
from fanrun.fanout.commands import BatchFolder, LogSource, Turn
from fanrun.fanout.program import Program, Scratch, memory_limit
from fanrun.fleet.probe import MARK
from fanrun.fleet.probe import PROBE as PROBE_SCRIPT
from fanrun.fleet.shell import line
from tests.unit.samples import PROBE

PLACE, SOURCE = BatchFolder("20260101-000000-abcd", "worker-1.0001"), LogSource("sea", "worker-1")
HOME = "/var/lib/fanrun/runs/20260101-000000-abcd"
MAX_ARGUMENT = 128 * 1024
"""Linux' MAX_ARG_STRLEN: execve(2)."""
DOCKER = [
    "sudo",
    "-n",
    "docker",
    "run",
    "--rm",
    "--name",
    "fanrun-20260101-000000-abcd-worker-1.0001",
    "--label",
    "fanrun.run=20260101-000000-abcd",
    "--network",
    "none",
    "--read-only",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--user",
    "1000:1001",
    "--memory",
    "900",
    "--memory-swap",
    "900",
    "--pids-limit",
    "1024",
    "--tmpfs",
    "/tmp:rw,exec,nosuid,nodev,mode=1777,size=268435456",
    "--shm-size",
    "67108864",
    "--log-driver",
    "none",
    "--env",
    "FANRUN_REPORT=/report.jsonl",
    "--env",
    "HOME=/tmp",
    "--env-file",
    f"{HOME}/identity/env",
    "--mount",
    f"type=bind,source={HOME}/identity/passwd,target=/etc/passwd,readonly",
    "--mount",
    f"type=bind,source={HOME}/identity/group,target=/etc/group,readonly",
    "--mount",
    f"type=bind,source={HOME}/worker-1.0001.in,target=/in,readonly",
    "--mount",
    f"type=bind,source={HOME}/worker-1.0001.out/data,target=/out",
    "--mount",
    f"type=bind,source={HOME}/worker-1.0001.out/report.jsonl,target=/report.jsonl",
    "hub:5000/fanrun/image@sha256:00",
    "--op",
    "rotate 90",
    "/in",
    "/out",
]
ROTATE = Program("hub:5000/fanrun/image@sha256:00", ("--op", "rotate 90"), timeout=90)
LOG = [
    "/var/log/fanrun/20260101-000000-abcd.jsonl",
    '"fleet":"sea","run":"20260101-000000-abcd","host":"worker-1","batch":"worker-1.0001"',
    "33554432",
    "1073741824",
]


def test_a_place_is_three_folders() -> None:
    assert (PLACE.home, PLACE.source, PLACE.target) == (HOME, f"{HOME}/worker-1.0001.in", f"{HOME}/worker-1.0001.out")


def test_push_argv() -> None:
    assert transfer_commands.push_argv("ssh -F /f", "/src//", "worker-1", PLACE) == [
        "rsync",
        "--files-from=-",
        "--from0",
        "--relative",
        "--times",
        "--copy-links",
        "--perms",
        "--chmod=D755,F644",
        "--timeout=60",
        "--rsh=ssh -F /f",
        "--",
        "/src/",
        f"worker-1:{HOME}/worker-1.0001.in/",
    ]


def test_pull_argv() -> None:
    assert transfer_commands.pull_argv("ssh -F /f", "worker-1", PLACE, "/staging/") == [
        "rsync",
        "--recursive",
        "--times",
        "--timeout=60",
        "--rsh=ssh -F /f",
        "--",
        f"worker-1:{HOME}/worker-1.0001.out/",
        "/staging/",
    ]


def test_the_same_on_this_machine_names_no_host() -> None:
    assert transfer_commands.push_argv("", "/src", "", PLACE)[-2:] == ["/src/", f"{HOME}/worker-1.0001.in/"]
    assert transfer_commands.pull_argv("", "", PLACE, "/staging")[-2:] == [f"{HOME}/worker-1.0001.out/", "/staging/"]


def test_batch_argv_and_docker_argv() -> None:
    assert commands.docker_argv(PLACE, ROTATE, PROBE) == DOCKER
    assert commands.batch_argv(PLACE, ROTATE, PROBE, SOURCE) == [
        "sh",
        "-c",
        commands.BATCH,
        "sh",
        f"{HOME}/worker-1.0001.out",
        "fanrun-20260101-000000-abcd-worker-1.0001",
        "1000:1001",
        "90",
        "500000000",
        *LOG,
        "15",
        "0",
        "0",
        *DOCKER,
    ]


def test_a_batch_argv_names_the_folders_that_are_spent() -> None:
    spent = [BatchFolder(PLACE.run, "worker-1.0007"), BatchFolder(PLACE.run, "worker-1.0008")]
    argv = commands.batch_argv(PLACE, ROTATE, PROBE, SOURCE, Turn(spent=spent))
    assert argv[6:] == [
        "1000:1001",
        "90",
        "500000000",
        *LOG,
        "15",
        "0",
        "4",
        f"{HOME}/worker-1.0007.in",
        f"{HOME}/worker-1.0007.out",
        f"{HOME}/worker-1.0008.in",
        f"{HOME}/worker-1.0008.out",
        *DOCKER,
    ]


def test_variables_are_read_from_a_file() -> None:
    argv = commands.docker_argv(PLACE, dataclasses.replace(ROTATE, has_variables=True), PROBE)
    at = DOCKER.index("--env-file") + 2
    assert argv == [*DOCKER[:at], "--env-file", f"{HOME}/variables", *DOCKER[at:]]


def test_a_program_may_have_another_entrypoint() -> None:
    argv = commands.docker_argv(PLACE, dataclasses.replace(ROTATE, entrypoint=""), PROBE)
    assert argv == [*DOCKER[:-5], "--entrypoint", "", *DOCKER[-5:]]


def test_a_command_for_each_input_is_run_by_a_script() -> None:
    program = Program("hub:5000/fanrun/image@sha256:00", each=("ffmpeg", "-i", "{in}", "{out}.mp4"))
    argv = commands.docker_argv(PLACE, program, PROBE)
    mount = f"type=bind,source={HOME}/worker-1.0001.in.each.sh,target=/each.sh,readonly"
    assert argv == [*DOCKER[:-5], "--mount", mount, "--entrypoint", "/bin/sh", program.ref, "/each.sh", "1"]
    runner = each.argv(program.each, PLACE.source, PLACE.target)
    assert commands.batch_argv(PLACE, program, PROBE, SOURCE)[-len(argv) - len(runner) :] == [*runner, *argv]


@pytest.mark.parametrize(
    ("uid", "gid", "user"),
    [(1000, 1001, "1000:1001"), (0, 0, "65532:65532"), (1000, 0, "1000:65532"), (0, 1001, "65532:1001")],
)
def test_a_program_is_never_root(uid: int, gid: int, user: str) -> None:
    probe = dataclasses.replace(PROBE, uid=uid, gid=gid)
    argv = commands.docker_argv(PLACE, Program("image"), probe)
    assert argv[argv.index("--user") + 1] == user
    assert commands.batch_argv(PLACE, Program("image"), probe, SOURCE)[6] == user


def test_memory_is_what_was_asked_for_or_nine_tenths_of_the_hosts() -> None:
    asked = Program("image", memory=512 * 1024**2)
    assert memory_limit(Program("image"), PROBE) == 900
    assert memory_limit(asked, PROBE) == 536870912
    argv = commands.docker_argv(PLACE, asked, PROBE)
    assert argv[argv.index("--memory") : argv.index("--pids-limit")] == [
        "--memory",
        "536870912",
        "--memory-swap",
        "536870912",
    ]


def test_scratch_is_as_large_as_was_asked_for() -> None:
    argv = commands.docker_argv(PLACE, Program("image", scratch=Scratch(tmp=1024**3, shm=2 * 1024**2)), PROBE)
    assert argv[argv.index("--tmpfs") + 1] == "/tmp:rw,exec,nosuid,nodev,mode=1777,size=1073741824"
    assert argv[argv.index("--shm-size") + 1] == "2097152"


def test_the_other_argvs() -> None:
    run = "20260101-000000-abcd"
    opening = ["sh", "-c", run_commands.OPEN, "sh", "/var/lib/fanrun/runs", run, "hub:5000/i@sha256:00", "65532"]
    opening += ["/var/log/fanrun", "15", "30", *run_commands.log_filter(), run_commands.CACHE]
    assert run_commands.open_argv(run, "hub:5000/i@sha256:00", cache=2**30) == [*opening, "1073741824"]
    opening += ["-1"]
    assert run_commands.open_argv(run, "hub:5000/i@sha256:00") == opening
    assert run_commands.open_argv(run, "hub:5000/i@sha256:00", ["r1", "r2"]) == [*opening, "r1", "r2"]
    both = ["sh", "-c", run_commands.OPEN_AND_PROBE, "sh", PROBE_SCRIPT]
    both += ["/var/lib/fanrun", "/var/lib/fanrun.lease", MARK, "15", "sudo -n"]
    assert run_commands.open_and_probe_argv(run, "hub:5000/i@sha256:00", ["r1"]) == [*both, *opening, "r1"]
    assert run_commands.stop_argv(run) == ["sh", "-c", run_commands.STOP, "sh", "/var/lib/fanrun/runs", run]
    assert run_commands.halt_argv(run, 2) == ["sh", "-c", run_commands.HALT, "sh", run, "2", commands.RUNS]
    argv = ["sudo", "-n", "sh", "-c", run_commands.HEARTBEAT, "sh", "/var/lib/fanrun", "4", "/var/lib/fanrun.lease"]
    assert run_commands.heartbeat_argv("r1", 4) == [
        *argv,
        "/var/lib/fanrun/runs/r1",
        "",
        "/run/fanrun.spot",
        run_commands.SPOT_NOTICE,
    ]


def test_a_command_is_far_below_the_longest_that_linux_takes() -> None:
    """A login shell gets it as one argument, in which most characters that are no letters take five bytes."""
    program = Program("hub:5000/fanrun/image@sha256:00")
    assert len(line(run_commands.open_and_probe_argv("20260101-000000-abcd", program.ref))) < MAX_ARGUMENT // 2
    assert len(line(commands.batch_argv(PLACE, program, PROBE, SOURCE))) < MAX_ARGUMENT // 8
    program = Program("hub:5000/fanrun/image@sha256:00", each=("ffmpeg", "-i", "{in}", "{out}.mp4"))
    assert len(line(commands.batch_argv(PLACE, program, PROBE, SOURCE))) < MAX_ARGUMENT // 2


def test_names() -> None:
    assert transfer_commands.names([b"a", b"-x", b"d/#\n\xff"]) == b"./a\0./-x\0./d/#\n\xff\0"
    assert transfer_commands.names([]) == b""
