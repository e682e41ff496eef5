"""Follow the documentation as a reader would: type the commands of a page in a checkout, and write its files."""

from __future__ import annotations

import os
import re
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
    """Types into bash in a copy of the checkout, with a fleet and container images of this process's own.

    `image` begins their names; `images` are the names that pages have for them.
    """

    checkout: Path
    fleet: str
    image: str
    images: tuple[str, ...] = ("checksum",)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of the shell: as after `. .venv/bin/activate`, and FANRUN_FLEET."""
        own = {"PATH": f"{FAB.parent}:{os.environ['PATH']}", "FANRUN_FLEET": self.fleet}
        return {**{name: value for name, value in os.environ.items() if name != "FANRUN_HOME"}, **own}

    def type(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of bash to its end; the images of pages have names of their own."""
        argv = ["bash", "-e", "-c", self.with_own_images(script)]
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
        (self.checkout / name).write_text(self.with_own_images(content))

    def with_own_images(self, text: str) -> str:
        """Return commands, or a Dockerfile, with this process's images in place of those of a page."""
        names = "|".join(self.images)
        return re.sub(
            rf"(--tag |--image[ =]|^FROM |docker create --name \w+ )({names})\b",
            rf"\1{self.image}-\2",
            text,
            flags=re.MULTILINE,
        )


@contextmanager
def reader(top: Path, name: str, *images: str) -> Iterator[Reader]:
    """Give a reader a checkout; at the end its fleet and its images are gone."""
    image = f"fanrun-tests-{name}-{os.getpid()}"
    made = Reader(top / "fanrun", f"{name}-{os.getpid()}", image, images or Reader.images)
    shutil.copytree(ROOT, made.checkout, ignore=shutil.ignore_patterns(*IGNORED))
    try:
        yield made
    finally:
        Fab(made.checkout / ".fanrun", made.fleet, root=made.checkout)("down", "--yes", code=None)
        for each in made.images:
            if docker("images", "--quiet", f"{image}-{each}"):
                docker("rmi", f"{image}-{each}")
