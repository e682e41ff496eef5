"""Builds the images of process.py and of the services with this machine's docker, whatever network it stands in."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from fanrun.fleet import environment
from fanrun.fleet.errors import ImageError, ToolMissing, UsageError
from provision.registry import daemon
from provision.registry.background import Cancellation
from provision.registry.build_settings import machine_settings
from provision.registry.context import open_context

IMAGING_MODULES = (
    "__init__ bmp colour decode encode files gif heif inputs metadata png pool rotate rules scale tiff transform"
)
IMAGING = tuple(f"imaging/{name}.py" for name in IMAGING_MODULES.split())
SOURCES: tuple[str, ...] = ("Dockerfile", "process.py", *IMAGING, "requirements/image.txt")
SERVICE_LOCKS = ("requirements/image.txt", "requirements/service.txt")
LOADTEST = "service/loadtest/"  # not in the image
BASE = "debian:trixie-slim"
INSTALL_DOCKER = "install it (script/setup does it on Debian and Ubuntu; on macOS install Docker Desktop)"


ANSI = re.compile(r"\x1b\[[0-9;]*m")
STEP = re.compile(r"^#\d+ (\d+\.\d+ )?")  # how BuildKit begins its lines
# The builders' last words only repeat the whole command that failed; what it said stands before them.
EPITAPH = re.compile(r"returned a non-zero code|did not complete successfully|executor failed running")
UNTRUSTED = re.compile(r"(?i)certificate.verify.failed")  # pip goes on to say that it found no such package
TROUBLE = re.compile(r"(?i)\berror\b|^E: |\b(cannot|can't|could not|denied|failed|no such|not found)\b")


def service_sources(root: Path) -> tuple[str, ...]:
    """Return what the services' image is made of besides that of process.py, under `root`; its Dockerfile first."""
    programs = sorted(str(path.relative_to(root)) for path in (root / "service").rglob("*.py"))
    return ("service/Dockerfile", *SERVICE_LOCKS, *(name for name in programs if not name.startswith(LOADTEST)))


def source_hash(root: Path, sources: Sequence[str] = SOURCES) -> str:
    """Return 64 hex digits that change when, and only when, the sources do; raises UsageError if one is not there."""
    digest = hashlib.sha256()
    for name in sources:
        content = read_source(root, name)
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def read_source(root: Path, name: str) -> bytes:
    """Read one of the sources; raises UsageError if it can't be read."""
    try:
        return (root / name).read_bytes()
    except OSError as error:
        problem = error.strerror or error
        raise UsageError(f"can't read {root / name} ({problem}): run this in Fanrun's own folder") from error


def build_argv(
    tag: str,
    *,
    platform: str = "",
    proxies: Sequence[str] = (),
    loopback: bool = False,
    process: str = "",
) -> list[str]:
    """Return the command that builds an archive, its standard input, into the image `tag`; `platform`: as linux/arm64.

    With `process`, the tag of process.py's image, it is the services' that is built.
    """
    options = [option for name in proxies for option in ("--build-arg", name)]
    if process:
        options += ["--file", "service/Dockerfile", "--build-arg", f"PROCESS={process}"]
    if platform:
        options += ["--platform", platform]
    if loopback:
        options += ["--network", "host"]
    return ["docker", "build", "--force-rm", "--tag", tag, *options, "-"]


def build(
    root: Path,
    tag: str,
    *,
    log: Callable[[str], None],
    process: str = "",
    cancellation: Cancellation | None = None,
) -> str:
    """Build process.py's image from the sources under `root`, tag it, and return its id (sha256:...).

    With `process`, the tag of that image, build the services' on top of it.
    `log` gets each line of docker's output.  Nothing is sent to docker but
    the sources and the machine's settings; the latter stay in this docker's build cache and are not in the image.
    `cancellation` ends docker from another thread.
    Raises ToolMissing without a docker, ImageError if the image can't be built, UsageError without sources.
    """
    ensure_client_docker()
    ensure_base()
    settings = machine_settings(os.environ)
    files = {name: read_source(root, name) for name in (service_sources(root) if process else SOURCES)}
    files |= {f"build-settings/{name}": content for name, content in settings.files.items()}
    argv = build_argv(tag, process=process, proxies=settings.proxies, loopback=settings.loopback)
    with open_context(files) as context:
        stream(argv, context, log, cancellation or Cancellation())
    return image_id(tag)


def stream(argv: Sequence[str], context: IO[bytes], log: Callable[[str], None], cancellation: Cancellation) -> None:
    """Run docker and hand on its lines as they come; raises ImageError with the one that tells why it failed."""
    recent: deque[str] = deque(maxlen=200)
    with environment.for_build() as environ, cancellation.start(argv, context, environ) as docker:
        assert docker.stdout  # noqa: S101 - for the type checker: it was asked for above
        try:
            for line in docker.stdout:
                recent.append(line.rstrip())
                log(recent[-1])
        except BaseException:
            docker.terminate()
            raise
    if docker.returncode != 0:
        tag = argv[argv.index("--tag") + 1]
        raise ImageError(f"{tag} could not be built: {meaning(recent)}; mend that and try again", image=tag)


def meaning(lines: Sequence[str]) -> str:
    """Pick the line that tells what went wrong from docker's output; at most 300 characters."""
    told = [STEP.sub("", ANSI.sub("", line)).strip() for line in lines]
    told = [line for line in told if line and not EPITAPH.search(line)]
    if any(map(UNTRUSTED.search, told)):
        return "a package index showed a certificate that is not trusted: name your network's CA file in SSL_CERT_FILE"
    trouble = [line for line in told if TROUBLE.search(line)]
    return (trouble or told or ["docker said nothing"])[-1][:300].rstrip(":. ")


def image_id(tag: str) -> str:
    """Return the id of an image that was built; raises ImageError if docker has put it somewhere else."""
    found = docker_run("image", "inspect", "--format", "{{.Id}}", tag)
    if found.returncode != 0:
        problem = "was built, but by a builder that keeps its images to itself: run `docker buildx use default`"
        raise ImageError(f"{tag} {problem}", image=tag)
    return found.stdout.strip()


def docker_run(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run docker to its end and keep what it says; one that takes over `timeout` seconds counts as failed."""
    argv = ["docker", *arguments]
    try:
        return subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"no answer within {timeout:.0f} s")
    except OSError as error:
        raise ToolMissing(f"docker can't be run ({error.strerror}): {daemon.START}", tool="docker") from error


def ensure_client_docker() -> None:
    """Raise ToolMissing unless this machine has a docker whose daemon answers."""
    if shutil.which("docker") is None:
        raise ToolMissing(f"docker is not in PATH: {INSTALL_DOCKER}", tool="docker")
    answer = docker_run("version", "--format", "{{.Server.Version}}", timeout=20)
    if answer.returncode == 0:
        return
    raise daemon.no_answer(meaning(answer.stderr.splitlines()))


def ensure_base() -> None:
    """Pull the image that ours is built in unless it is here; raises ImageError if it can't be had."""
    if docker_run("image", "inspect", BASE).returncode == 0:
        return
    pulled = docker_run("pull", "--quiet", BASE, timeout=120)
    if pulled.returncode != 0:
        raise ImageError(
            f"{BASE} is not here and can't be pulled ({meaning(pulled.stderr.splitlines())}): run script/setup, which"
            " makes it from Debian's packages",
            image=BASE,
        )
