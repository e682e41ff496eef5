"""Environment variables of the program on a real fleet: they arrive, and nobody else can read their values."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.fleet.harness import Runs, log, report
from tests.fleet.test_secrets import holding, processes
from tests.waiting import wait_until

SHOWS = 'for f in *; do echo "$TOKEN:$LANG:$LEVEL" >$1/$f; done'
FILES = "find /var/lib/fanrun -name 'variables*' -printf '%m %u\\n'"


def test_values_arrive_and_are_a_part_of_the_program(runs: Runs, tmp_path: Path) -> None:
    runs.write("a", "b", "c", "d")
    (tmp_path / "env").write_text('LANG=de_DE\nLEVEL=" 7 \n')
    env = ["--env", "TOKEN=one", "--env-file", str(tmp_path / "env")]
    runs(SHOWS, *env)
    assert runs.results() == dict.fromkeys("abcd", 'one:de_DE:" 7')
    assert report(runs.dst)["variables"] == ["LANG", "LEVEL", "TOKEN"]
    runs.again(SHOWS, *env)
    assert json.loads(runs(SHOWS, *env, "--dry-run", "--json"))["kept"] == 4
    env[1] = "TOKEN=two"
    assert json.loads(runs(SHOWS, *env, "--dry-run", "--json"))["kept"] == 0
    runs(SHOWS, *env)
    assert runs.results() == dict.fromkeys("abcd", 'two:de_DE:" 7')
    runs.again(SHOWS, *env)


def test_a_retry_gets_them_again(runs: Runs) -> None:
    runs.write("a", "b")
    fails = "for f in *; do [ $f = b ] || echo $TOKEN >$1/$f; done"
    told = runs(fails, "--env=TOKEN=one", "--retries=0", code=1)
    assert f"`fab retry --dst {runs.dst} --env TOKEN" in told
    retry = ["retry", "--dst", str(runs.dst), "--retries=0"]
    assert "give the same ones: --env TOKEN" in runs.fab(*retry, code=2).stderr
    assert "other values of TOKEN" in runs.fab(*retry, "--env=TOKEN", code=2, TOKEN="two").stderr
    assert "1 failed" in runs.fab(*retry, "--env=TOKEN", code=1, TOKEN="one").stdout


def test_nobody_else_reads_the_values(runs: Runs) -> None:
    """All processes of the hosts are processes of this machine."""
    secret = f"staple-{os.urandom(8).hex()}"
    runs.write(*"abcdef")
    fab, host = runs.fab, "worker-1"
    script = "cd $0; sleep 4; for f in *; do echo $TOKEN >$1/$f; done"
    argv = ["run", "--src", str(runs.src), "--dst", str(runs.dst), "--image", runs.shell]
    process = fab.start(*argv, f"--args='{script}'", "--env=TOKEN", TOKEN=secret)
    try:
        wait_until(lambda: fab.on(host, "docker ps --quiet"))
        assert fab.on(host, FILES).split() == ["600", "admin"]
        assert processes(secret) == []
        assert len(processes("--env-file")) > 0, "else the processes were not found"
    finally:
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert set(runs.results().values()) == {secret}
    assert holding(secret.encode(), runs.dst / ".fanrun") == []
    assert holding(secret.encode(), fab.home) == []
    assert "--env=REDACTED" in log(runs.dst)
    wait_until(lambda: fab.on(host, FILES) == "")
    assert fab.on(host, f"grep -rls {secret} /var/lib/fanrun /var/log /tmp /home || :") == ""
