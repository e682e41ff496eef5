"""What is secret on this machine is in no file that a killed `fab up` leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, docker
from tests.fleet.light import light_fleet
from tests.unit.test_house import FILES, ROOT
from tests.waiting import wait_until

SECRET = f"battery-{os.urandom(8).hex()}"


def holding(secret: bytes, folder: Path) -> list[Path]:
    """Return the files below a folder that hold this."""
    return [path for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


def processes(word: str) -> list[str]:
    """Return the command lines of this machine that have a word in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return [line for line in found if word in line]


def copy_checkout(root: Path) -> None:
    """Copy the project's files."""
    for path in FILES:
        (root / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.relative_to(ROOT))


def write_long_build(dockerfile: Path, port: int) -> None:
    """Write a build that reads the settings, tells so at the port, and goes on for longer than the test does."""
    dockerfile.write_text(
        "FROM debian:trixie-slim\nCOPY build-setting[s] /settings/\n"
        f"RUN grep -q battery- /settings/pip.conf && bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; sleep 600'\n"
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_up_that_is_killed_while_it_builds_leaves_no_secret(tmp_path: Path, number: signal.Signals) -> None:
    root, temporary, name = tmp_path / "checkout", tmp_path / "tmp", f"killed-{number}-{os.getpid()}"
    copy_checkout(root)
    temporary.mkdir()
    fab = Fab(tmp_path / "home", name, root=root)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        port = server.getsockname()[1]
        write_long_build(root / "Dockerfile", port)
        index = f"http://ada:{SECRET}@127.0.0.1:{port}/simple"
        process = fab.start("up", "--hosts=1", TMPDIR=str(temporary), PIP_INDEX_URL=index)
        try:
            building, _ = server.accept()
            with building:
                assert not holding(SECRET.encode(), tmp_path), "not even while it is built"
                process.send_signal(number)
                _, told = process.communicate(timeout=120)
                assert process.returncode == (-9 if number == signal.SIGKILL else 130), told
                assert "Traceback" not in told
                assert not holding(SECRET.encode(), tmp_path)
                if number != signal.SIGKILL:
                    wait_until(lambda: not processes(f"fanrun/process:{name}"))
                    building.settimeout(60)
                    assert building.recv(1) == b"", "the build itself has ended"
        finally:
            process.kill()
            process.wait()
            for line in Path("/proc").glob("[0-9]*/cmdline"):
                end_client(line, f"fanrun/process:{name}")
            fab("down")


STALLED = """
printf '#!/bin/sh\ntouch /run/stalled\nexec sleep 600\n' >/usr/local/bin/install
chmod 755 /usr/local/bin/install
"""
# The brackets keep the search from finding itself.
LOOK = "grep -rls --exclude-dir=proc --exclude-dir=sys '[b]{rest}' /; grep -ls '[b]{rest}' /proc/[0-9]*/cmdline; :"


@pytest.mark.long
def test_a_client_that_is_killed_leaves_no_secret_on_a_host(tmp_path: Path) -> None:
    """It writes a key there, and the host takes its time."""
    with light_fleet(tmp_path, 1) as light:
        container = f"fanrun-test-light-{os.getpid()}-worker-1"
        docker("exec", container, "sh", "-c", STALLED)
        script = (
            "import os, sys; from pathlib import Path; from fanrun.fleet.store import Folder; "
            "from fanrun.fleet.ssh import Remote; folder = Folder(Path(sys.argv[1]), 'light'); "
            "host = folder.load().host('worker-1'); "
            "Remote(folder, host).put(os.environ['SECRET'], '/etc/fanrun-secret', mode='600')"
        )
        argv = [sys.executable, "-c", script, str(light.fab.home)]
        with subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "SECRET": SECRET}) as client:
            try:
                wait_until(lambda: docker("exec", container, "sh", "-c", "ls /run/stalled 2>/dev/null || :"))
                look = ["exec", container, "sh", "-c", LOOK.format(rest=SECRET[1:])]
                assert docker(*look) == ""
            finally:
                client.kill()
        assert docker(*look) == ""


def end_client(path: Path, word: str) -> None:
    """End a docker client that a killed `fab` left behind."""
    try:
        if word.encode() in path.read_bytes():
            os.kill(int(path.parent.name), signal.SIGTERM)
    except OSError:  # it has ended
        return
