"""The files that name the user of a container, made under real shells on this machine."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.unit.samples import write_tree
from tests.unit.worker_scripts import batch_argv, docker, run_open, stand_in
from tests.waiting import wait_until

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
        (
            0,
            {"passwd": "nonroot:x:65532:65532::/home:/bin/false"},
            "nonroot",
            "nonroot",
            ["LANG=C.UTF-8", "USER=nonroot", "LOGNAME=nonroot"],
        ),
        (
            1000,
            {"passwd": "root:x:0:0::/:\nmary:x:1000:7::/home/mary:\njo:x:1000:8::/:\n", "group": "staff:x:1000:\n"},
            "mary",
            "staff",
            ["LANG=C.UTF-8", "USER=mary", "LOGNAME=mary"],
        ),
        (1000, {"variables": "PATH=/bin\nLANG=de_DE.UTF-8\n"}, "fanrun", "fanrun", ["USER=fanrun", "LOGNAME=fanrun"]),
        (1000, {"variables": "LC_ALL=C\nUSER=me\nLOGNAME=me"}, "fanrun", "fanrun", []),
        (
            1000,
            {"variables": "LANGUAGE=de\nXLANG=1\nLC_CTYPE=C"},
            "fanrun",
            "fanrun",
            ["LANG=C.UTF-8", "USER=fanrun", "LOGNAME=fanrun"],
        ),
    ],
)
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
    done = run_open(shell, tmp_path / "runs", "r", path=path)
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
        here = tmp_path / "runs" / run / "identity"
        run_open(shell, tmp_path / "runs", run, image="hub/i@sha256:12", path=f"{tools}:{os.environ['PATH']}")
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
    run_open(shell, run.parent, "r", image="i@sha256:1", path=path)
    wait_until((run / "identity" / "env").exists)
    subprocess.run(["flock", str(run / "turn"), "true"], check=True, timeout=60)
    assert not (tmp_path / "identity").exists()


def test_without_the_image_a_container_has_files_of_its_own(shell: str, tmp_path: Path) -> None:
    """Docker tells what is wrong when the container is started."""
    stand_in(tmp_path / "bin", "docker", "exit 1")
    path, identity = docker(tmp_path, ""), tmp_path / "runs" / "r" / "identity"
    stand_in(tmp_path / "bin", "docker", "exit 1")
    run_open(shell, tmp_path / "runs", "r", path=path)
    wait_until((identity / "env").exists)
    assert (identity / "passwd").read_text().count("\n") == (identity / "group").read_text().count("\n") == 1
    assert not (tmp_path / "identity").exists(), "the next run asks again"


def test_a_first_batch_waits_for_the_files_of_its_container(shell: str, tmp_path: Path) -> None:
    path, run = docker(tmp_path, ""), tmp_path / "runs" / "r"
    stand_in(tmp_path / "bin", "docker", f'until [ -e "{tmp_path}/go" ]; do sleep 0.02; done; exit 1')
    run_open(shell, run.parent, "r", path=path)
    assert not (run / "identity" / "env").exists(), "nobody waited for it"
    argv = batch_argv(shell, run / "b.out", "cat", str(run / "identity" / "env"))
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as batch:
        wait_until((run / "b.out").exists)
        (tmp_path / "go").touch()
        assert batch.communicate()[1] == b""
        assert batch.returncode == 0
    assert (run / "b.out" / "log").read_text().startswith("LANG=C.UTF-8\nUSER=")
