"""Manifests and programs fit: environment, ports, probes, time to drain, slots."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2

from service.common import settings
from tests.service.manifest_documents import (
    BASE,
    SERVICES,
    container,
    each_role,
    each_service,
    find,
    read_api,
    read_settings,
    variables,
)
from tests.service.servers import Farm


@each_service
@each_role
def test_the_environment_is_what_the_program_understands(name: str, role: str) -> None:
    """A variable that it doesn't know would do nothing."""
    prefix = {"api": "IMAGESCALER_", "processor": "IMAGEPROCESSOR_"}[role]
    assert set(variables(name, role)) <= {f"{prefix}{field.upper()}" for field in vars(read_settings(name, role))}


@each_service
@each_role
def test_ports_are_those_of_the_program(name: str, role: str) -> None:
    found = read_settings(name, role)
    port, metrics = settings.address(found.listen)[1], found.metrics[1]
    deployment = find(name, "Deployment", role)["spec"]["template"]
    ports = {each["name"]: each["containerPort"] for each in container(deployment["spec"])["ports"]}
    assert ports == {"grpc": port, "metrics": metrics}
    (served,) = find(name, "Service", role)["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (port, "grpc")
    annotations = deployment["metadata"]["annotations"]
    assert annotations == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(metrics),
        "prometheus.io/path": "/metrics",
    }


@each_service
@each_role
def test_probes_ask_for_what_the_program_answers(name: str, role: str) -> None:
    only = container(find(name, "Deployment", role)["spec"]["template"]["spec"])
    port = settings.address(read_settings(name, role).listen)[1]
    asked = {kind: only[f"{kind}Probe"]["grpc"] for kind in ("startup", "liveness", "readiness")}
    assert asked["startup"] == asked["liveness"] == {"port": port, "service": "liveness"}
    assert asked["readiness"] == {"port": port, "service": SERVICES[role]}
    assert only["args"] == [f"service.{role}"]


@each_role
def test_the_program_answers_the_probes(farm: Farm, role: str) -> None:
    """As kubelet asks it, of a server that really runs."""
    served = farm.launch(role).wait_ready()
    only = container(find(BASE, "Deployment", role)["spec"]["template"]["spec"])
    with grpc.insecure_channel(f"127.0.0.1:{served.ready['listen']}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        for kind in ("startup", "liveness", "readiness"):
            asked = health_pb2.HealthCheckRequest(service=only[f"{kind}Probe"]["grpc"]["service"])
            assert check(asked, timeout=5).status == health_pb2.HealthCheckResponse.SERVING


@each_service
@each_role
def test_there_is_time_to_drain(name: str, role: str) -> None:
    found = read_settings(name, role)
    spec = find(name, "Deployment", role)["spec"]
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > found.announce + found.grace
    # While it is announced, kubelet and the cluster's proxies have the time to hear of it.
    readiness = container(pod)["readinessProbe"]
    assert found.announce > readiness["periodSeconds"] * readiness["failureThreshold"] + readiness["timeoutSeconds"]
    assert found.grace >= found.deadline
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@each_service
def test_the_api_finds_every_processor(name: str) -> None:
    service = find(name, "Service", "processor")
    target = settings.address(read_api(name).processor)
    assert target == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])
    assert service["spec"]["clusterIP"] == "None"
    assert find(name, "Service", "api")["spec"]["type"] == "ClusterIP"


def test_a_processor_has_as_many_slots_as_cpus() -> None:
    """Unless told otherwise it counts the CPUs of its limit, and those must be whole, and what it asked for."""
    resources = container(find(BASE, "Deployment", "processor")["spec"]["template"]["spec"])["resources"]
    assert resources["requests"]["cpu"] == resources["limits"]["cpu"] == "1"
    assert "IMAGEPROCESSOR_SLOTS" not in variables(BASE, "processor")
