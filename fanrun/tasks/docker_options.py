"""The options of `fab run` that docker gets as they are: a network, GPUs, and the platform of the image."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fanrun.fanout.program import DEFAULT_DOCKER, DockerOptions
from fanrun.fleet.errors import UsageError
from provision.options import Flag

NETWORK = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
GPUS = re.compile(r"all|[1-9][0-9]*|device=[\w.:-]+(,[\w.:-]+)*", re.ASCII)
PLATFORM = re.compile(r"linux/[a-z0-9]+(/v[0-9]+)?")

DOCKER_FLAGS = {
    "network": Flag(
        "a network for the program: bridge, host, or one of the workers' Docker by its name (default: none)"
    ),
    "gpus": Flag("GPUs for each container, as all, 2 or device=0,1 (default: none)"),
    "platform": Flag("what the image has to be for, as linux/arm64"),
}


def chosen_docker(given: Mapping[str, object]) -> DockerOptions:
    """Return what the options say; UsageError for one that can't be meant."""
    network, gpus, platform = (None if given[name] is None else str(given[name]) for name in DOCKER_FLAGS)
    if network is not None and not NETWORK.fullmatch(network):
        raise UsageError(f"--network={network!r}: give bridge, host, or the name of a network of the workers' Docker")
    devices = None if gpus is None else gpus.strip('"')
    if devices is not None and not GPUS.fullmatch(devices):
        raise UsageError(f"--gpus={gpus!r}: give all, a number, or device=0,1 with the numbers or ids of GPUs")
    if platform is not None and not PLATFORM.fullmatch(platform):
        raise UsageError(f"--platform={platform!r}: give linux/ and a processor, as linux/amd64 or linux/arm64")
    return DockerOptions(network or DEFAULT_DOCKER.network, devices or "", platform or "")
