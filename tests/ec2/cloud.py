"""Amazon's EC2 for the tests: moto's server speaks its API, and every instance has a body.

A body is a container at the address that moto reports, booted by what its user data says as cloud-init would.  What
moto leaves out is here: a ClientToken launches once, MinCount and MaxCount meet a capacity, listings may lag, calls
may fail.
"""

from __future__ import annotations

import base64
import contextlib
import io
import ipaddress
import itertools
import json
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlencode

import boto3
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance, InstanceState, StateReason
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from fanrun.fleet.store import Folder
from provision.providers.ec2.amis import DEBIAN
from provision.providers.ec2.instance import unpacked
from provision.providers.local import network
from provision.providers.local.containers import CGROUP, NESTED, resource
from provision.providers.local.host_image import IMAGE, ensure_host_image
from provision.providers.local.options import LocalOptions
from provision.providers.local.provider import LocalProvider
from tests.fleet.harness import ROOT, Fab, docker
from tests.waiting import wait_until

REGION = "us-east-1"
ACCOUNT = "123456789012"
ROOT_KEY = "root"
ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>1</RequestID></Response>
"""
POLICY = frozenset(
    action
    for statement in json.loads((ROOT / "docs" / "iam-policy.json").read_text())["Statement"]
    for action in statement["Action"]
)
"""What may be called here: no more than Fanrun asks its users for."""
SHUTDOWN = "#!/bin/sh\nkill 1\n"
# Once for each instance, which the host's name stands for.
PER = """#!/bin/sh
done=/var/lib/cloud/$(hostname)-$2
[ "$1" = instance ] || exit 1
[ -e "$done" ] || { mkdir -p /var/lib/cloud && touch "$done" && shift 2 && "$@"; }
"""


class Fault(Exception):
    """What a call is answered with instead: an error of the API."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message or f"{code}, says the test", status


