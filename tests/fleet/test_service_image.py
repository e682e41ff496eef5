"""The image of the services, built for real and run as the manifests say: an API, a processor, a request."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2
from PIL import Image

from provision.registry import build
from service.protos import imagescaler_pb2, imagescaler_pb2_grpc
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
NAME = f"fanrun-test-service-{os.getpid()}"


def docker(*arguments: str, code: int = 0) -> str:
    """Run docker; fails unless it ends with `code`."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The services' image on top of that of process.py."""
    process, tag = f"{NAME}-process", f"{NAME}-image"
    build.build(ROOT, process, log=print)
    build.build(ROOT, tag, log=print, process=process)
    yield tag
    docker("rmi", "--force", tag, process)


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    """A network with names of its own."""
    docker("network", "create", NAME)
    yield NAME
    docker("network", "rm", NAME)


def python(image: str, script: str) -> str:
    """Run a script by the image's Python."""
    return docker("run", "--rm", "--network=none", "--read-only", "--entrypoint=/usr/bin/python3", image, "-c", script)


def started(image: str, network: str, role: str, variables: dict[str, str], *options: str) -> str:
    """Start a container as Kubernetes would by manifests/base; returns its name."""
    (deployment,) = [
        document
        for document in yaml.safe_load_all((ROOT / f"manifests/base/{role}.yaml").read_text())
        if document["kind"] == "Deployment"
    ]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security, limits = container["securityContext"], container["resources"]["limits"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    return docker(
        "run",
        "--detach",
        f"--name={NAME}-{role}",
        f"--network={network}",
        f"--network-alias={role}",
        "--read-only",
        *(f"--cap-drop={capability}" for capability in security["capabilities"]["drop"]),
        "--security-opt=no-new-privileges",
        f"--user={user}",
        f"--cpus={limits['cpu']}",
        f"--memory={limits['memory'].removesuffix('i')}",
        *(f"--env={key}={value}" for key, value in variables.items()),
        *options,
        image,
        *container["args"],
    )


def variables(role: str) -> dict[str, str]:
    """What manifests/base sets."""
    maps = yaml.safe_load((ROOT / "manifests/base/kustomization.yaml").read_text())["configMapGenerator"]
    (found,) = [each["literals"] for each in maps if each["name"] == role]
    return dict(literal.split("=", 1) for literal in found)


@pytest.fixture
def containers(image: str, network: str) -> Iterator[tuple[str, str]]:
    """A processor, and an API whose port is published at 127.0.0.1."""
    names: list[str] = []
    try:
        names.append(started(image, network, "processor", {**variables("processor"), "IMAGEPROCESSOR_ANNOUNCE": "1"}))
        api = {**variables("api"), "IMAGESCALER_ANNOUNCE": "1"}
        names.append(started(image, network, "api", api, "--publish=127.0.0.1::50051"))
        yield names[1], names[0]
    finally:
        docker("rm", "--force", "--volumes", *(names or ["none"]))


def state(container: str) -> dict[str, Any]:
    """What docker says of a container."""
    return dict(json.loads(docker("inspect", "--format={{json .State}}", container)))


def answers(target: str) -> bool:
    """Whether something listens there and speaks gRPC."""
    with grpc.insecure_channel(target) as channel:
        try:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                health_pb2.HealthCheckRequest.SerializeToString,
                health_pb2.HealthCheckResponse.FromString,
            )
            status = check(health_pb2.HealthCheckRequest(service="imagescaler.ImageScaler"), timeout=2).status
        except (OSError, grpc.RpcError):
            return False
    return bool(status == health_pb2.HealthCheckResponse.SERVING)


def test_it_serves_as_the_manifests_start_it_and_drains_when_it_is_stopped(containers: tuple[str, str]) -> None:
    api, processor = containers
    target = docker("port", api, "50051/tcp").splitlines()[0]
    wait_until(lambda: answers(target) or not state(api)["Running"])
    assert state(api)["Running"], docker("logs", api)
    picture = io.BytesIO()
    Image.radial_gradient("L").resize((1400, 1316)).convert("RGB").save(picture, "JPEG")
    with grpc.insecure_channel(target) as channel:
        stub = imagescaler_pb2_grpc.ImageScalerStub(channel)
        request = imagescaler_pb2.ScaleImageRequest(image=imagescaler_pb2.Image(content=picture.getvalue()))
        reply = stub.ScaleImage(request, timeout=30, wait_for_ready=True)
        with Image.open(io.BytesIO(reply.content)) as scaled:
            assert scaled.format == "JPEG"
            assert scaled.size == (1024, 768)
    for container in (api, processor):
        docker("stop", "--time=30", container)
        assert state(container)["ExitCode"] == 0, docker("logs", container)


def test_everything_in_it_can_be_imported(image: str) -> None:
    """TLS to origins among it; only drawing plots is for machines that have the room."""
    paths = [path.relative_to(ROOT) for path in sorted((ROOT / "service").rglob("*.py"))]
    names = [".".join(path.with_suffix("").parts) for path in paths if "loadtest" not in path.parts]
    script = f"import importlib.util\nfor name in {names}: importlib.import_module(name)\n"
    script += "assert importlib.util.find_spec('service.loadtest') is None\n"
    script += "assert importlib.util.find_spec('fanrun') is None\n"
    script += (
        "import ssl, certifi\nssl.create_default_context(cafile=certifi.where())\nprint(len(ssl.OPENSSL_VERSION) > 0)"
    )
    assert python(image, script) == "True"


def test_it_holds_what_the_lock_says_once(image: str) -> None:
    script = "from importlib.metadata import distributions as d; print(*sorted(f'{x.name}=={x.version}' for x in d()))"
    lock = (ROOT / "requirements/service.txt").read_text()
    pins, always = (re.findall(rf"^([^ #]+==[^ ]+) {end}", lock, re.MULTILINE) for end in ("", r"\\"))
    held = [found.lower().replace("_", "-") for found in python(image, script).split()]
    assert len(held) == len(set(held))
    assert set(always) <= set(held) <= set(pins)  # some are for other systems only


def test_it_is_small_and_a_superset_of_the_other(image: str) -> None:
    found, below = (json.loads(docker("image", "inspect", name))[0] for name in (image, f"{NAME}-process"))
    assert found["RootFS"]["Layers"][: len(below["RootFS"]["Layers"])] == below["RootFS"]["Layers"]
    assert found["Size"] < 120_000_000
    assert found["Config"]["User"] == "65532:65532"
    script = "import glob; print(*glob.glob('/usr/bin/*'), *glob.glob('/[eu][ts][cr]/**/*.pem', recursive=True))"
    assert sorted(python(image, script).split()) == [
        "/usr/bin/python3",
        "/usr/bin/python3.13",
        "/usr/local/lib/python3.13/dist-packages/certifi/cacert.pem",
        "/usr/local/lib/python3.13/dist-packages/grpc/_cython/_credentials/roots.pem",
    ]
