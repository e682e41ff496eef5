"""Builds the images of process.py and of the services with this machine's docker, whatever network it stands in."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from fanrun.fleet import environment
from fanrun.fleet.errors import ImageError, ToolMissing, UsageError
from provision.registry import daemon
from provision.registry.background import Cancellation
from provision.registry.context import open_context

IMAGING = tuple(f"imaging/{name}.py" for name in (
    "__init__", "bmp", "colour", "decode", "encode", "gif", "heif", "metadata", "png", "rotate", "rules", "scale",
    "tiff", "transform",
))  # fmt: skip
SOURCES: tuple[str, ...] = ("Dockerfile", "process.py", *IMAGING, "requirements/image.txt")
SERVICE_LOCKS = ("requirements/image.txt", "requirements/service.txt")
LOADTEST = "service/loadtest/"  # not in the image
BASE = "debian:trixie-slim"
INSTALL_DOCKER = "install it (script/setup does it on Debian and Ubuntu; on macOS install Docker Desktop)"

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
CA_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
PIP_FOLDERS = ("/etc/xdg/pip", "/etc", "/Library/Application Support/pip")
PIP_INDEX = ("index-url", "extra-index-url", "trusted-host")
# docker knows these by itself, and keeps them out of the image
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

ANSI = re.compile(r"\x1b\[[0-9;]*m")
STEP = re.compile(r"^#\d+ (\d+\.\d+ )?")  # how BuildKit begins its lines
# The builders' last words only repeat the whole command that failed; what it said stands before them.
EPITAPH = re.compile(r"returned a non-zero code|did not complete successfully|executor failed running")
UNTRUSTED = re.compile(r"(?i)certificate.verify.failed")  # pip goes on to say that it found no such package
TROUBLE = re.compile(r"(?i)\berror\b|^E: |\b(cannot|can't|could not|denied|failed|no such|not found)\b")


@dataclass(frozen=True)
class Settings:
    """What this machine's network asks of a build: `files` by name, for build-settings/, and docker's options.

    `proxies` are names of environment variables, whose values docker takes from the environment itself, so that a
    password in them is in no command line.  `loopback` says that a proxy or an index listens on this machine.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    proxies: tuple[str, ...] = ()
    loopback: bool = False


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
    platform: str = "",
    process: str = "",
    cancellation: Cancellation | None = None,
) -> str:
    """Build process.py's image from the sources under `root`, tag it, and return its id (sha256:...).

    With `process`, the tag of that image, build the services' on top of it.
    `log` gets each line of docker's output; without `platform` it is docker's own.  Nothing is sent to docker but
    the sources and the machine's settings; the latter stay in this docker's build cache and are not in the image.
    `cancellation` ends docker from another thread.
    Raises ToolMissing without a docker, ImageError if the image can't be built, UsageError without sources.
    """
    ensure_client_docker()
    ensure_base()
    settings = machine_settings(os.environ)
    files = {name: read_source(root, name) for name in (service_sources(root) if process else SOURCES)}
    files |= {f"build-settings/{name}": content for name, content in settings.files.items()}
    argv = build_argv(tag, platform=platform, process=process, proxies=settings.proxies, loopback=settings.loopback)
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


def machine_settings(environ: Mapping[str, str]) -> Settings:
    """Gather what this machine's network asks of a build from the environment, pip's settings and apt's."""
    pip = pip_settings(environ)
    index = {key: pip[key] for key in PIP_INDEX if pip.get(key)}
    files = {
        "ca.pem": ca_bundle(environ, pip.get("cert")),
        "pip.conf": "".join(["[global]\n", *(f"{key} = {index[key]}\n" for key in index)]).encode() if index else b"",
        "apt.conf": apt_proxies(),
    }
    proxies = tuple(name for name in PROXIES if environ.get(name))
    urls = [environ[name] for name in proxies] + " ".join(index.values()).split()
    urls += re.findall(r'"(.*)"', files["apt.conf"].decode())
    return Settings({name: text for name, text in files.items() if text}, proxies, any(map(is_loopback, urls)))


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine itself, where a container's own network would not."""
    with suppress(ValueError):
        host = urlsplit(url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")
    return False


def ca_bundle(environ: Mapping[str, str], cert: str | None = None) -> bytes:
    """Read the CAs that this machine trusts, as PEM: pip's own `cert` before all others; none if no file has them."""
    paths = [environ.get("PIP_CERT"), cert, *map(environ.get, CA_VARIABLES)]
    for path in filter(None, (*paths, ssl.get_default_verify_paths().cafile, *CA_FILES)):
        with suppress(OSError):
            return Path(path).read_bytes()
    return b""


def pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Read pip's settings as pip does, without the URLs that lead nowhere from inside a build, as file:// does.

    https://pip.pypa.io/en/stable/topics/configuration/; read here because asking pip takes most of a second.
    """
    home, named = Path(environ.get("HOME", "/")), environ.get("PIP_CONFIG_FILE", "")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    user = [home / ".pip", home / "Library/Application Support/pip", config / "pip"]
    folders = [*map(Path, PIP_FOLDERS), *user, Path(sys.prefix)]
    parser = configparser.RawConfigParser(strict=False)
    with suppress(configparser.Error, UnicodeDecodeError):  # then pip says so, better than we can
        if named != os.devnull:
            parser.read([*(folder / "pip.conf" for folder in folders), *filter(None, [named])])
    found = {key: value for scope in ("global", "install") if scope in parser for key, value in parser[scope].items()}
    found |= {key: environ[name] for key in PIP_INDEX if (name := f"PIP_{key.upper().replace('-', '_')}") in environ}
    return {
        key: " ".join(word for word in value.split() if "://" not in word or word.startswith("http"))
        for key, value in found.items()
    }


def apt_proxies() -> bytes:
    """Return apt's settings of proxies, as apt.conf has them; none where there is no apt."""
    if shutil.which("apt-config") is None:
        return b""
    told = subprocess.run(["apt-config", "dump"], capture_output=True, check=False).stdout
    return b"".join(re.findall(rb"(?im)^Acquire::https?::Proxy(?:::\S+)? .*;\n", told))