class Cloud:
    """A server of the EC2 API on loopback; `calls` are the actions that were called, in their order.

    `lag` are the seconds for which what was launched is not listed.  `before(action, arguments)` may raise a Fault.
    `bodies` says whether instances get one, `boot_commands` whether these do what their user data says of boots,
    `impaired` whether they fail Amazon's checks.  `accounts` are those of access keys, where they are not ACCOUNT.
    """

    def __init__(self, home: Path, *, bodies: bool = True) -> None:
        self.bodies = bodies
        self.calls: list[str] = []
        self.boot_commands, self.impaired = True, False
        self.accounts: dict[str, str] = {}
        self.capacity: int | None = None
        self.lag = 0.0
        self.before: Callable[[str, dict[str, str]], None] = lambda action, arguments: None
        self.containers: dict[str, str] = {}
        self.images: dict[str, str] = {}
        self._home = home
        self._tokens: dict[str, Response] = {}
        self._lock = threading.RLock()
        self._app = DomainDispatcherApplication(create_backend_app)
        self._local = LocalProvider(Folder(home, "cloud"), LocalOptions())
        self._network = resource("cloud", self._local.folder.ensure_id(), "net")
        self._subnet = ipaddress.IPv4Network("198.18.0.0/15")
        self._numbers = itertools.count(10)

    @property
    def backend(self) -> EC2Backend:
        """What moto keeps."""
        return ec2_backends[ACCOUNT][REGION]

    @contextlib.contextmanager
    def running(self) -> Iterator[Cloud]:
        """Serve until the end of the block; what is left of bodies and network is removed then."""
        self.backend.reset()
        for number, kind in enumerate(("amd64", "arm64")):
            for day in (1, 2):
                self._image(f"ami-{number}{day:016x}", kind, day)
        if self.bodies:
            ensure_host_image(lambda host, what: None)
            self._subnet = network.read_subnet(network.ensure_network(self._local.folder))
        attach = Instance.attach_eni

        def attach_at_home(instance: Instance, eni: NetworkInterface, index: int) -> str:
            eni.private_ip_address = str(self._subnet[next(self._numbers)])
            if eni.public_ip:
                eni.public_ip = eni.private_ip_address
            return attach(instance, eni, index)

        terminate = Instance.terminate

        def terminate_once(instance: Instance) -> InstanceState:
            return instance.instance_state if instance.state == "terminated" else terminate(instance)

        server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self.url = f"http://127.0.0.1:{server.port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            with mock.patch.multiple(Instance, attach_eni=attach_at_home, terminate=terminate_once):
                yield self
        finally:
            server.shutdown()
            thread.join()
            for container in self.containers.values():
                subprocess.run(["docker", "rm", "--force", "--volumes", container], capture_output=True, check=False)
            for image in self.images.values():
                subprocess.run(["docker", "rmi", "--force", image], capture_output=True, check=False)
            if self.bodies:
                self._local.clean(lambda host, what: None)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to take this for Amazon."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }  # fmt: skip

    @property
    def client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes as it runs
        """The API past Fanrun, by one who may do all."""
        return boto3.client("ec2", REGION, endpoint_url=self.url, aws_access_key_id=ROOT_KEY, aws_secret_access_key="x")

    def groups(self, fleet: str) -> list[dict[str, Any]]:
        """A fleet's security groups, as the API describes them."""
        mine = [{"Name": "tag:fanrun:fleet", "Values": [fleet]}]
        found: list[dict[str, Any]] = self.client.describe_security_groups(Filters=mine)["SecurityGroups"]
        return found

    def alive(self) -> dict[str, Any]:
        """The instances that are not terminated, by id."""
        found = {each.id: each for item in self.backend.reservations.values() for each in item.instances}
        return {key: each for key, each in found.items() if each.state != "terminated"}

    def hosts(self) -> dict[str, str]:
        """{host: container}."""
        found = {}
        for identity, each in self.alive().items():
            tags = {tag["key"]: tag["value"] for tag in each.get_tags()}
            found[unpacked(tags["fanrun:names"])[each.ami_launch_index]] = self.containers[identity]
        return found

    def left(self, fleet: str) -> list[str]:
        """All that the fleet still has here: of every kind that Fanrun makes."""
        backend = self.backend
        groups = [group for vpc in backend.groups.values() for group in vpc.values()]
        kinds: dict[str, list[Any]] = {
            "group": groups, "key": list(backend.key_pairs.values()), "volume": list(backend.volumes.values()),
            "interface": list(backend.enis.values()), "instance": list(self.alive().values()),
        }  # fmt: skip
        return [
            f"{kind} {getattr(each, 'id', None) or each.name}"
            for kind, things in kinds.items()
            for each in things
            if ("fanrun:fleet", fleet) in {(tag["key"], tag["value"]) for tag in each.get_tags()}
        ]

    def _image(self, identity: str, kind: str, day: int) -> None:
        self.backend.amis[identity] = Ami(
            self.backend, identity, name=f"debian-13-{kind}-2025110{day}-1", owner_id=DEBIAN, public=True,
            architecture={"amd64": "x86_64"}.get(kind, kind), virtualization_type="hvm", root_device_name="/dev/xvda",
            creation_date=datetime(2025, 11, day, tzinfo=timezone.utc), region_name=f"{REGION}a",
        )  # fmt: skip

    def _serve(self, environ: dict[str, Any], start: Any) -> Any:  # noqa: ANN401 - WSGI
        request = Request(environ)
        body = request.get_data().decode()
        arguments = dict(parse_qsl(body, keep_blank_values=True))
        action = arguments.get("Action", "")
        key, service = signed(request)
        if key in self.accounts:
            environ["HTTP_X_MOTO_ACCOUNT_ID"] = self.accounts[key]
        with self._lock:
            self.calls.append(action)
        try:
            if key != ROOT_KEY and f"{service}:{action}" not in POLICY:
                raise Fault("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
            self.before(action, arguments)
            with self._lock:
                response = self._answer(environ, action, arguments, body)
        except Fault as fault:
            text = ERROR.format(code=fault.code, message=fault.message)
            response = Response(text, status=fault.status, content_type="text/xml")
        return response(environ, start)

    def _answer(self, environ: dict[str, Any], action: str, arguments: dict[str, str], body: str) -> Response:
        token = arguments.get("ClientToken", "") if action == "RunInstances" else ""
        if token in self._tokens:
            return self._tokens[token]
        if action == "RunInstances":
            most, least = int(arguments["MaxCount"]), int(arguments["MinCount"])
            room = most if self.capacity is None else self.capacity - len(self.alive())
            if room < least:
                raise Fault("InsufficientInstanceCapacity", "We currently do not have sufficient capacity", 500)
            # moto launches as many as MinCount says.
            body = urlencode({**dict(parse_qsl(body)), "MinCount": str(min(most, room))})
        snapshot_tags: dict[str, str] = {}
        if action == "CreateImage":  # moto tags no snapshot by this call
            body, snapshot_tags = without_snapshot_tags(arguments)
        self._look_at_bodies()
        before = set(self.alive())
        with self._late() if action == "DescribeInstances" else contextlib.nullcontext():
            response = Response.from_app(self._app, self._environ(environ, body))
        if action == "DescribeInstanceStatus" and self.impaired:
            response.data = response.data.replace(b"<status>ok<", b"<status>impaired<")
        after = self.alive()
        for identity in before - set(after):
            self._bury(identity)
        if self.bodies:
            threads = [
                threading.Thread(target=self._embody, args=(after[new],), daemon=True) for new in set(after) - before
            ]
            for thread in threads:
                thread.start()
        if action == "CreateImage" and response.status_code == 200:
            self._commit(arguments["InstanceId"], snapshot_tags)
        if token:
            self._tokens[token] = response
        return response

    @contextlib.contextmanager
    def _late(self) -> Iterator[None]:
        """Hide what was launched too short a time ago."""
        known, since = self.backend.reservations, datetime.now(timezone.utc).timestamp() - self.lag
        self.backend.reservations = {
            key: each
            for key, each in known.items()
            if each.instances[0].launch_time.replace(tzinfo=timezone.utc).timestamp() <= since
        }
        try:
            yield
        finally:
            self.backend.reservations = known

    def _commit(self, identity: str, tags: dict[str, str]) -> None:
        """What the newest image holds is what the body has on its disk."""
        image = list(self.backend.amis.values())[-1]
        image.ebs_snapshot.add_tags(tags)
        if self.bodies:
            self.images[image.id] = f"fanrun-{image.id}"
            docker("commit", self.containers[identity], self.images[image.id])

    @staticmethod
    def _environ(environ: dict[str, Any], body: str) -> dict[str, Any]:
        data = body.encode()
        return {**environ, "wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))}

    def _embody(self, instance: Instance) -> None:
        """Boot a container as the instance: do what its user data says, then start sshd."""
        document = json.loads(base64.b64decode(str(instance.user_data)).decode().partition("\n")[2])
        name = f"{self._network}-{instance.id}"
        self.containers[instance.id] = name
        docker(
            "create", f"--name={name}", f"--hostname=ip-{str(instance.private_ip).replace('.', '-')}",
            f"--network={self._network}", f"--ip={instance.private_ip}",
            "--tmpfs=/run:exec", "--volume=/var/lib/docker", *NESTED, *CGROUP,
            self.images.get(instance.image_id, IMAGE), "sh", "/first-boot",
        )  # fmt: skip
        script = self._home / f"{instance.id}.sh"
        script.write_text(boot(document if self.boot_commands else {**document, "bootcmd": []}))
        docker("cp", str(script), f"{name}:/first-boot")
        docker("start", name)

    def _look_at_bodies(self) -> None:
        """One that shut itself down has terminated its instance, as that was launched so."""
        for identity, instance in self.alive().items():
            name = self.containers.get(identity)
            if name is None:
                continue
            found = subprocess.run(
                ["docker", "inspect", "--format={{.State.Status}}", name], capture_output=True, text=True, check=False
            )
            if found.stdout.strip() == "exited":
                assert instance.instance_initiated_shutdown_behavior == "terminate"
                self.end(identity, "Client.InstanceInitiatedShutdown", "Instance initiated shutdown")

    def end(self, identity: str, code: str, message: str) -> None:
        """End an instance that nobody asked to end."""
        instance = self.alive()[identity]
        instance.terminate()
        instance.state_reason = StateReason(f"{code}: {message}", code)
        self._bury(identity)

    def _bury(self, identity: str) -> None:
        name = self.containers.pop(identity, None)
        if name:
            subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


def signed(request: Request) -> tuple[str, str]:
    """The access key that a call is signed with, and the service that it is for."""
    key, _, _, service, _ = request.headers["Authorization"].split("Credential=")[1].split(",")[0].split("/")
    return key, service


def without_snapshot_tags(arguments: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The call's body without the tags for snapshots, and these."""
    prefix = next(key.rpartition(".")[0] + "." for key, value in arguments.items() if value == "snapshot")
    pairs = {key.removeprefix(prefix): value for key, value in arguments.items() if key.startswith(prefix + "Tag")}
    tags = {value: pairs[key.replace("Key", "Value")] for key, value in pairs.items() if key.endswith("Key")}
    return urlencode({key: value for key, value in arguments.items() if not key.startswith(prefix)}), tags


def boot(document: dict[str, Any]) -> str:
    """What cloud-init would do for this document, as a shell script that ends as the machine's init.

    It runs at each boot; keys and users are for the first one.
    """
    known = {"ssh_deletekeys", "ssh_keys", "ssh_pwauth", "disable_root", "users", "bootcmd"}
    assert set(document) <= known, f"the reader knows nothing of {set(document) - known}"
    lines: list[str] = []

    def write(path: str, text: str, mode: str, owner: str = "root") -> None:
        lines.append(f"printf %s {shlex.quote(text)} >{path}; chmod {mode} {path}; chown {owner}: {path}")

    write("/usr/sbin/shutdown", SHUTDOWN, "755")
    write("/usr/bin/cloud-init-per", PER, "755")
    tools, lines = lines, []
    write("/etc/ssh/ssh_host_ed25519_key", document["ssh_keys"]["ed25519_private"], "600")
    write("/etc/ssh/ssh_host_ed25519_key.pub", document["ssh_keys"]["ed25519_public"] + "\n", "644")
    for user in document["users"]:
        name, home = user["name"], f"/home/{user['name']}"
        lines.append(f"id {name} || useradd --create-home --shell {user['shell']} {name}; mkdir -m 700 -p {home}/.ssh")
        keys = shlex.quote("\n".join(user["ssh_authorized_keys"]) + "\n")
        lines.append(f"printf %s {keys} >>{home}/.ssh/authorized_keys; chmod 600 {home}/.ssh/authorized_keys")
        lines.append(f"chown -R {name}: {home}/.ssh")
        write("/etc/sudoers.d/90-cloud-init-users", f"{name} {user['sudo']}\n", "440")
    always = [shlex.join(command) for command in document["bootcmd"]]
    first = ['if [ "$(cat /var/lib/cloud/booted)" != "$(hostname)" ]; then', "rm -f /etc/ssh/ssh_host_*", *lines,
             "mkdir -p /var/lib/cloud; hostname >/var/lib/cloud/booted; fi"]  # fmt: skip
    scripts = 'for each in /var/lib/cloud/scripts/per-boot/*; do [ ! -x "$each" ] || "$each"; done'
    return "\n".join(["set -e", *tools, *always, *first, scripts, "exec /sbin/boot", ""])


def launched(fab: Fab, last: str, *argv: str, timeout: float = 60) -> str:
    """Let `fab up` launch hosts and kill it then, as nothing answers it by SSH; returns the fleet's ssh_config."""
    known, config = (fab.home / fab.fleet / name for name in ("fleet.json", "ssh_config"))
    process = fab.start("up", *argv)
    try:
        wait_until(lambda: known.exists() and f'"{last}"' in known.read_text(), timeout)  # ssh_config is written before
    finally:
        process.kill()
        process.communicate()
    return config.read_text()


def until_said(process: subprocess.Popen[str], words: str) -> list[str]:
    """The lines of a task's progress up to one with these words, where it is killed."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            break
    process.kill()
    process.communicate()
    return lines
