"""A light fleet: containers with sshd and a stand-in for docker, so that dozens of them fit on one small machine."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fanrun.fleet.model import HUB, Fleet, Host, Image
from fanrun.fleet.store import Folder
from provision import lifecycle
from provision.hosts.ssh_key import ssh_key
from tests.fleet.harness import Fab, docker
from tests.waiting import wait_until

USER = "admin"
VERSION = "stand-in"
REF = f"127.0.0.1:5000/fanrun/image@sha256:{'0' * 64}"

# What Fanrun asks of docker on a worker, and no more.  A container is a process, with its label in a file.
DOCKER = r"""#!/bin/sh
state=/run/stand-in
mkdir -p "$state"
end() {
  for name; do
    if [ -e "$state/$name.pid" ]; then kill -KILL -- "-$(cat "$state/$name.pid")" 2>/dev/null; fi
    rm -f "$state/$name.pid" "$state/$name.label"
  done
}
case $1 in
  version) echo VERSION ;;
  image) if [ "$2" = ls ]; then echo image REF; fi ;;
  ps) grep -lsxF -- "${4#label=}" "$state"/*.label | sed 's|.*/||; s|\.label$||' ;;
  rm | stop | kill)
    shift
    while :; do case $1 in --time) shift 2 ;; -*) shift ;; *) break ;; esac; done
    end "$@" ;;
  run)
    while [ $# -gt 0 ]; do
      case $1 in
        --name) name=$2 ;;
        --label) label=$2 ;;
        --user) user=$2 ;;
        --mount)
          path=${2#type=bind,source=}
          case $path in
            *,target=/in,readonly) in=${path%,target=*} ;;
            *,target=/out) out=${path%,target=*} ;;
            *,target=/report.jsonl) report=${path%,target=*} ;;
          esac ;;
      esac
      shift
    done
    echo "$label" >"$state/$name.label"
    setsid --wait setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups sh -c '
      echo $$ >&3
      cp -R "$1/." "$2" && find "$1" -type f -printf "{\"path\": \"%P\", \"ok\": true}\n" >"$3"
    ' sh "$in" "$out" "$report" 3>"$state/$name.pid"
    code=$?
    rm -f "$state/$name.pid" "$state/$name.label"
    exit $code ;;
  *) echo "the stand-in for docker knows nothing of: $*" >&2; exit 1 ;;
esac
""".replace("VERSION", VERSION).replace("REF", REF)

# sshd keeps its own limits.  All hosts share this machine's processors: so no PAM, and no terminal for sudo.
# A host's key comes as a variable: one call of docker a host is all there is time for.
DOCKERFILE = rf"""
FROM debian:trixie-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      openssh-server python3-minimal rsync sudo \
 && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
 && useradd --create-home --password '*' {USER} \
 && printf '%s\n' '{USER} ALL=(ALL) NOPASSWD: ALL' 'Defaults !use_pty, !pam_session, !pam_setcred, !syslog' \
      >/etc/sudoers.d/90-{USER} \
 && echo 'UsePAM no' >/etc/ssh/sshd_config.d/light.conf \
 && install -d -o {USER} -g {USER} -m 700 /var/lib/fanrun /var/log/fanrun \
 && mkdir -p /run/sshd /home/{USER}/.ssh
COPY docker /usr/bin/docker
COPY authorized_keys /home/{USER}/.ssh/authorized_keys
ENTRYPOINT umask 077; printf '%s' "$HOST_KEY" >/etc/ssh/ssh_host_ed25519_key; exec /usr/sbin/sshd -D
"""


@dataclass(frozen=True)
class Light:
    """A fleet that is up: how to run `fab` on it, its hosts, and the image that its workers are said to have."""

    fab: Fab
    fleet: Fleet
    image: str


@contextlib.contextmanager
def light_fleet(top: Path, workers: int) -> Iterator[Light]:
    """Start a hub and so many workers, write the fleet's folder under `top`, and leave nothing at the end."""
    name = f"fanrun-test-light-{os.getpid()}"  # another run of the tests on this machine keeps its own
    folder = Folder(top / "home", "light")
    lifecycle.begin(folder, "local", workers)
    try:
        build(top / "image", name, folder)
        docker("network", "create", f"--label={name}", name)
        names = [HUB, *(f"worker-{number}" for number in range(1, workers + 1))]
        keys = {host: ssh_key() for host in names}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda host: start(name, host, keys[host][0]), names))
        hosts = find(name)
        for host in hosts:
            folder.host_keys.pin(host.address, host.port, keys[host.name][1])
        image_id = docker("image", "inspect", "--format={{.Id}}", name).strip()
        fleet = Fleet(folder.name, "local", hosts, {name: Image(name, image_id, REF)}, workers)
        folder.save(fleet)
        wait_until(lambda: all(map(answers, hosts)))
        yield Light(Fab(folder.path.parent, folder.name), fleet, name)
    finally:
        remove(name)


def build(context: Path, name: str, folder: Folder) -> None:
    """Build the hosts' image, which lets the fleet's key in."""
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "docker").write_text(DOCKER)
    (context / "docker").chmod(0o755)
    (context / "authorized_keys").write_text(folder.key.with_suffix(".pub").read_text())
    # As the local provider does: build arguments of these names stay out of the image.
    proxies = [f"--build-arg={variable}" for variable in ("http_proxy", "https_proxy", "no_proxy")]
    docker("build", "--quiet", "--force-rm", f"--tag={name}", f"--label={name}", *proxies, str(context))


def start(name: str, host: str, key: str) -> None:
    """Start one host; its role and name are in its labels."""
    docker(
        "run",
        "--detach",
        f"--name={name}-{host}",
        f"--hostname={host}",
        f"--network={name}",
        f"--label={name}={host}",
        f"--env=HOST_KEY={key}",
        name,
    )


def find(name: str) -> tuple[Host, ...]:
    """The hosts that were started, with the addresses that Docker chose."""
    shown = docker(
        "inspect",
        f'--format={{{{index .Config.Labels "{name}"}}}} {{{{range .NetworkSettings.Networks}}}}'
        "{{.IPAddress}}{{end}}",
        *docker("ps", "--quiet", f"--filter=label={name}").split(),
    )
    found = dict(line.split() for line in shown.splitlines())
    return tuple(
        Host(host, "hub" if host == HUB else "worker", address, address, USER) for host, address in found.items()
    )


def answers(host: Host) -> bool:
    """Whether its sshd listens."""
    with contextlib.suppress(OSError), socket.create_connection((host.address, host.port), timeout=5):
        return True
    return False


def remove(name: str) -> None:
    """Delete containers, network and image, as far as there are any; fails after trying all."""
    left = docker("ps", "--all", "--quiet", f"--filter=label={name}").split()
    with contextlib.ExitStack() as all_of_it:
        if docker("image", "ls", "--quiet", name).strip():
            all_of_it.callback(docker, "rmi", "--force", name)
        if docker("network", "ls", "--quiet", f"--filter=label={name}").strip():
            all_of_it.callback(docker, "network", "rm", name)
        if left:
            docker("rm", "--force", "--volumes", *left)
