"""`fab run --try N`: inputs in the Docker of this machine, under the contract of the workers, and without a fleet."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.harness import Fab, Runs, docker, tree
from tests.unit.samples import HOSTILE, write_tree
from tests.waiting import wait_until

LOOK = """{
  id -u; grep CapEff /proc/self/status; ls /sys/class/net; cat /model/a /model/link; echo
  df -k /tmp | tail -n 1 | { read -r _ size _; echo $((size / 1024)); }
  touch /etc/x /in/x /model/x; echo $?
  cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; echo "$HOME $USER"
} >$1/seen 2>/dev/null"""


class Trials:
    """Tries of the image `shell` from one SRC, without a fleet; results go below the folder `top`."""

    def __init__(self, top: Path, image: str) -> None:
        (top / "tmp").mkdir()
        self.top, self.src, self.image = top, top / "src", image
        self.fab = Fab(top / "home", "none", environment={"TMPDIR": str(top / "tmp")})

    def argv(self, script: str, *argv: str) -> list[str]:
        return ["run", "--src", str(self.src), "--image", self.image, "--args", f"'cd $0; {script}'", *argv]

    def __call__(self, script: str, *argv: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.fab(*self.argv(script, *argv), code=code)

    def results(self) -> dict[bytes, bytes]:
        """Return the results of the only try so far, whose temporary folder is all that it has left."""
        (folder,) = (self.top / "tmp").glob("fanrun-*")
        return tree(folder)


@pytest.fixture
def trials(tmp_path: Path, shell: str) -> Trials:
    return Trials(tmp_path, shell)


def containers() -> str:
    return docker("ps", "--all", "--format={{.Names}}", "--filter=name=-here.")


def test_any_name_is_tried_and_has_its_result(trials: Trials) -> None:
    written = write_tree(trials.src)
    done = trials("cp -R . $1", "--junk", f"--try={len(written)}")
    assert trials.results() == written
    assert set(written) == set(HOSTILE)
    assert len(re.findall(r"^done +\d+\.\d\d s  ", done.stdout, re.MULTILINE)) == len(written)
    assert f"{len(written)} of {len(written)} inputs done; results are in {trials.top}/tmp/fanrun-try-" in done.stderr
    assert "next: `fab up --fleet none`, then the same command without --try and with --dst" in done.stderr


def test_a_try_sees_what_a_worker_shows(trials: Trials) -> None:
    write_tree(trials.src, (b"seen",))
    write_tree(trials.top / "model", (b"a",))
    (trials.top / "model/a").chmod(0o600)
    (trials.top / "model/link").symlink_to("a")
    mount = f"--mount={trials.top}/model"
    trials(LOOK, "--try=1", mount, "--tmp=20m", "--memory=100m")
    uid, capabilities, network, model, *rest = trials.results()[b"seen"].decode().splitlines()
    assert uid == str(os.geteuid() or 65532)
    assert (capabilities, network, model) == ("CapEff:\t0000000000000000", "lo", "content of content of ")
    assert rest == ["20", "1", str(100 * 1024**2), "/tmp fanrun"]


def test_only_the_first_inputs_are_tried_and_a_group_is_one(trials: Trials) -> None:
    write_tree(trials.src, (b"a.1", b"a.2", b"b.1", b"b.2", b"c.1", b"c.2"))
    done = trials("cp -R . $1", "--try=2", "--group-by=stem")
    assert set(trials.results()) == {b"a.1", b"a.2", b"b.1", b"b.2"}
    assert re.findall(r"s  (.*)", done.stdout) == ["a.1 and 1 more", "b.1 and 1 more"]


def test_inputs_that_fail_are_told_with_their_reasons(trials: Trials) -> None:
    write_tree(trials.src, (b"a", b"bad", b"c"))
    done = trials("for f in *; do case $f in bad) echo no >&2; exit 3;; esac; cp $f $1; done", "--try=3", code=1)
    assert set(trials.results()) == {b"a", b"c"}
    (line,) = re.findall(r"^failed +\d+\.\d\d s  (.*)", done.stdout, re.MULTILINE)
    assert line == "bad: the program ended with exit 3: no"
    assert "2 of 3 inputs done; results are in" in done.stderr
    assert "next: correct the program or its arguments" in done.stderr
    assert containers() == ""


def test_a_try_as_json(trials: Trials) -> None:
    write_tree(trials.src, (b"a", b"b"))
    done = trials("cp a $1", "--try=2", "--json", code=1)
    found: dict[str, Any] = json.loads(done.stdout)
    assert tree(Path(found["results"])) == trials.results() == {b"a": b"content of "}
    assert [(each["path"], each["ok"], each["files"]) for each in found["inputs"]] == [
        ("a", True, ["a"]),
        ("b", False, ["b"]),
    ]
    assert found["inputs"][1]["reason"].startswith("the program ended well but left no result for it")


def test_a_command_for_each_input_is_tried(trials: Trials) -> None:
    write_tree(trials.src, (b"a.x", b"b.x"))
    argv = ["--src", str(trials.src), "--image", trials.image, "--each", "cp {in} {out}.y", "--try=2"]
    trials.fab("run", *argv)
    assert set(trials.results()) == {b"a.y", b"b.y"}


def test_a_program_that_does_nothing_is_stopped(trials: Trials) -> None:
    write_tree(trials.src, (b"a",))
    done = trials("sleep 1000", "--try=1", "--timeout=1", code=1)
    assert "a: the program finished nothing within the timeout and was stopped" in done.stdout


def test_an_interrupted_try_leaves_no_container(trials: Trials) -> None:
    write_tree(trials.src, (b"a",))
    process = trials.fab.start(*trials.argv("sleep 1000", "--try=1"))
    wait_until(containers)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, containers(), err) == (130, "", "error: interrupted\n")
    assert list((trials.top / "tmp").iterdir()) == []


def test_a_container_that_docker_refuses_is_one_line(trials: Trials) -> None:
    write_tree(trials.src, (b"a",))
    done = trials("true", "--try=1", "--cpus=9999", code=2)
    assert done.stderr.startswith("error: could not run a container (docker: Error response from daemon: ")
    assert done.stderr.count("\n") == 1
    assert list((trials.top / "tmp").iterdir()) == []


def test_files_that_belong_to_no_input_are_told_of(trials: Trials) -> None:
    write_tree(trials.src, (b"a",))
    done = trials("cp a $1; echo x >$1/summary", "--try=1")
    (folder,) = re.findall("files that belong to no input are in (.*)", done.stderr)
    assert [path.name for path in Path(folder).rglob("*") if path.is_file()] == ["summary"]


def test_the_default_image_is_built_and_tried(tmp_path: Path, src: Path) -> None:
    (tmp_path / "tmp").mkdir()
    fab = Fab(tmp_path / "home", "none", environment={"TMPDIR": str(tmp_path / "tmp")})
    done = fab("run", "--src", str(src), "--try=2", "--args=--size 8x8")
    (results,) = (tmp_path / "tmp").glob("fanrun-try-*")
    assert len(tree(results)) == 2
    assert "2 of 2 inputs done" in done.stderr


def test_an_image_that_is_not_there_is_one_line(trials: Trials) -> None:
    write_tree(trials.src, (b"a",))
    trials.image = "localhost:1/nowhere"
    done = trials("true", "--try=1", code=2)
    assert "error: there is no image 'localhost:1/nowhere' here and it can't be pulled" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list((trials.top / "tmp").iterdir()) == []


def test_a_try_does_what_a_run_would_do_next_and_changes_no_dst(runs: Runs, tmp_path: Path) -> None:
    runs.write("a", "b", "c")
    runs("cp a $1", "--include=a")
    before = {path: path.read_bytes() for path in runs.dst.rglob("*") if path.is_file()}
    script = ["--src", str(runs.src), "--dst", str(runs.dst), "--image", runs.shell]
    (tmp_path / "tmp").mkdir()
    done = runs.fab("run", *script, "--args", "'cd $0; cp a $1'", "--try=1", code=1, TMPDIR=str(tmp_path / "tmp"))
    assert "b: the program ended with exit 1: cp: can't stat" in done.stdout
    done = runs.fab(
        "run", *script, "--args", "'cd $0; cp a $1'", "--try=3", "--include=a", TMPDIR=str(tmp_path / "tmp")
    )
    assert "nothing to try: 1 input done already; --force tries them again" in done.stderr
    assert {path: path.read_bytes() for path in runs.dst.rglob("*") if path.is_file()} == before
