"""The service's containers as docker commands: pure, tested to the letter, run elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fanrun.fleet.model import Fleet, Host, Image
from fanrun.fleet.probe import WORK
from provision.hosts.common import ANY

API_PORT, PROCESSOR_PORT = 50051, 50052
METRICS_PORT = 5001
FOLDER = f"{WORK}/service"
OWNER = "65532:65532"  # whom the image runs as
PROCESSORS = "processors"  # the name in all of their certificates
TLS = (
    "--tls-cert=/service/cert.pem",
    "--tls-key=/service/key.pem",
    "--metrics-client-ca=/service/ca.pem",
)
CLIENT_CA = "--client-ca=/service/ca.pem"
# Vector reads Docker's log files, and the label in each line tells it which service wrote the line.  Vector may need
# two seconds to find a new file.  Until then Docker must not delete lines, so three files of 16 MB are kept.
LOGGING = (
    "--log-driver=json-file",
    "--log-opt=max-size=16m",
    "--log-opt=max-file=3",
    "--log-opt=labels=fanrun.service",
)


@dataclass(frozen=True)
class ApiOptions:
    """What the API is told: flags of service.api, and the text of a file of bearer tokens, "" for none."""

    args: list[str] = field(default_factory=list)
    tokens: str = ""


@dataclass(frozen=True)
class HostSetup:
    """How a host is set up for servers: `bind` is its address to listen at, `files` {role: a hash of them}."""

    bind: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Container:
    """A server on a host; `metrics` is where they are, `spec` changes with all that needs it to be started anew."""

    host: Host
    name: str
    port: int
    metrics: str
    argv: tuple[str, ...]
    files: str

    @property
    def key(self) -> tuple[str, str]:
        """Which machine it is on, and its name there."""
        return self.host.inner, self.name

    @property
    def spec(self) -> str:
        """A hash of all that it is started with."""
        return hashlib.sha256(json.dumps([self.argv, self.files]).encode()).hexdigest()[:12]


def processors(fleet: Fleet, image: Image, replicas: int, setups: Mapping[str, HostSetup]) -> list[Container]:
    """So many processors, dealt round robin to the workers; those of one worker at ports one after the other."""
    found = []
    for number in range(replicas):
        turn, place = divmod(number, len(fleet.workers))
        host = fleet.workers[place]
        found.append(_processor(host, image, turn, setups[host.name]))
    return found


def _processor(host: Host, image: Image, turn: int, setup: HostSetup) -> Container:
    port, metrics_port, name = PROCESSOR_PORT + turn, METRICS_PORT + 1 + turn, f"fanrun-processor-{turn + 1}"
    published = [f"{setup.bind}:{port}:{PROCESSOR_PORT}", f"{setup.bind}:{metrics_port}:{METRICS_PORT}"]
    argv = (
        *_run(name, "processor", published, image),
        "service.processor",
        *TLS,
        CLIENT_CA,
    )
    return Container(host, name, port, f"{host.inner}:{metrics_port}", argv, setup.files["processor"])


def api(fleet: Fleet, image: Image, options: ApiOptions, setup: HostSetup) -> Container:
    """The API, at the hub's address and its loopback, its metrics at loopback alone.

    Callers show a certificate, or a token where there are tokens.
    """
    metrics = f"127.0.0.1:{METRICS_PORT}"
    name, ports = "fanrun-api", [f"{metrics}:{METRICS_PORT}", f"{setup.bind}:{API_PORT}:{API_PORT}"]
    if setup.bind != ANY:
        ports.append(f"127.0.0.1:{API_PORT}:{API_PORT}")
    argv = (
        *_run(name, "api", ports, image),
        "service.api",
        *options.args,
        *TLS,  # the later win: TLS can't be taken away
        "--processor=file:/service/processors",
        f"--processor-name={PROCESSORS}",
        "--processor-ca=/service/ca.pem",
        "--processor-cert=/service/cert.pem",
        "--processor-key=/service/key.pem",
        "--tokens=/service/tokens" if options.tokens else CLIENT_CA,
    )
    return Container(fleet.hub, name, API_PORT, metrics, argv, setup.files["api"])


def _run(name: str, role: str, published: Sequence[str], image: Image) -> tuple[str, ...]:
    """The docker command up to the program: unprivileged, nothing writable, back after a reboot."""
    return (
        "docker",
        "run",
        "--detach",
        f"--name={name}",
        "--restart=unless-stopped",
        f"--label=fanrun.service={role}",
        "--read-only",
        "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--user={OWNER}",
        "--pids-limit=1024",
        *LOGGING,
        f"--volume={FOLDER}/{role}:/service:ro",
        *(f"--publish={each}" for each in published),
        image.ref,
    )
