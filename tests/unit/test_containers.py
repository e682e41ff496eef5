"""The service's containers: which, where, and by which docker commands."""

from __future__ import annotations

import dataclasses

import pytest

from fanrun.fleet.model import Image
from fanrun.serving.containers import ApiOptions, HostSetup, api, processors
from provision.hosts.common import ANY
from tests.unit.samples import FLEET

IMAGE = Image("service", "sha256:1", "10.0.0.10:5000/fanrun/image@sha256:2")
SETUPS = {host.name: HostSetup(host.inner, {"api": "a", "processor": "p"}) for host in FLEET.hosts}
RUN = ["docker", "run", "--detach"]
BOUND = [
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=65532:65532",
    "--pids-limit=1024",
    "--log-driver=json-file",
    "--log-opt=max-size=16m",
    "--log-opt=max-file=3",
    "--log-opt=labels=fanrun.service",
]
TLS = ["--tls-cert=/service/cert.pem", "--tls-key=/service/key.pem", "--metrics-client-ca=/service/ca.pem"]


def test_replicas_are_dealt_round_robin_to_ports_one_after_the_other() -> None:
    found = processors(FLEET, IMAGE, 3, SETUPS)
    names = [host.name for host in FLEET.workers]
    assert len(names) == 2
    assert [(one.host.name, one.name, one.port) for one in found] == [
        (names[0], "fanrun-processor-1", 50052),
        (names[1], "fanrun-processor-1", 50052),
        (names[0], "fanrun-processor-2", 50053),
    ]
    assert len({one.metrics for one in found}) == 3
    assert processors(FLEET, IMAGE, 0, SETUPS) == []


def test_a_processor_to_the_letter() -> None:
    one = processors(FLEET, IMAGE, 1, SETUPS)[0]
    inner = one.host.inner
    assert list(one.argv) == [
        *RUN,
        "--name=fanrun-processor-1",
        "--restart=unless-stopped",
        "--label=fanrun.service=processor",
        *BOUND,
        "--volume=/var/lib/fanrun/service/processor:/service:ro",
        f"--publish={inner}:50052:50052",
        f"--publish={inner}:5002:5001",
        IMAGE.ref,
        "service.processor",
        *TLS,
        "--client-ca=/service/ca.pem",
    ]


def test_the_api_to_the_letter() -> None:
    inner = FLEET.hub.inner
    one = api(FLEET, IMAGE, ApiOptions(["--size", "60x40"], "ada secret"), SETUPS["hub"])
    assert list(one.argv) == [
        *RUN,
        "--name=fanrun-api",
        "--restart=unless-stopped",
        "--label=fanrun.service=api",
        *BOUND,
        "--volume=/var/lib/fanrun/service/api:/service:ro",
        "--publish=127.0.0.1:5001:5001",
        f"--publish={inner}:50051:50051",
        "--publish=127.0.0.1:50051:50051",
        IMAGE.ref,
        "service.api",
        "--size",
        "60x40",
        *TLS,
        "--processor=file:/service/processors",
        "--processor-name=processors",
        "--processor-ca=/service/ca.pem",
        "--processor-cert=/service/cert.pem",
        "--processor-key=/service/key.pem",
        "--tokens=/service/tokens",
    ]
    assert "ada secret" not in " ".join(one.argv)
    assert one.metrics == "127.0.0.1:5001"


def test_without_tokens_callers_show_a_certificate() -> None:
    argv = api(FLEET, IMAGE, ApiOptions(["--size", "60x40"]), SETUPS["hub"]).argv
    assert argv[-1] == "--client-ca=/service/ca.pem"
    assert "--tokens=/service/tokens" not in argv


@pytest.mark.parametrize("tokens", ["", "ada secret"])
def test_flags_of_a_person_do_not_open_the_api(tokens: str) -> None:
    args = ["--tls-cert=", "--tls-key=", "--client-ca=", "--metrics-client-ca=", "--tokens="]
    argv = api(FLEET, IMAGE, ApiOptions(args, tokens), SETUPS["hub"]).argv
    last = {flag.partition("=")[0]: flag.partition("=")[2] for flag in argv}
    wanted = ["--tls-cert", "--tls-key", "--metrics-client-ca", "--tokens" if tokens else "--client-ca"]
    assert all(last[flag].startswith("/service/") for flag in wanted)


def test_behind_nat_all_addresses_are_listened_at_once() -> None:
    argv = api(FLEET, IMAGE, ApiOptions(), HostSetup(ANY, {"api": "a"})).argv
    assert [item for item in argv if item.startswith("--publish")] == [
        "--publish=127.0.0.1:5001:5001",
        f"--publish={ANY}:50051:50051",
    ]


def test_what_a_server_reads_is_in_its_spec() -> None:
    one = processors(FLEET, IMAGE, 1, SETUPS)[0]
    assert dataclasses.replace(one, files="another certificate").spec != one.spec
    assert dataclasses.replace(one, argv=(*one.argv, "--slots=1")).spec != one.spec
    assert dataclasses.replace(one).spec == one.spec
