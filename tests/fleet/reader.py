"""Follow the documentation as a reader would: type the commands of a page in a checkout, and write its files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.harness import FAB, ROOT, Fab, docker

IGNORED = (".git", ".venv", ".fanrun", "__pycache__", ".*_cache", "output", "dataset")


@dataclass(frozen=True)
class Reader:
    """Types into bash in a copy of the checkout, with a fleet and a container image of this process's own."""

    checkout: Path
    fleet: str
    image: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of the shell: as after `. .venv/bin/activate`, and FANRUN_FLEET."""
        own = {"PATH": f"{FAB.parent}:{os.environ['PATH']}", "FANRUN_FLEET": self.fleet}
        return {**{name: value for name, value in os.environ.items() if name != "FANRUN_HOME"}, **own}

    def type(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of bash to its end; the image that pages call checksum has a name of its own."""
        for option in ("--tag checksum", "--image checksum", "--image=checksum"):
            script = script.replace(option, f"{option.removesuffix('checksum')}{self.image}")
        argv = ["bash", "-e", "-c", script]
        with subprocess.Popen(
            argv,
            cwd=self.checkout,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as bash:
            try:
                out, err = bash.communicate(timeout=400)
            except BaseException:  # what it started in the background may not have ended with it
                os.killpg(bash.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(argv, bash.returncode, out, err)

    def write(self, name: str, content: str) -> None:
        """Write a file that a page shows."""
        (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (self.checkout / name).write_text(content)


@contextmanager
def reader(top: Path, name: str) -> Iterator[Reader]:
    """Give a reader a checkout; at the end its fleet and its image are gone."""
    made = Reader(top / "fanrun", f"{name}-{os.getpid()}", f"fanrun-tests-{name}-{os.getpid()}")
    shutil.copytree(ROOT, made.checkout, ignore=shutil.ignore_patterns(*IGNORED))
    try:
        yield made
    finally:
        Fab(made.checkout / ".fanrun", made.fleet, root=made.checkout)("down", "--yes", code=None)
        if docker("images", "--quiet", made.image):
            docker("rmi", made.image)
