"""The small scripts that set a host up, run on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.script import script_argv
from provision.hosts.scripts import host_argv, host_script
from tests.unit.worker_scripts import stand_in
from tests.waiting import wait_until


def run(name: str, *arguments: object, tools: Path | None = None) -> tuple[int, str]:
    """Run a script, with the programs in `tools` in the place of real ones: (exit code, what it printed)."""
    environment = os.environ | ({"PATH": f"{tools}:{os.environ['PATH']}"} if tools else {})
    argv = host_argv(name, *map(str, arguments))
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("apt", "code", "strict", "plain"),
    [
        ("exit 0", 0, 1, 0),
        ('[ "$(wc -l <"$log")" -ge 3 ]', 0, 3, 0),  # downloads fail for a while
        ("[ $strict -eq 0 ]", 0, 5, 1),  # one of several sources is broken for good
        ("exit 100", 100, 5, 1),
    ],
)
def test_lists_of_packages_are_downloaded_whole_if_they_can_be(
    tmp_path: Path, apt: str, code: int, strict: int, plain: int
) -> None:
    folder, log = tmp_path / "bin", tmp_path / "log"
    head = 'case $* in *Error-Mode=any*) strict=1 ;; *) strict=0 ;; esac; echo $strict >>"$log"'
    stand_in(folder, "apt-get", f'log="{log}"; {head}; {apt}')
    stand_in(folder, "sleep", ":")
    argv = script_argv(host_script("apt-get.sh", "apt-update.sh"))
    done = subprocess.run(argv, env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}, check=False)
    calls = log.read_text().split()
    assert (done.returncode, calls.count("1"), calls.count("0")) == (code, strict, plain)


def test_a_folder_is_ones_own_if_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "it's"
    folder.mkdir(mode=0o700)
    assert run("own-folder.sh", folder) == (0, "")
    folder.chmod(0o755)
    assert run("own-folder.sh", folder)[0] == 1


def test_a_system_says_its_name_and_version() -> None:
    code, said = run("os-release.sh")
    assert code == 0
    assert f"ID={said.split()[0]}\n" in Path("/etc/os-release").read_text()


def test_a_certificate_without_its_key_is_not_shown(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "crt"
    certificate.write_text("certificate\n")
    assert run("pair-certificate.sh", key, certificate) == (1, "")
    key.touch()
    assert run("pair-certificate.sh", key, certificate) == (1, "")
    key.write_text("key\n")
    assert run("pair-certificate.sh", key, certificate) == (0, "certificate\n")


@pytest.mark.parametrize(
    ("config", "added", "said"),
    [
        (None, "", ""),
        ("global:\n", "", "foreign\n"),
        ("# Written by Fanrun.\nglobal:\n", "", ""),
        ("global:\n", "package prometheus\n", ""),
        ("global:\n", "package prometheus-node-exporter\n", "foreign\n"),
    ],
)
def test_another_prometheus_is_found(tmp_path: Path, config: str | None, added: str, said: str) -> None:
    if config is not None:
        (tmp_path / "prometheus.yml").write_text(config)
    if added:
        (tmp_path / "added").write_text(added)
    assert run("prometheus-foreign.sh", tmp_path / "prometheus.yml", tmp_path / "added") == (0, said)


def test_targets_are_forgotten_where_there_are_any(tmp_path: Path) -> None:
    targets = tmp_path / "fanrun.json"
    assert run("prometheus-forget.sh", targets) == (0, "")
    assert not targets.exists()
    targets.write_text('[{"targets": ["a:1"]}]\n')
    assert run("prometheus-forget.sh", targets) == (0, "")
    assert targets.read_text() == "[]\n"


def test_a_port_answers_or_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = ["bash", "-c", host_script("port-answers.sh"), "bash", str(server.getsockname()[1])]
        assert subprocess.run(argv, capture_output=True, check=True).stdout == b""
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_lease_is_extended(tmp_path: Path) -> None:
    lease = tmp_path / "lease"
    assert run("lease-extend.sh", lease, 60) == (0, "")
    assert not lease.exists(), "a host without one gets none"
    lease.write_text("60\n")
    for arguments, said, seconds in (((), "", "60\n"), ((60,), "", "60\n"), ((90,), "changed\n", "90\n")):
        os.utime(lease, (1, 1))
        assert run("lease-extend.sh", lease, *arguments) == (0, said)
        assert lease.read_text() == seconds
        assert lease.stat().st_mtime > 1


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Stand-ins: a `shutdown` that only tells what it was told, and ends what watches; a `sleep` that is short."""
    folder = tmp_path / "bin"
    stand_in(folder, "shutdown", f'echo "$*" >>"{tmp_path}/log"; kill "$(cat "{tmp_path}/watching")"')
    stand_in(folder, "sleep", "exec /bin/sleep 0.05")
    return folder


@pytest.mark.parametrize("text", ["0\n", "", None])
def test_a_machine_ends_when_its_lease_has_run_out(tmp_path: Path, tools: Path, text: str | None) -> None:
    """Also when the lease is gone, or can't be read."""
    lease = tmp_path / "lease"
    lease.write_text("0\n")
    if text is None:
        stand_in(tools, "sleep", f'rm -f "{lease}"; exec /bin/sleep 0.05')
    else:
        lease.write_text(text)
    assert run("lease-watch.sh", lease, 3600, tmp_path / "watching", tools=tools) == (0, "")
    wait_until((tmp_path / "log").exists)
    wait_until(lambda: (tmp_path / "log").read_text() == "-P now\n")


def test_a_lease_is_watched_once(tmp_path: Path, tools: Path) -> None:
    lease, watching = tmp_path / "lease", tmp_path / "watching"
    assert run("lease-watched.sh", watching)[0] != 0
    assert run("lease-watch.sh", lease, 3600, watching, tools=tools) == (0, "")
    wait_until(lambda: watching.exists() and watching.read_text() != "")
    process = int(watching.read_text())
    try:
        assert run("lease-watched.sh", watching)[0] == 0
        assert run("lease-watch.sh", lease, 60, watching, tools=tools) == (0, "")
        assert (int(watching.read_text()), lease.read_text()) == (process, "3600\n")
        assert not (tmp_path / "log").exists()
    finally:
        os.kill(process, signal.SIGTERM)
    wait_until(lambda: run("lease-watched.sh", watching)[0] != 0)
