"""The fleet that is measured: its start and its end, and the container image with a heavier operation."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contest import BenchError
from fanrun.fleet import config
from fanrun.fleet.store import Folder
from provision import deployment

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
FAB = (str(Path(sys.executable).with_name("fab")), "--search-root", str(ROOT))
FLEET = "bench"
WORKERS = 2
STOP_SIGNALS = (signal.SIGHUP, signal.SIGTERM)


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def fab(*argv: str) -> None:
    """Run a task and show its output; raises BenchError if it fails."""
    done = subprocess.run([*FAB, *argv], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise BenchError(f"fab {argv[0]} ended with {done.returncode}")


@contextlib.contextmanager
def start_fleet() -> Iterator[Folder]:
    """Start a fleet of two workers, and end it afterwards whatever happens."""
    home = config.settings(ROOT, {}, os.environ, {}).home
    os.environ["FANRUN_HOME"] = str(home)  # fabric.yaml may name another
    try:
        fab("up", f"--hosts={WORKERS}", "--fleet", FLEET)
        yield Folder(home, FLEET)
    finally:
        # A second Ctrl-C would leave hosts behind.
        for number in (signal.SIGINT, *STOP_SIGNALS):
            signal.signal(number, signal.SIG_IGN)
        fab("down", "--yes", "--fleet", FLEET)


def deploy_image(folder: Folder, name: str) -> str:
    """Build the container image of a folder beside this file, deploy it to the workers, and return its name."""
    base, tag = folder.load().images[deployment.OWN].id, f"fanrun-bench-{name}"
    argv = ["docker", "build", "--quiet", f"--build-arg=BASE={base}", f"--tag={tag}", str(HERE / name)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"docker build ended with {done.returncode}: {done.stderr.strip()}")
    deployment.deploy(folder, ROOT, lambda name, text: say(f"{name}: {text}"), tag)
    return tag
