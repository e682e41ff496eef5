"""A command for each input, in containers that have nothing but a shell, and another entrypoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, Runs, docker, joblog, report, tree
from tests.unit.samples import HOSTILE, write_tree

BUSYBOX = """FROM debian:trixie-slim AS debian
RUN apt-get update && apt-get install --yes --no-install-recommends busybox-static
FROM scratch
COPY --from=debian /bin/busybox /bin/sh
COPY --from=debian /bin/busybox /bin/cp
ENTRYPOINT ["/nothing"]
"""
NO_SHELL = 'FROM scratch\nCOPY Dockerfile /program\nENTRYPOINT ["/program"]\n'
COPY = "cp {in} {out}.copy"


def built(top: Path, name: str, dockerfile: str) -> Iterator[str]:
    """Build an image; it is removed at the end."""
    (top / "Dockerfile").write_text(dockerfile)
    image = f"fanrun-test-{name}-{os.getpid()}"
    docker("build", "--quiet", f"--tag={image}", str(top))
    yield image
    docker("rmi", "--force", image)


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image that has busybox as its shell, and little else."""
    yield from built(tmp_path_factory.mktemp("busybox"), "busybox", BUSYBOX)


@pytest.fixture(scope="module")
def no_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image without a shell."""
    yield from built(tmp_path_factory.mktemp("shell-less"), "shell-less", NO_SHELL)


class Commands:
    """Runs of a command for each input, in one image from one SRC into one DST."""

    def __init__(self, fab: Fab, image: str, top: Path) -> None:
        self.fab, self.image, self.src, self.dst = fab, image, top / "src", top / "dst"

    def __call__(self, command: str, *argv: str, code: int = 0) -> str:
        """Run the command; return what is said."""
        where = ["--src", str(self.src), "--dst", str(self.dst)]
        done = self.fab("run", *where, "--image", self.image, f"--each={command}", *argv, code=code)
        return done.stdout + done.stderr

    def failed(self) -> dict[str, str]:
        """Return why inputs failed, without what is explained after a semicolon."""
        return {item["path"]: item["reason"].partition(";")[0] for item in report(self.dst)["failed"]}


def test_any_name_reaches_a_command_and_its_result_comes_back(fab: Fab, busybox: str, tmp_path: Path) -> None:
    commands = Commands(fab, busybox, tmp_path)
    written = write_tree(commands.src)
    said = commands(COPY, "--junk")
    assert f"{len(written)} of {len(written)} inputs done" in said
    assert tree(commands.dst) == {os.path.splitext(key)[0] + b".copy": content for key, content in written.items()}
    assert set(written) == set(HOSTILE)
    assert report(commands.dst)["each"] == ["cp", "{in}", "{out}.copy"]
    fab("verify", "--dst", str(commands.dst))


def test_what_fails_is_known_without_another_container(fab: Fab, shell: str, tmp_path: Path) -> None:
    commands = Commands(fab, shell, tmp_path)
    good = tuple(b"d/%d.x" % number for number in range(20))
    write_tree(commands.src, (*good, b"d/bad.x", b"d/eats.x", b"d/lazy.x"))
    script = """case $1 in
      */bad.x) echo half >$2.y; echo "no, $3" >&2; exit 3 ;;
      */eats.x) exec tail /dev/zero ;;
      */lazy.x) exit ;;
    esac
    cat $1 >$2.y"""
    commands(f"sh -c '{script}' sh {{in}} {{out}} {{name}}", "--retries=0", "--memory=64m", code=1)
    assert commands.failed() == {
        "d/bad.x": "exit 3: no, bad.x",
        "d/eats.x": "exit 137, it was killed, as the memory limit does",
        "d/lazy.x": "the program ended well but left no result for it",
    }
    assert set(tree(commands.dst)) == {key.replace(b".x", b".y") for key in good}
    assert {line["Attempts"] for line in joblog(commands.dst)} == {"1"}
    assert len(joblog(commands.dst)) == len(good) + 3
    assert all(float(line["JobRuntime"]) < 60 for line in joblog(commands.dst))


@pytest.mark.long
def test_a_command_is_remembered(fab: Fab, shell: str, tmp_path: Path) -> None:
    commands = Commands(fab, shell, tmp_path)
    write_tree(commands.src, (b"a", b"b.bad"))
    fails = 'sh -c \'case $1 in *.bad) exit 9; esac; cp "$1" "$2.1"\' sh {in} {out}'
    commands(fails, code=1)
    assert commands.failed() == {"b.bad": "exit 9"}
    again = fab("retry", "--dst", str(commands.dst), "--retries=0", code=1)
    assert "b.bad: exit 9" in again.stdout
    (commands.src / "b.bad").rename(commands.src / "b.good")
    assert "1 of 2 inputs done" in commands(fails)
    assert "nothing to do: all 2 results are there" in commands(fails)
    assert "2 of 2 inputs done" in commands(fails.replace("$2.1", "$2.2"))
    assert set(tree(commands.dst)) == {b"a.1", b"b.1", b"a.2", b"b.2"}


def test_inputs_that_would_have_the_same_result_never_get_anothers(fab: Fab, shell: str, tmp_path: Path) -> None:
    """The second command fails after it has overwritten what the first one made."""
    commands = Commands(fab, shell, tmp_path)
    write_tree(commands.src, (b"a.1", b"a.2"))
    script = 'echo "of $1" >"$2.x"; case $1 in *.2) exit 5; esac'
    commands(f"sh -c '{script}' sh {{in}} {{out}}", "--retries=0", code=1)
    assert tree(commands.dst) == {b"a.x": b"of /in/a.1\n"}
    assert commands.failed() == {"a.2": "exit 5"}


def test_a_program_that_is_not_in_the_image(fab: Fab, busybox: str, tmp_path: Path) -> None:
    commands = Commands(fab, busybox, tmp_path)
    write_tree(commands.src, tuple(b"%d" % number for number in range(40)))
    said = commands("ffmpeg {in} {out}.mp4", code=1)
    assert "every batch fails: exit 127: " in said, said


def test_an_image_without_a_shell_is_refused(fab: Fab, no_shell: str, tmp_path: Path) -> None:
    commands = Commands(fab, no_shell, tmp_path)
    write_tree(commands.src, (b"a",))
    said = commands(COPY, code=2)
    assert f"error: image '{no_shell}' has no /bin/sh, which --each needs (" in said
    assert tree(commands.dst) == {}


@pytest.mark.long
def test_another_entrypoint(runs: Runs, fab: Fab, busybox: str) -> None:
    runs.write("a", "d/b")
    argv = ["--src", str(runs.src), "--dst", str(runs.dst), "--image", busybox]
    fab("run", *argv, "--entrypoint=/bin/cp", "--args=-R -T")
    assert runs.results() == {"a": "a", "d/b": "d/b"}
    done = fab("run", *argv, "--entrypoint=", "--args=/bin/cp -R -T")
    assert "2 of 2 inputs done" in done.stdout
    assert fab("run", *argv, "--entrypoint=/nosuch", "--retries=0", code=1).returncode == 1
