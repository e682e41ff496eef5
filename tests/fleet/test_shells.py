"""Login shells: whatever they are and print, what Fanrun sends is run, and its answers are read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanrun.fleet import shell
from tests.fleet.harness import Fab, tree
from tests.fleet.machine_images import WITH_DOCKER
from tests.fleet.machines import Machines, machines
from tests.variants import some

pytestmark = pytest.mark.long

SHELLS = {
    "bash": ("/bin/bash", ".bashrc"),
    "zsh": ("/usr/bin/zsh", ".zshenv"),
    "tcsh": ("/usr/bin/tcsh", ".tcshrc"),
    "csh": ("/usr/bin/bsd-csh", ".cshrc"),
    "fish": ("/usr/bin/fish", ".config/fish/config.fish"),
    "dash": ("/usr/bin/dash", ".ssh/rc"),
}
"""Logins of the machine by name: the shell, and what prints before it runs a command."""
INSTALL = r"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -o Dpkg::Options::=--force-confold install -y --no-install-recommends csh fish tcsh zsh \
  docker-cli docker.io python3-minimal rsync
"""
ADD = """
set -e
useradd --create-home --shell "$SHELL" "$NAME"
echo "$NAME ALL=(ALL) NOPASSWD: ALL" >"/etc/sudoers.d/$NAME"
install -d -m 700 -o "$NAME" -g "$NAME" "/home/$NAME/.ssh" "/home/$NAME/.config" "/home/$NAME/.config/fish"
install -m 600 -o "$NAME" -g "$NAME" /home/admin/.ssh/authorized_keys "/home/$NAME/.ssh/authorized_keys"
"""
# What could be taken for answers, and no newline at the end.
LOUD = r"""
printf 'Welcome to the lab\n'
printf 'os arch 1\nfleet sea\nid 0123\nuid 0\ndocker\n1 0 4096\n124 0 4096\n\nlast'
"""
LOUD_ELSEWHERE = "sh -c 'echo Welcome to the lab >&2'\n"
WORDS = [
    "",
    " ",
    "two  words",
    "it's",
    '"quoted"',
    "new\nline\n",
    "\n",
    "!bang",
    "!!",
    "a!b",
    "^a^b",
    "back\\slash\\n\\0101",
    "\\",
    "\\'",
    "\\!",
    "$HOME `id` $(id)",
    "*",
    "~",
    "=ls",
    "%s %d",
    "-n",
    "#",
    "{a,b}",
    "[a]",
    "é \N{SNOWMAN}",
    "\x1b[31m",
    os.fsdecode(bytes(range(1, 256))),
    "x" * 5000,
    "é'!\n" * 2000,
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """One machine with a login for each shell, and two whose shell runs nothing; it has Docker already."""
    with machines(tmp_path_factory.mktemp("owner"), f"fanrun-shells-{os.getpid()}") as found:
        found.add("one", WITH_DOCKER)
        found.on("one", INSTALL)
        programs = {name: program for name, (program, _) in SHELLS.items()}
        for name, program in {**programs, "locked": "/usr/sbin/nologin", "barred": "/bin/false"}.items():
            found.on("one", f"NAME={name} SHELL={program}\n{ADD}")
        yield found


@pytest.fixture(scope="module")
def fab(tmp_path_factory: pytest.TempPathFactory, lab: Machines) -> Iterator[Fab]:
    """One fleet for all: a login takes the machine over from the one before."""
    found = Fab(tmp_path_factory.mktemp("home"), "theirs")
    yield found
    found("down", code=None)


def startup(lab: Machines, login: str, text: str) -> str:
    """Have the login's shell read this when it starts; returns the file's path."""
    path = f"/home/{login}/{SHELLS[login][1]}"
    lab.put("one", path.lstrip("/"), text, 0o644)
    return path


def changed(lab: Machines, before: set[str]) -> set[str]:
    """What came or went on the machine, without what a shell, sudo and Docker keep for themselves."""
    return {path for path in lab.files("one") ^ before if not path.startswith(("/home/", "/run/", "/etc/docker"))}


@pytest.mark.parametrize("name", SHELLS)
def test_a_command_arrives_as_it_is(lab: Machines, name: str) -> None:
    line = shell.line(["printf", "%s\\0", *WORDS])
    argv = ["docker", "exec", f"{lab.network}-one", SHELLS[name][0], "-c", line]
    done = subprocess.run(argv, capture_output=True, check=False)
    heard = shell.read(os.fsdecode(done.stdout))
    assert (done.returncode, shell.read(os.fsdecode(done.stderr)).text) == (0, "")
    assert heard.text.split("\0") == [*WORDS, ""]


@pytest.mark.parametrize("name", SHELLS)
def test_the_exit_code_and_both_streams_come_back(lab: Machines, name: str) -> None:
    line = shell.line(["sh", "-c", "cat; echo bad >&2; exit 3"])
    argv = ["docker", "exec", "-i", f"{lab.network}-one", SHELLS[name][0], "-c", line]
    done = subprocess.run(argv, input="given\n", capture_output=True, text=True, check=False)
    said = [shell.read(text).text for text in (done.stdout, done.stderr)]
    assert (done.returncode, said) == (3, ["given\n", "bad\n"])


@pytest.mark.parametrize("name", some(SHELLS, "fish"))
def test_a_machine_works_whatever_its_login_is(lab: Machines, fab: Fab, tmp_path: Path, src: Path, name: str) -> None:
    options = lab.options("one", user=name)
    path = startup(lab, name, LOUD)
    before = lab.files("one")
    told = fab("up", *options, code=1).stderr
    assert f"its login prints 'Welcome to the lab', which breaks rsync; remove that from {path}, or" in told
    assert not changed(lab, before)

    startup(lab, name, LOUD_ELSEWHERE)
    fab("up", *options)
    assert "nothing to change" in fab("up").stderr
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"))
    assert len(tree(tmp_path / "dst")) == 12

    startup(lab, name, LOUD)
    assert fab.status()["worker-1"]["docker"]
    said = fab("exec", "--command", "echo \"it's $((6 * 7))!\"; printf '%s\\n' last; id -un")
    assert said.stdout.splitlines() == [f"worker-1: {line}" for line in ("it's 42!", "last", name)]
    assert said.stderr == ""
    told = fab("run", "--src", str(src), "--dst", str(tmp_path / "again"), code=2).stderr
    assert "its login prints 'Welcome to the lab', which breaks rsync" in told
    told = fab("up", code=1).stderr
    assert f"remove that from {path}, or" in told
    fab("down")
    assert not changed(lab, before)


def test_all_that_a_shell_reads_is_named_where_no_file_has_what_is_printed(lab: Machines, fab: Fab) -> None:
    startup(lab, "tcsh", "echo `hostname`\n")
    lab.put("one", "home/tcsh/.ssh/rc", "# nothing\n", 0o644)
    told = fab("up", *lab.options("one", user="tcsh"), code=1).stderr
    assert "its login prints 'one', which breaks rsync; remove that from /home/tcsh/.tcshrc or /etc/csh.cshrc" in told


@pytest.mark.parametrize(("login", "said"), [("locked", "This account is"), ("barred", "it said nothing")])
def test_a_login_that_runs_nothing_is_refused(lab: Machines, fab: Fab, login: str, said: str) -> None:
    told = fab("up", *lab.options("one", user=login), code=1).stderr
    assert f"its login shell runs no commands ({said}" in told
    assert "chsh" in told
