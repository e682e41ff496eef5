"""The real `fab` in a copy of the checkout in which something is damaged, missing or in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from fanrun.fleet.store import Folder
from provision import lifecycle
from tests.unit.samples import write_tree
from tests.unit.test_house import FILES, ROOT
from tests.variants import some

FAB = str(Path(sys.executable).with_name("fab"))
# What an empty local fleet needs of Docker: it answers, and has no hosts.
DOCKER = "#!/bin/sh\n"
TASKS = (["--list"], ["--help", "up"], ["down"], ["status"])


class Checkout(NamedTuple):
    """A copy of the project; `bin` is in PATH before all else, `stray` is in PYTHONPATH."""

    root: Path
    bin: Path
    stray: Path

    def fab(self, *argv: str, code: int | None = 0) -> str:
        """Run fab there; return what it wrote."""
        mine = {key: value for key, value in os.environ.items() if not key.startswith("FANRUN_")}
        mine |= {"PATH": f"{self.bin}:{os.environ['PATH']}", "PYTHONPATH": str(self.stray)}
        done = subprocess.run(
            [FAB, *argv],
            cwd=self.root,
            env=mine,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def begin_fleet(self) -> Folder:
        """Begin a local fleet that has no hosts yet."""
        folder = Folder(self.root / ".fanrun", "default")
        lifecycle.begin(folder, "local", 1)
        return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "checkout", tmp_path / "bin", tmp_path / "stray")
    for path in FILES:
        target = made.root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for folder in (made.bin, made.stray):
        folder.mkdir()
    (made.bin / "docker").write_text(DOCKER)
    (made.bin / "docker").chmod(0o755)
    return made


def write(name: str, text: str) -> Callable[[Checkout], None]:
    """Return what puts a file into a checkout."""

    def do(checkout: Checkout) -> None:
        (checkout.root / name).write_text(text)

    return do


def hide(*libraries: str) -> Callable[[Checkout], None]:
    """Return what makes libraries fail to import."""

    def do(checkout: Checkout) -> None:
        for library in libraries:
            (checkout.stray / f"{library}.py").write_text(f'raise ImportError("no {library} here", name="{library}")\n')

    return do


def add_strays(checkout: Checkout) -> None:
    """Put modules of a person's own beside fabfile.py, with names that libraries have."""
    names = ("boto3", "cryptography", "getpass", "loguru", "PIL", "queue", "sqlite3", "statistics", "tqdm", "yaml")
    for name in names:
        (checkout.root / f"{name}.py").write_text("raise SystemExit('the stray module was imported')\n")


DAMAGE: dict[str, Callable[[Checkout], None]] = {
    "program with a syntax error": write("process.py", "def broken(:\n"),
    "program that ends when it is imported": write("process.py", "import sys\nsys.exit(7)\n"),
    "no program": lambda checkout: (checkout.root / "process.py").unlink(),
    "broken Dockerfile": write("Dockerfile", "FRM nothing\n"),
    "broken requirements": write("requirements/image.txt", "\0==?\n"),
    "no requirements": lambda checkout: (checkout.root / "requirements/image.txt").unlink(),
    "broken prices": write("provision/providers/ec2/prices.json", "{"),
    "broken project file": write("pyproject.toml", "[["),
    "no optional libraries": hide("boto3", "botocore", "PIL", "grpc", "httpx", "prometheus_client"),
    "modules named like libraries": add_strays,
}


@pytest.mark.parametrize("argv", TASKS, ids=" ".join)
@pytest.mark.parametrize("name", some(DAMAGE, "no program", "no optional libraries", "modules named like libraries"))
def test_every_task_that_does_not_need_it_works(checkout: Checkout, name: str, argv: Sequence[str]) -> None:
    folder = checkout.begin_fleet()
    DAMAGE[name](checkout)
    told = checkout.fab(*argv, code=1 if argv == ["status"] else 0)  # a fleet without hosts is not well
    assert "error" not in told
    assert "stray" not in told
    if argv == ["down"]:
        assert not folder.path.exists()


def test_a_missing_program_is_named_by_the_tasks_that_need_it(checkout: Checkout) -> None:
    (checkout.root / "process.py").unlink()
    write_tree(checkout.root / "src", (b"a.jpg",))
    told = checkout.fab("up", code=2).splitlines()
    problem = f"can't read {checkout.root / 'process.py'} (No such file or directory)"
    missing = f"error: {problem}: run this in Fanrun's own folder"
    assert [line for line in told if line.startswith("error:")] == [missing]
    assert not (checkout.root / ".fanrun" / "default" / "fleet.json").exists(), "nothing was begun"
    checkout.begin_fleet()
    told = checkout.fab("run", "--src=src", "--dst=dst", code=2).splitlines()
    assert [line for line in told if line.startswith("error:")] == [missing]


def test_a_provider_whose_library_is_missing_says_so(checkout: Checkout) -> None:
    hide("boto3")(checkout)
    told = checkout.fab("up", "--provider=ec2", code=2).strip()
    assert told == (
        "error: provider ec2 needs a Python package that can't be imported (no boto3 here); script/setup installs it"
    )


def test_broken_prices_are_named_by_what_needs_them(checkout: Checkout) -> None:
    (checkout.root / "provision/providers/ec2/prices.json").write_text("{")
    script = "from provision.providers.ec2 import prices; prices.load()"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=checkout.root, capture_output=True, text=True, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert str(checkout.root / "provision/providers/ec2/prices.json") in last
    assert "restore it with git" in last
