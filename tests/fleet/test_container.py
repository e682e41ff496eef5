"""What a program finds in its container besides its inputs: a user with a name, a language, and room for its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, docker, log, report, tree
from tests.variants import some

SHELL = 'ENTRYPOINT ["/bin/sh", "-c"]\n'
# Each image has other files and variables of its own.  Every image runs its argument.
IMAGES = {
    "plain": f"FROM debian:trixie-slim\n{SHELL}",
    "knows": "FROM debian:trixie-slim\nRUN groupadd -g 1000 lab && useradd -u 1000 -g 1000 -d /home/mary mary\n"
    f"ENV LANG=de_DE.UTF-8 USER=somebody\nUSER mary\n{SHELL}",
    "linked": "FROM debian:trixie-slim\nRUN mkdir /files && mv /etc/passwd /files && ln -s /files/passwd /etc/passwd\n"
    f"{SHELL}",
    "empty": "FROM debian:trixie-slim AS all\nRUN mkdir -p /new/bin && cp /bin/dash /new/bin/sh && "
    "cp -L --parents $(ldd /bin/dash | grep -o '/[^ ]*') /new\n"
    f"FROM scratch\nCOPY --from=all /new /\n{SHELL}",
}
# As builtins of the shell alone: nothing else is in the empty image.
LOOK = """
cd /in; for file in *; do {
  echo "$USER $LOGNAME $LANG $HOME"
  read -r first </etc/passwd; echo "$first"
  read -r first </etc/group; echo "$first"
  while read -r line; do case $line in root:*) echo "$line" ;; esac; done </etc/passwd
  echo x >/tmp/x && echo x >/dev/shm/x && echo writable
} >"/out/$file"; done
"""
ROOT = ["root:x:0:0:root:/root:/bin/bash"]
FILLS = "cd /in; for file in *; do dd if=/dev/zero of={}/x bs=1M count={} && cp $file /out || exit 4; rm {}/x; done"


def build(context: Path, name: str, text: str) -> None:
    """Build an image from the text of a Dockerfile."""
    (context / "Dockerfile").write_text(text)
    docker("build", "--quiet", f"--tag={name}", str(context))


@pytest.fixture(scope="module")
def images(fab: Fab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The images that were built from IMAGES, by the same names."""
    context = tmp_path_factory.mktemp("context")
    names = {name: f"fanrun-test-container-{name}-{fab.fleet}" for name in IMAGES}
    for name, text in IMAGES.items():
        build(context, names[name], text)
    yield names
    docker("rmi", "--force", *names.values())


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Three small files."""
    (tmp_path / "src").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "src" / name).write_text(name)
    return tmp_path / "src"


FANRUN = ["fanrun fanrun C.UTF-8 /tmp", "fanrun:x:1000:1000:fanrun:/tmp:/bin/sh", "fanrun:x:1000:"]
USERS = {
    "plain": [*FANRUN, *ROOT],
    "knows": ["somebody mary de_DE.UTF-8 /tmp", "mary:x:1000:1000:mary:/tmp:/bin/sh", "lab:x:1000:", *ROOT],
    "linked": [*FANRUN, *ROOT],
    "empty": FANRUN,
}
"""What LOOK finds in each image: variables, the user's entries in passwd and group, root's entries."""


@pytest.mark.parametrize("image", some(USERS, "plain"))
def test_a_program_has_a_user_with_a_name(
    fab: Fab, images: dict[str, str], inputs: Path, tmp_path: Path, image: str
) -> None:
    dst = tmp_path / "dst"
    fab("run", "--src", str(inputs), "--dst", str(dst), "--image", images[image], "--args", f"'{LOOK}'")
    assert {text.decode() for text in tree(dst).values()} == {"\n".join([*USERS[image], "writable", ""])}
    for worker in ("worker-1", "worker-2"):
        assert fab.on(worker, "docker ps --all --quiet").split() == [], "what they were read from is gone"


def test_the_own_image_knows_its_user_too(fab: Fab, tmp_path: Path) -> None:
    """By Python, as a program would ask: of itself, and of whose the inputs are."""
    name = f"fanrun-test-container-python-{fab.fleet}"
    script = (
        "import getpass, os, pathlib, pwd; p = next(pathlib.Path('/in').iterdir()); o = open('/out/' + p.name, 'w'); "
        "print(getpass.getuser(), pwd.getpwuid(os.getuid()).pw_dir, p.owner(), p.group(), pathlib.Path.home(), file=o)"
    )
    tags = docker("image", "ls", "--format={{.Tag}}", f"--filter=reference=fanrun/process:{fab.fleet}.*").split()
    own = next(f"fanrun/process:{tag}" for tag in tags if ".cache-" not in tag)  # which is a stage of its build
    build(tmp_path, name, f'FROM {own}\nENTRYPOINT ["python3"]\n')
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").touch()
    argv = ["run", "--src", str(tmp_path / "src"), "--dst", str(tmp_path / "dst"), "--image", name]
    try:
        fab(*argv, "--args", f'-c "{script}"')
    finally:
        docker("rmi", "--force", name)
    assert tree(tmp_path / "dst") == {b"a": b"fanrun /tmp fanrun fanrun /tmp\n"}


FULL = {
    "/tmp": (300, "/tmp was full (256 MB), --tmp 1g gives it more", "--tmp=301m"),
    "/dev/shm": (70, "/dev/shm was full (64 MB), --shm 256m gives it more", "--shm=71m"),
}
"""For each folder: how many MB are written there, what is said of it, and the option that helps."""


@pytest.mark.parametrize("where", some(FULL, "/tmp"))
def test_a_full_tmp_or_shm_is_the_reason_and_what_is_said_helps(
    fab: Fab, images: dict[str, str], inputs: Path, tmp_path: Path, where: str
) -> None:
    dst = tmp_path / "dst"
    count, said, more = FULL[where]
    argv = ["run", "--src", str(inputs), "--dst", str(dst), "--image", images["plain"], "--retries=0", "--keep-going"]
    argv += ["--args", f"'{FILLS.format(where, count, where)}'"]
    done = fab(*argv, code=1)
    reason = f"the program ended with exit 4: dd: error writing '{where}/x': No space left on device; {said}"
    assert [item["reason"] for item in report(dst)["failed"]] == [reason] * 3
    assert reason in done.stdout
    assert " is lost" not in log(dst), "the worker is not to blame"
    fab(*argv, more)
    assert tree(dst) == tree(inputs)


def test_workers_with_too_little_memory_for_it_take_no_part(
    fab: Fab, images: dict[str, str], inputs: Path, tmp_path: Path
) -> None:
    argv = ["run", "--src", str(inputs), "--dst", str(tmp_path / "dst"), "--image", images["plain"], "--tmp=9000g"]
    said = fab(*argv, code=2).stderr
    assert "MB of memory, and --tmp wants 9216000 MB of that; give a smaller --tmp" in said
