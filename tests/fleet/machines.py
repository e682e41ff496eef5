"""Machines that exist already: containers with sshd, a person's key let in, and nothing of Fanrun's."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from provision.hosts.ssh_key import ssh_key
from provision.providers.local.containers import CGROUP, NESTED
from provision.providers.local.host_image import USER
from tests.fleet.harness import docker
from tests.fleet.machine_images import BARE, WITH_SYSTEMD, ensure_machine_image

BY_SUDO = {"/home/admin/.sudo_as_admin_successful"}
"""What sudo leaves on a machine when it is first used."""
OF_THE_SYSTEM = (
    "/var/lib/apt/",
    "/var/cache/apt",
    "/var/lib/dpkg",
    "/var/log/",
    "/var/lib/systemd",
    "/var/.updated",
    "/etc/.updated",
    "/tmp/.",
    "/tmp/systemd-private-",
    "/var/tmp/systemd-private-",
)
"""What changes on a machine by itself, and what apt and dpkg keep."""
NETWORK = r"""
for family in iptables ip6tables; do
  "$family-save" 2>/dev/null | sed -e '/^#/d' -e 's/ [[][0-9:]*[]]$//'
done
cat /proc/sys/net/ipv4/ip_forward
"""


@dataclass
class Machines:
    """Some machines in a network of their own, and what their owner has in ~/.ssh: a config, a key, known_hosts."""

    home: Path
    network: str
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def ssh_config(self) -> Path:
        return self.home / "config"

    @property
    def known_hosts(self) -> Path:
        return self.home / "known_hosts"

    def add(self, name: str, image: str = BARE) -> str:
        """Start a machine, with no init system if the image has none, and wait for its sshd; returns user@address."""
        private, public = ssh_key()
        ensure_machine_image(image)
        docker(
            "create",
            f"--name={self.network}-{name}",
            f"--hostname={name}",
            f"--network={self.network}",
            f"--network-alias={name}",
            "--tmpfs=/run:exec",
            "--volume=/var/lib/docker",
            *NESTED,
            *CGROUP,
            image,
        )
        self.put(name, "etc/ssh/ssh_host_ed25519_key", private, 0o600)
        for home in (f"home/{USER}", "root"):
            self.put(name, f"{home}/.ssh/authorized_keys", (self.home / "key.pub").read_text(), 0o644)
        self.start(name)
        self.on(name, f"chown -R {USER}: /home/{USER}")
        shown = json.loads(docker("inspect", f"{self.network}-{name}"))[0]
        self.addresses[name] = shown["NetworkSettings"]["Networks"][self.network]["IPAddress"]
        with self.known_hosts.open("a") as file:
            file.write(f"{name},{self.addresses[name]} {public}\n")
        return f"{USER}@{self.addresses[name]}"

    def start(self, name: str, *, again: bool = False) -> None:
        """Start a machine, or restart it, and wait for its sshd."""
        docker(*(["restart", "--time=10"] if again else ["start"]), f"{self.network}-{name}")
        self.on(name, "timeout 60 sh -c 'until ss -Hltn sport = :22 | grep -q .; do sleep 0.2; done'")

    def put(self, name: str, path: str, text: str, mode: int) -> None:
        """Write a file of root's into a machine that may not run yet."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
        argv = ["docker", "cp", "-", f"{self.network}-{name}:/"]
        subprocess.run(argv, input=buffer.getvalue(), check=True, capture_output=True)

    def files(self, name: str) -> set[str]:
        """All that is on a machine, but for what is OF_THE_SYSTEM."""
        found = self.on(name, r"find / -xdev \( -path /proc -o -path /sys \) -prune -o -print").splitlines()
        return {path for path in found if not path.startswith(OF_THE_SYSTEM)}

    def options(self, *names: str, user: str = USER) -> list[str]:
        """What `fab up` takes for these machines as workers."""
        hosts = [f"--host={user}@{self.addresses[name]}" for name in names]
        return ["--provider=static", *hosts, f"--known-hosts={self.known_hosts}", f"--ssh-config={self.ssh_config}"]

    def on(self, name: str, script: str) -> str:
        """Run a script as root on a machine, past SSH."""
        return docker("exec", f"{self.network}-{name}", "sh", "-c", script)

    def network_of(self, name: str) -> str:
        """A machine's rules for packets, if it has a program that shows them, and whether it forwards any."""
        return self.on(name, NETWORK)

    def end(self) -> None:
        """Remove the machines and their network."""
        found = docker("ps", "--all", "--quiet", f"--filter=network={self.network}").split()
        if found:
            docker("rm", "--force", "--volumes", *found)
        docker("network", "rm", self.network)


@contextlib.contextmanager
def machines(home: Path, network: str, *names: str, systemd: Sequence[str] = ()) -> Iterator[Machines]:
    """So many machines, and their end; those in `systemd` are run by it."""
    home.mkdir(parents=True, exist_ok=True)
    private, public = ssh_key()
    (home / "key").write_text(private)
    (home / "key").chmod(0o600)
    (home / "key.pub").write_text(f"{public} ada\n")
    found = Machines(home, network)
    found.ssh_config.write_text(f"Host *\n  IdentityFile {home / 'key'}\n  IdentitiesOnly yes\n")
    docker("network", "create", network)
    try:
        for name in names:
            found.add(name, WITH_SYSTEMD if name in systemd else BARE)
        yield found
    finally:
        found.end()
