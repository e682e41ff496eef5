"""The program that is run over every batch, and what its containers may use."""

from __future__ import annotations

from dataclasses import dataclass

from fanrun.fanout.reference import Version
from fanrun.fleet.probe import Probe

MIB = 1024**2
TMP, SHM = "/tmp", "/dev/shm"  # noqa: S108 - inside the container
MIN_MEMORY = 6 * MIB
"""The least memory that Docker gives to a container, in bytes."""
AUTO = 0
"""The number of containers at a time that means: as many as the worker has room for."""


@dataclass(frozen=True)
class Scratch:
    """The bytes that a container's /tmp and /dev/shm hold; what is in them counts as its memory."""

    tmp: int = 256 * MIB
    shm: int = 64 * MIB


USUAL = Scratch()


@dataclass(frozen=True)
class DockerOptions:
    """What docker is told besides limits: the name of a network, GPUs ("": none), the image's platform ("": any)."""

    network: str = "none"
    gpus: str = ""
    platform: str = ""

    @property
    def argv(self) -> list[str]:
        """The options of `docker run` besides --network."""
        # Docker takes a list of devices for one only within quotes.
        gpus = f'"{self.gpus}"' if "," in self.gpus else self.gpus
        return [*(["--gpus", gpus] if gpus else []), *(["--platform", self.platform] if self.platform else [])]

    @property
    def named(self) -> dict[str, str]:
        """What may change results, for the ledger: a network, and that there are GPUs.

        How many they are does not count, as with cores; another platform is another image.
        """
        network = {} if self.network == DEFAULT_DOCKER.network else {"network": self.network}
        return {**network, **({"gpus": "yes"} if self.gpus else {})}


DEFAULT_DOCKER = DockerOptions()


@dataclass(frozen=True)
class Program:
    """What is run over every batch; `ref` is what workers pull.

    It has hung when it finishes nothing for `timeout` seconds (0: however long); `memory` in bytes (0: the usual) and
    `cpus` in cores (0: all) are a container's.  `jobs` of them run on a worker at the same time (AUTO: as many as it
    has room for).  `entrypoint` takes the place of the image's; with `each`, which each.parse makes, a command is run
    for each input.  `mounts` are what containers see besides.  With
    `has_variables` the folder of the run has a file of environment variables for it.  `docker` is what docker is told
    besides.
    """

    ref: str
    args: tuple[str, ...] = ()
    timeout: int = 0
    memory: int = 0
    scratch: Scratch = USUAL
    cpus: float = 0.0
    jobs: int = 1
    entrypoint: str | None = None
    each: tuple[str, ...] = ()
    mounts: tuple[Version, ...] = ()
    has_variables: bool = False
    docker: DockerOptions = DEFAULT_DOCKER


def memory_limit(program: Program, probe: Probe, containers: int = 1) -> int:
    """Return the bytes of memory for a container: what was asked for, else its part of nine tenths of the host's.

    A program that takes more is ended by the kernel, and the host's sshd and dockerd live on.
    """
    return program.memory or _usable_memory(probe) // containers


def _usable_memory(probe: Probe) -> int:
    """Return the bytes of a host's memory that its containers may use together."""
    return probe.memory * 9 // 10


def max_containers(program: Program, probe: Probe) -> int:
    """Return how many containers a host may run at the same time: what was asked for, else one for each core.

    Where each may have so much memory or CPU, no more than the host has room for.
    """
    if program.jobs != AUTO:
        return program.jobs
    bounds = [float(probe.cpus)]
    bounds += [probe.cpus / program.cpus] if program.cpus else []
    bounds += [_usable_memory(probe) / program.memory] if program.memory else []
    return max(int(min(bounds)), 1)
