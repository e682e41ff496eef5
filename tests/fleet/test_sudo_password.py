"""Machines whose sudo asks for a password: a person gives it once, and it is kept nowhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, run_folder, tree
from tests.fleet.machine_images import WITH_DOCKER
from tests.fleet.machines import BY_SUDO, Machines, machines
from tests.fleet.test_secrets import holding
from tests.terminal import Talk

PASSWORD = """ a "b'c\\d $e é%s"""
PROMPT = "sudo password on the hosts"
ASKING = """
set -e
service docker start
timeout 60 sh -c 'until docker version; do sleep 0.3; done' >/dev/null
printf 'admin ALL=(ALL:ALL) ALL\nDefaults logfile=/var/log/sudo.log, lecture=never\n' >/etc/sudoers.d/90-admin
cat /etc/password | chpasswd
rm /etc/password
"""
DOCKERS_OWN = ("/var/lib/docker/", "/run/", "/etc/docker")
GROUPS = "id admin; getent group docker"


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A machine with Docker and one that has a password for sudo."""
    home, network = tmp_path_factory.mktemp("asking"), f"fanrun-asking-{tmp_path_factory.getbasetemp().name}"
    with machines(home, network) as found:
        found.add("one", WITH_DOCKER)
        found.put("one", "etc/password", f"admin:{PASSWORD}\n", 0o600)
        found.on("one", ASKING)
        yield found


@pytest.fixture
def fab(tmp_path: Path) -> Fab:
    return Fab(tmp_path / "home", "asking")


def answer(fab: Fab, password: str, *argv: str, **more: str) -> Talk:
    """Run a task whose question is answered with a password, with `more` in its environment."""
    done = fab.talk(PROMPT, f"{password}\n".encode(), *argv, NO_COLOR="1", **more)
    assert "Traceback" not in done.text
    assert not password or password not in done.text
    return done


@contextmanager
def watched(secret: bytes) -> Iterator[list[str]]:
    """Look at the arguments and variables of all processes again and again; yield where the secret was seen.

    Processes in containers are processes of this machine as well.
    """
    found, over = list[str](), threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for folder in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        text = (folder / name).read_bytes()
                    except OSError:  # it has ended, or is somebody else's
                        continue
                    if secret in text:
                        found.append(f"{folder}/{name}: {text!r}")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


@pytest.mark.long
def test_the_password_is_asked_for_once_and_is_nowhere(asking: Machines, fab: Fab, tmp_path: Path, src: Path) -> None:
    secret, before = PASSWORD.encode(), (asking.files("one"), asking.on("one", GROUPS))
    refused = fab("up", *asking.options("one"), code=1).stderr
    assert "--ask-sudo-password asks you for it, --no-sudo uses machines without sudo" in refused
    with watched(secret) as seen:
        done = answer(fab, PASSWORD, "up", *asking.options("one"), "--ask-sudo-password")
        assert done.code == 0, done.text
    assert seen == []
    assert done.text.count(PROMPT) == 1

    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert len(tree(tmp_path / "dst")) == 12
    assert fab.status()["worker-1"]["docker"]
    fab("logs")
    fab("deploy")
    for task in (("up",), ("down",), ("serve", "--replicas=1")):
        told = fab(*task, code=2).stderr
        assert len(told.splitlines()) == 1
        assert "--ask-sudo-password" in told
    assert holding(secret, tmp_path) == []
    look = r"grep -rlsF --exclude-dir=proc --exclude-dir=sys -e 'c\d $e' / || :"
    assert asking.on("one", look) == ""
    assert run_folder(tmp_path / "dst").is_dir()

    done = answer(fab.program(), PASSWORD, "down", "--ask-sudo-password", "--yes", INVOKE_DEBUG="1")
    assert done.code == 0, done.text
    assert "invoke.config" in done.text, "what Fabric logs does not have it either"
    left = {path for path in asking.files("one") ^ before[0] if not path.startswith(DOCKERS_OWN)}
    assert left <= BY_SUDO
    assert asking.on("one", GROUPS) == before[1]


@pytest.mark.long
def test_a_wrong_password_is_tried_once(asking: Machines, fab: Fab) -> None:
    asking.on("one", "rm -f /var/log/sudo.log")
    before = asking.files("one")
    done = answer(fab, "wrong", "up", *asking.options("one"), "--ask-sudo-password")
    assert done.code == 1, done.text
    assert "sudo does not take this password; it was tried once" in done.text
    log = asking.on("one", "cat /var/log/sudo.log").replace("\n    ", "")
    assert log.count("incorrect password attempt") == 1
    assert "1 incorrect password attempt" in log
    assert asking.files("one") ^ before <= BY_SUDO


@pytest.mark.long
def test_an_empty_password_and_no_terminal_are_refused(asking: Machines, fab: Fab) -> None:
    options = [*asking.options("one"), "--ask-sudo-password"]
    done = answer(fab, "", "up", *options)
    assert (done.code, "no password was given; nothing was changed" in done.text) == (2, True)
    assert "run it in a terminal" in fab("up", *options, code=2).stderr
    assert "leave one of them out" in fab("up", *options, "--no-sudo", code=2).stderr
    assert not (fab.home / "asking" / "fleet.json").exists()


@pytest.mark.long
def test_a_service_is_set_up_with_the_password(asking: Machines, fab: Fab) -> None:
    try:
        assert answer(fab, PASSWORD, "up", *asking.options("one"), "--ask-sudo-password").code == 0
        done = answer(fab, PASSWORD, "serve", "--replicas=1", "--ask-sudo-password")
        assert done.code == 0, done.text
        assert "serving:" in done.text
        assert fab("logs", "--service").stdout
        assert answer(fab, PASSWORD, "serve", "--replicas=0", "--ask-sudo-password").code == 0
    finally:
        answer(fab, PASSWORD, "down", "--ask-sudo-password", "--yes")
