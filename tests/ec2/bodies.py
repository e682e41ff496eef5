"""The containers that are the instances of the tests' EC2, and what moto is taught about them."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance, InstanceState

from fanrun.fleet.store import Folder
from provision.providers.local import network
from provision.providers.local.containers import CGROUP, NESTED, resource
from provision.providers.local.options import LocalOptions
from provision.providers.local.provider import LocalProvider
from tests.ec2.user_data import boot
from tests.fleet.harness import docker
from tests.fleet.machine_images import ensure_machine_image


class Bodies:
    """Containers in a network of their own: `containers` by instance, `images` of containers by machine image."""

    def __init__(self, home: Path, image: str) -> None:
        self.containers: dict[str, str] = {}
        self.images: dict[str, str] = {}
        self._image = image
        self._home = home
        self._local = LocalProvider(Folder(home, "cloud"), LocalOptions())
        self._network = resource("cloud", self._local.folder.ensure_id(), "net")
        self._subnet = ipaddress.IPv4Network("198.18.0.0/15")
        self._numbers = itertools.count(10)

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Have the network and the image of hosts; leave nothing at the end."""
        ensure_machine_image(self._image)
        self._subnet = network.read_subnet(network.ensure_network(self._local.folder))
        try:
            yield
        finally:
            for container in self.containers.values():
                subprocess.run(["docker", "rm", "--force", "--volumes", container], capture_output=True, check=False)
            for image in self.images.values():
                subprocess.run(["docker", "rmi", "--force", image], capture_output=True, check=False)
            self._local.clean(lambda host, what: None)

    def address(self) -> str:
        """Return the address of the next instance."""
        return str(self._subnet[next(self._numbers)])

    def embody(self, instance: Instance, *, boot_commands: bool) -> None:
        """Boot a container as the instance: do what its user data says, then start sshd."""
        document = json.loads(base64.b64decode(str(instance.user_data)).decode().partition("\n")[2])
        name = f"{self._network}-{instance.id}"
        self.containers[instance.id] = name
        docker(
            "create",
            f"--name={name}",
            f"--hostname=ip-{str(instance.private_ip).replace('.', '-')}",
            f"--network={self._network}",
            f"--ip={instance.private_ip}",
            "--tmpfs=/run:exec",
            "--volume=/var/lib/docker",
            *NESTED,
            *CGROUP,
            self.images.get(instance.image_id, self._image),
            "sh",
            "/first-boot",
        )
        script = self._home / f"{instance.id}.sh"
        script.write_text(boot(document if boot_commands else {**document, "bootcmd": []}))
        docker("cp", str(script), f"{name}:/first-boot")
        docker("start", name)

    def commit(self, identity: str, image: str) -> None:
        """Make what is on an instance's disk the content of a machine image."""
        self.images[image] = f"fanrun-{image}"
        docker("commit", self.containers[identity], self.images[image])

    def has_exited(self, identity: str) -> bool:
        """Whether an instance has shut itself down."""
        name = self.containers.get(identity)
        if name is None:
            return False
        argv = ["docker", "inspect", "--format={{.State.Status}}", name]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip() == "exited"

    def bury(self, identity: str) -> None:
        """Remove an instance's container, if it has one."""
        name = self.containers.pop(identity, None)
        if name:
            subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


@contextlib.contextmanager
def moto_with(address: Callable[[], str]) -> Iterator[None]:
    """Let moto give instances these addresses, and leave those alone that are terminated already."""
    attach, terminate = Instance.attach_eni, Instance.terminate

    def attach_at_home(instance: Instance, eni: NetworkInterface, index: int) -> str:
        eni.private_ip_address = address()
        if eni.public_ip:
            eni.public_ip = eni.private_ip_address
        return attach(instance, eni, index)

    def terminate_once(instance: Instance) -> InstanceState:
        return instance.instance_state if instance.state == "terminated" else terminate(instance)

    with mock.patch.multiple(Instance, attach_eni=attach_at_home, terminate=terminate_once):
        yield
