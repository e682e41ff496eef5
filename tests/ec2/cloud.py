"""Amazon's EC2 for the tests: moto's server speaks its API, and every instance has a body.

A body is a container at the address that moto reports: see bodies.py.  What moto leaves out is here: a ClientToken
launches once, MinCount and MaxCount meet a capacity, listings may lag, calls may fail.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import boto3
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.models.instances import StateReason
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from provision.providers.ec2.amis import DEBIAN
from provision.providers.ec2.instance import unpacked
from tests.ec2.bodies import Bodies, moto_with
from tests.ec2.calls import ERROR, POLICY, ROOT_KEY, Fault, signed, without_snapshot_tags

REGION = "us-east-1"
ACCOUNT = "123456789012"


class Cloud:
    """A server of the EC2 API on loopback; `calls` are the actions that were called, in their order.

    `lag` are the seconds for which what was launched is not listed.  `before(action, arguments)` may raise a Fault.
    `image` is the container image of the bodies, "" for no bodies; `boot_commands` says whether these do what their
    user data says of boots, `impaired` whether they fail Amazon's checks.  `accounts` are those of access keys.
    """

    def __init__(self, home: Path, image: str) -> None:
        self.bodies, self.has_bodies = Bodies(home, image), bool(image)
        self.calls: list[str] = []
        self.boot_commands, self.impaired = True, False
        self.accounts: dict[str, str] = {}
        self.capacity: int | None = None
        self.lag = 0.0
        self.before: Callable[[str, dict[str, str]], None] = lambda action, arguments: None
        self._tokens: dict[str, Response] = {}
        self._lock = threading.RLock()
        self._app = DomainDispatcherApplication(create_backend_app)

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
        with contextlib.ExitStack() as stack:
            if self.has_bodies:
                stack.enter_context(self.bodies.ready())
            stack.enter_context(moto_with(self.bodies.address))
            server = make_server("127.0.0.1", 0, self._serve, threaded=True)
            self.url = f"http://127.0.0.1:{server.port}"
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            yield self

    @property
    def containers(self) -> dict[str, str]:
        """The bodies by instance."""
        return self.bodies.containers

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to take this for Amazon."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

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
            "group": groups,
            "key": list(backend.key_pairs.values()),
            "volume": list(backend.volumes.values()),
            "interface": list(backend.enis.values()),
            "instance": list(self.alive().values()),
        }
        return [
            f"{kind} {getattr(each, 'id', None) or each.name}"
            for kind, things in kinds.items()
            for each in things
            if ("fanrun:fleet", fleet) in {(tag["key"], tag["value"]) for tag in each.get_tags()}
        ]

    def _image(self, identity: str, kind: str, day: int) -> None:
        self.backend.amis[identity] = Ami(
            self.backend,
            identity,
            name=f"debian-13-{kind}-2025110{day}-1",
            owner_id=DEBIAN,
            public=True,
            architecture={"amd64": "x86_64"}.get(kind, kind),
            virtualization_type="hvm",
            root_device_name="/dev/xvda",
            creation_date=datetime(2025, 11, day, tzinfo=timezone.utc),
            region_name=f"{REGION}a",
        )

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
            body = self._within_capacity(arguments, body)
        snapshot_tags: dict[str, str] = {}
        if action == "CreateImage":  # moto tags no snapshot by this call
            body, snapshot_tags = without_snapshot_tags(arguments)
        response = self._ask_moto(environ, action, body)
        if action == "CreateImage" and response.status_code == 200:
            self._commit(arguments["InstanceId"], snapshot_tags)
        if token:
            self._tokens[token] = response
        return response

    def _within_capacity(self, arguments: dict[str, str], body: str) -> str:
        """Return the body of a launch that asks for no more than there is room for."""
        most, least = int(arguments["MaxCount"]), int(arguments["MinCount"])
        room = most if self.capacity is None else self.capacity - len(self.alive())
        if room < least:
            raise Fault("InsufficientInstanceCapacity", "We currently do not have sufficient capacity", 500)
        # moto launches as many as MinCount says.
        return urlencode({**dict(parse_qsl(body)), "MinCount": str(min(most, room))})

    def _ask_moto(self, environ: dict[str, Any], action: str, body: str) -> Response:
        """Let moto answer, and let the bodies come and go with their instances."""
        self._end_those_that_exited()
        before = set(self.alive())
        data = body.encode()
        asked = {**environ, "wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))}
        with self._late() if action == "DescribeInstances" else contextlib.nullcontext():
            response = Response.from_app(self._app, asked)
        if action == "DescribeInstanceStatus" and self.impaired:
            response.data = response.data.replace(b"<status>ok<", b"<status>impaired<")
        after = self.alive()
        for identity in before - set(after):
            self.bodies.bury(identity)
        for new in set(after) - before if self.has_bodies else ():
            options = {"boot_commands": self.boot_commands}
            threading.Thread(target=self.bodies.embody, args=(after[new],), kwargs=options, daemon=True).start()
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
        if self.has_bodies:
            self.bodies.commit(identity, image.id)

    def _end_those_that_exited(self) -> None:
        """One that shut itself down has terminated its instance, as that was launched so."""
        for identity, instance in self.alive().items():
            if self.bodies.has_exited(identity):
                assert instance.instance_initiated_shutdown_behavior == "terminate"
                self.end(identity, "Client.InstanceInitiatedShutdown", "Instance initiated shutdown")

    def end(self, identity: str, code: str, message: str) -> None:
        """End an instance that nobody asked to end."""
        instance = self.alive()[identity]
        instance.terminate()
        instance.state_reason = StateReason(f"{code}: {message}", code)
        self.bodies.bury(identity)
