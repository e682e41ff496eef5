"""The service's containers on one host: which run, starting and ending them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fanrun.fleet.errors import HostError
from fanrun.fleet.poll import RetryPolicy, poll
from fanrun.fleet.ssh import Remote
from fanrun.serving.containers import Container

READY, DRAIN = 60.0, 40
"""Seconds that a server may take to be ready, and to end."""
Say = Callable[[str, str], None]


def find_servers_host(remote: Remote) -> dict[tuple[str, str], str]:
    """Return the servers that run on this host, {(machine, name): spec}; remove those that have ended."""
    ended = ["docker", "ps", "--all", "--quiet", "--filter=label=fanrun.service", "--filter=status=exited"]
    if ids := remote.run([*ended, "--filter=status=created", "--filter=status=dead"], sudo=True).stdout.split():
        remote.run(["docker", "rm", "--force", *ids], sudo=True)
    listed = remote.run(
        ["docker", "ps", "--filter=label=fanrun.service", '--format={{.Names}} {{.Label "fanrun.spec"}}'], sudo=True
    )
    return {(remote.host.inner, line.split()[0]): line.split()[1] for line in listed.stdout.splitlines()}


def start_servers_host(remote: Remote, containers: Sequence[Container], say: Say) -> None:
    """Start the containers of this host in place of those with the same names, and wait until they answer."""
    servers = [server for server in containers if server.host == remote.host]
    for server in servers:
        remote.run(["docker", "stop", f"--time={DRAIN}", server.name], sudo=True, check=False, timeout=DRAIN + 20)
        remote.run(["docker", "rm", "--force", server.name], sudo=True, check=False)
        label = ["--label", f"fanrun.spec={server.spec}"]
        remote.run([*server.argv[:3], *label, *server.argv[3:]], sudo=True)
    for server in servers:
        _wait_ready(remote, server)
        say(remote.host.name, f"{server.name} answers at {remote.host.inner}:{server.port}")


def _wait_ready(remote: Remote, server: Container) -> None:
    """Wait until a server logs that it is ready; raise HostError with its last line if it does not start."""

    def read() -> tuple[str, list[str]]:
        said = remote.run(["docker", "logs", server.name], sudo=True, check=False).stderr.splitlines()
        state = remote.run(["docker", "inspect", "--format={{.State.Status}}", server.name], sudo=True).stdout.strip()
        return state, said

    def is_ready(seen: tuple[str, list[str]]) -> bool:
        return seen[0] == "running" and any('"ready"' in line for line in seen[1])

    seen = poll(read, lambda seen: seen[0] != "running" or is_ready(seen), RetryPolicy(READY, pause=0.2))
    if not is_ready(seen):
        remote.run(["docker", "rm", "--force", server.name], sudo=True)
        last = seen[1][-1] if seen[1] else "it said nothing"
        raise HostError(f"{server.name} does not start: {last}", host=remote.host.name)


def end_servers_host(remote: Remote, keep: set[tuple[str, str]], say: Say, role: str = "") -> None:
    """End the servers of this host that are not in `keep`; each finishes its requests first."""
    label = f"fanrun.service={role}" if role else "fanrun.service"
    names = remote.run(
        ["docker", "ps", "--all", f"--filter=label={label}", "--format={{.Names}}"], sudo=True
    ).stdout.split()
    surplus = [name for name in names if (remote.host.inner, name) not in keep]
    if surplus:
        remote.run(["docker", "stop", f"--time={DRAIN}", *surplus], sudo=True, timeout=DRAIN * len(surplus) + 20)
        remote.run(["docker", "rm", "--force", *surplus], sudo=True)
        for name in surplus:
            say(remote.host.name, f"{name} ended")
