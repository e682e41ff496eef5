"""What a host says of itself."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.probe import Probe, parse, probe_argv

ANSWER = """marked yes
\
Welcome to Debian!
uid 1000
gid 1001
load 0.42
cpus 4
memory 2048
disk 1000 600 4096
docker 20.10.24+dfsg1
image hub:5000/fanrun/image@sha256:00
image debian@<none>
"""
NOTHING = Probe(0, 0, 0.0, 1, 0, 0, 0, "", (), marked=False)


def test_an_answer_is_read() -> None:
    assert parse(ANSWER) == Probe(
        1000,
        1001,
        0.42,
        4,
        2048 * 1024,
        1000 * 4096,
        600 * 4096,
        "20.10.24+dfsg1",
        ("hub:5000/fanrun/image@sha256:00", "debian@<none>"),
    )


@pytest.mark.parametrize("text", ["", "\n\n", "docker\n", "load\nuid\ngid x\ncpus -1\ndisk\nmemory kB\n", "image"])
def test_what_is_missing_counts_as_nothing(text: str) -> None:
    assert parse(text) == NOTHING


words = st.sampled_from(
    ["uid", "gid", "load", "cpus", "memory", "disk", "docker", "image", "7", "0.5", "²", "a", "\n", " "]
)


@given(st.one_of(st.text(), st.lists(words).map(" ".join)))
def test_any_text_is_an_answer(text: str) -> None:
    found = parse(text)
    assert found.cpus >= 1
    assert min(found.uid, found.gid, found.memory, found.disk_total, found.disk_free) >= 0


@pytest.mark.parametrize("answers", [True, False])
def test_the_question_is_one_that_a_shell_answers(tmp_path: Path, answers: bool) -> None:
    """With a stand-in for the host's docker, which answers or does not."""
    docker = 'case $1 in version) echo 20.10.24;; image) echo "image a@sha256:00";; esac' if answers else "exit 1"
    programs = {"sudo": '[ "$1" = -n ] && shift && exec "$@"', "docker": docker}
    for name, script in {**programs, **({"nvidia-container-runtime": ""} if answers else {})}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    *head, work, lease, mark, expiry = probe_argv()[:-2]
    assert (work, lease, mark) == ("/var/lib/fanrun", "/var/lib/fanrun.lease", "/var/lib/fanrun/fleet")
    assert probe_argv("/home/a/w", [])[-4:] == ["/home/a/w", "/var/lib/fanrun.lease", "/home/a/w/fleet", expiry]
    (tmp_path / "lease").write_text("3600\n")
    (tmp_path / "fleet").write_text("fleet a\nversion 2\n")
    for name, minutes in (("20260101-000000-abcd", 0), ("20260101-000001-dead", int(expiry) + 1), ("other", 0)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        os.utime(tmp_path / "runs" / name, times=(time.time() - 60 * minutes,) * 2)
    argv = [*head, str(tmp_path), str(tmp_path / "lease"), str(tmp_path / "fleet"), expiry, "sudo", "-n"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    found = parse(done.stdout)
    assert (found.uid, found.gid) == (os.getuid(), os.getgid())
    assert found.memory > 1024**2
    assert found.cpus >= 1
    assert found.marked
    assert found.runs == ("20260101-000000-abcd",)
    assert found.disk_total >= found.disk_free > 0
    assert found.lease is not None
    assert 3500 < found.lease <= 3600
    assert found.nvidia == (f"{tmp_path}/nvidia-container-runtime" if answers else "")
    assert (found.docker, found.images) == (("20.10.24", ("a@sha256:00",)) if answers else ("", ()))
    assert done.stderr == ""
