"""What a fleet offers to a host beside it that is no member: SSH, and nothing else."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator

import pytest

from fanrun.fleet.store import Folder
from provision.registry.names import PUSH_PORT
from provision.registry.transfer import tunnel
from tests.fleet.beside import answered, ask
from tests.fleet.harness import Fab
from tests.waiting import wait_until

HOSTS = ("hub", "worker-1", "worker-2")


@pytest.fixture(scope="module")
def serving(fab: Fab) -> Iterator[Fab]:
    """A fleet that serves: an API, and processors on both workers, two of them on one."""
    fab("serve", "--replicas=3", "--args=", "--tokens=")
    yield fab
    fab("serve", "--replicas=0")


def listening(fab: Fab, host: str) -> set[int]:
    """Every port at which something listens on a host, at whatever address, but SSH's."""
    lines = fab.on(host, "ss -Hltn").splitlines()
    return {int(line.split()[3].rpartition(":")[2]) for line in lines} - {22}


def ports(fab: Fab) -> list[tuple[str, int]]:
    addresses = {host: row["address"] for host, row in fab.status().items()}
    return [(addresses[host], port) for host in HOSTS for port in sorted(listening(fab, host))]


def test_no_port_but_22_answers_a_stranger(serving: Fab) -> None:
    targets = ports(serving)
    hub = serving.status()["hub"]["address"]
    assert {(hub, 5000), (hub, 50051), (hub, 9090), (hub, PUSH_PORT), (hub, 5001)} <= set(targets)
    assert len({address for address, _ in targets}) == len(HOSTS)
    found = ask(serving, targets)
    assert answered(found) == {}
    for port in (9090, PUSH_PORT, 5001):
        assert found[f"{hub}:{port}"] == {}, "loopback alone"


def test_a_member_is_answered(serving: Fab) -> None:
    """So the test above can fail."""
    rows = serving.status()
    hub, workers = rows["hub"]["address"], [rows[name]["address"] for name in HOSTS[1:]]
    folder = serving.home / serving.fleet
    pair = ((folder / "client.key").read_text(), (folder / "client.crt").read_text())

    def is_answered() -> bool:
        found = ask(serving, ports(serving), pair)
        catalog, answers = found[f"{hub}:5000"]["TLS /v2/_catalog"], []
        answers += ["200 OK" in catalog, "fanrun/image" in catalog]
        answers += [found[f"{hub}:50051"]["gRPC by TLS"] == repr(b"\x08\x01")]  # SERVING
        for place in (f"{workers[0]}:5002", f"{workers[0]}:5003", f"{workers[1]}:5002"):
            metrics = found[place]["TLS /metrics"]
            answers += ["imageprocessor_slots" in metrics or "200 OK" in metrics]
        return all(answers) and found[f"{workers[1]}:50052"]["TLS HTTP/2"] != ""

    wait_until(is_answered)  # on a busy machine an answer may take longer than one look waits


@pytest.mark.parametrize("host", HOSTS)
def test_the_containers_on_a_host_answer_no_stranger_either(serving: Fab, host: str) -> None:
    """Docker forwards what comes for a published port of a container, by whatever way it comes."""
    show = "docker inspect --format '{{.NetworkSettings.IPAddress}}' $(docker ps -q --filter label=fanrun.service)"
    inside = serving.on(host, show).split()
    assert inside
    targets = [(address, port) for address in inside for port in (5001, 50051, 50052)]
    gateway = serving.status()[host]["address"]
    assert answered(ask(serving, targets, gateway=gateway)) == {}


def pushed(port: int, method: str, path: str) -> int:
    """Return the status that the registry's port for pushes answers with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    return connection.getresponse().status


def test_members_may_read_the_registry_and_nobody_may_delete(serving: Fab) -> None:
    folder = Folder(serving.home, serving.fleet)
    known = folder.load()
    digest = known.images["process.py"].ref.rpartition("@")[2]
    manifest, blobs = f"/v2/fanrun/image/manifests/{digest}", "/v2/fanrun/image/blobs"
    context = ssl.create_default_context(cafile=folder.ca_cert)
    context.load_cert_chain(folder.path / "client.crt", folder.path / "client.key")

    def member(method: str, path: str) -> int:
        connection = http.client.HTTPSConnection(known.hub.inner, 5000, timeout=10, context=context)
        connection.request(method, path)
        return connection.getresponse().status

    assert member("GET", manifest) == 200
    for method, path in [
        ("DELETE", manifest),
        ("PUT", manifest),
        ("PUT", "/v2/fanrun/image/manifests/evil"),
        ("POST", f"{blobs}/uploads/"),
        ("DELETE", f"{blobs}/{digest}"),
    ]:
        assert member(method, path) == 405, (method, path)

    with tunnel(folder, known.hub, PUSH_PORT) as port:
        assert pushed(port, "DELETE", manifest) == 405
        assert pushed(port, "DELETE", f"{blobs}/{digest}") == 405
        assert pushed(port, "POST", f"{blobs}/uploads/") == 202
    assert member("GET", manifest) == 200
    assert member("GET", "/metrics") == 404


def test_keys_can_be_read_by_their_users_alone(serving: Fab) -> None:
    for host in HOSTS:
        place = "/etc/docker/certs.d/*/client.key"
        assert serving.on(host, f"stat -c '%a %U' {place}").split() == ["600", "root"]
    keys = "/etc/prometheus/fanrun.key /etc/docker/registry/fanrun.key"
    assert serving.on("hub", f"stat -c '%a %U' {keys}").splitlines() == ["600 prometheus", "600 docker-registry"]
