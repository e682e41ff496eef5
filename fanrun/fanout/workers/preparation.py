"""What a worker needs before its first batch: reference data, variables of the program, a network that exists."""

from __future__ import annotations

from dataclasses import dataclass

from fanrun.fanout import run_commands
from fanrun.fanout.variables import Variables
from fanrun.fanout.workers.delivery import Delivery
from fanrun.fanout.workers.input_cache import InputCache
from fanrun.fanout.workers.link import Link
from fanrun.fleet.errors import HostUnreachable
from fanrun.fleet.probe import Probe

SECONDS = 40
"""Seconds that a command may take which neither reads nor sends much."""
OF_DOCKER = ("none", "bridge", "host")
"""The networks that every Docker has."""


@dataclass(frozen=True)
class Preparation:
    """Gets the workers of a run ready, and finds out which inputs are in their caches; `run` is its name."""

    run: str
    delivery: Delivery
    cache: InputCache
    variables: Variables
    network: str

    def prepare(self, link: Link, probe: Probe) -> None:
        """Get a worker ready that has the folder of the run; raise HostUnreachable if that fails."""
        self.delivery.to_worker(link)
        check_network(link, self.network)
        send_variables(link, self.run, self.variables)
        self.cache.look(link, probe)


def check_network(link: Link, network: str) -> None:
    """Raise HostUnreachable if a worker's Docker has not the network: each batch would fail there."""
    if network in OF_DOCKER:
        return
    argv = [*link.layout.prefix, "docker", "network", "inspect", "--format", "{{.Id}}", network]
    done = link.run(argv, timeout=SECONDS)
    if done.exit_code != 0:
        raise HostUnreachable(f"its Docker can't use --network {network} ({done.reason})", host=link.host)


def send_variables(link: Link, run: str, variables: Variables) -> None:
    """Write the variables, if there are any, to a file in the folder of a run; raise HostUnreachable if that fails.

    They are sent as standard input: everybody on a machine may read the arguments of its processes.
    """
    if not variables.values:
        return
    text = variables.env_file
    done = link.run(run_commands.variables_argv(run, len(text), link.layout), stdin=text, timeout=SECONDS)
    if done.exit_code != 0:
        raise HostUnreachable(f"the environment variables can't be written there ({done.reason})", host=link.host)
