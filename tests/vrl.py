"""Run Vector's language VRL with the package vector-vrl, in a Python of 3.12 or later, or else in a container."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[1]
CHILD = ROOT / "tests" / "vrl_child.py"
ASK_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"
DOCKERFILE = """FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3-minimal libpython3-stdlib
"""
IMAGE = "fanrun-tests-python"


@dataclass(frozen=True)
class Interpreter:
    """A Python of at least 3.12: the command that starts it, where it reads packages from, and its version."""

    argv: tuple[str, ...]
    packages: Path
    version: str

    def check(self, file: Path) -> dict[str, str]:
        """Return why each transform of a configuration does not compile, "" if it does."""
        return cast("dict[str, str]", self._ask({"do": "check", "file": str(file)}))

    def tests(self, file: Path) -> dict[str, str]:
        """Return why each of a configuration's own tests does not hold, "" if it does."""
        return cast("dict[str, str]", self._ask({"do": "tests", "file": str(file)}))

    def run(self, file: Path, transform: str, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what a transform makes of each event; `error` says why where it makes nothing of it."""
        question = {"do": "run", "file": str(file), "transform": transform, "events": events}
        return cast("list[dict[str, Any]]", self._ask(question))

    def _ask(self, question: dict[str, Any]) -> object:
        environment = {**os.environ, "PYTHONPATH": str(self.packages)}
        done = subprocess.run(
            [*self.argv, str(CHILD)],
            input=json.dumps(question),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def candidates() -> Iterator[str]:
    """Name the interpreters that this machine may have, the tests' own first."""
    yield sys.executable
    names = [f"python3.{minor}" for minor in range(12, 20)]
    yield from (found for name in names if (found := shutil.which(name)))
    yield from sorted(str(path) for path in Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python3"))


def version_of(python: str) -> str:
    """Return an interpreter's version, as 3.13; "" if it does not run."""
    done = subprocess.run([python, "-c", ASK_VERSION], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def is_new(version: str) -> bool:
    """Whether vector-vrl is made for that version."""
    return bool(version) and (3, 12) <= tuple(int(part) for part in version.split(".")) < (3, 15)


def install(packages: Path, version: str) -> None:
    """Bring vector-vrl, as requirements/dev.txt pins it for that version, into a folder."""
    text = (ROOT / "requirements" / "dev.txt").read_text()
    pinned = re.findall(r"^vector-vrl==(?:.*\\\n)+.*\n", text, re.MULTILINE)
    packages.mkdir(parents=True)
    (packages / "lock.txt").write_text("".join(pinned))
    argv = ["uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--native-tls"]
    argv += [f"--python-version={version}", f"--target={packages}", f"--requirements={packages / 'lock.txt'}"]
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([str(uv), *argv[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def find_here(folder: Path) -> Interpreter | None:
    """Return an interpreter of this machine that can run vector-vrl, with it installed; None if there is none."""
    for python in candidates():
        if is_new(version := version_of(python)):
            install(folder, version)
            return Interpreter((python,), folder, version)
    return None


def in_container(folder: Path) -> Interpreter:
    """Return Debian's interpreter in a container, which reads the files of this checkout and those under /tmp."""
    subprocess.run(
        ["docker", "build", "--quiet", f"--tag={IMAGE}", *proxies(os.environ), "-"],
        input=DOCKERFILE,
        text=True,
        check=True,
        capture_output=True,
    )
    install(folder, "3.13")
    argv = (
        "docker",
        "run",
        "--rm",
        "--interactive",
        "--network=none",
        f"--env=PYTHONPATH={folder}",
        f"--volume={ROOT}:{ROOT}:ro",
        f"--volume={folder}:{folder}:ro",
        IMAGE,
        "python3",
    )
    return Interpreter(argv, folder, "3.13")


def proxies(environment: Mapping[str, str]) -> list[str]:
    """Return the options by which a build uses this machine's proxies."""
    return [f"--build-arg={name}" for name in ("http_proxy", "https_proxy", "no_proxy") if name in environment]
