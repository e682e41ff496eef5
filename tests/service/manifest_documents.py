"""The documents of manifests/, as they are written and as kustomize renders them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.common import settings
from service.protos import imageprocessor_pb2, imagescaler_pb2

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "manifests"
VERSIONS = ("1.33", "1.37")
"""Of Kubernetes: the oldest that manifests/ is written for, and the newest that the validator knows."""
KUSTOMIZATIONS = tuple(sorted(str(path.parent.relative_to(FOLDER)) for path in FOLDER.rglob("kustomization.yaml")))
FILES = tuple(sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml"))
BASE, PRODUCTION, BATCH = "base", "overlays/production", "batch"
ROLES = ("api", "processor")
SERVICES = {
    "api": imagescaler_pb2.DESCRIPTOR.services_by_name["ImageScaler"].full_name,
    "processor": imageprocessor_pb2.DESCRIPTOR.services_by_name["ImageProcessor"].full_name,
}
Document = dict[str, Any]


def documents(text: str) -> list[Document]:
    """All that is in a stream of YAML."""
    return [document for document in yaml.safe_load_all(text) if document]


@cache
def render(name: str) -> tuple[Document, ...]:
    """What `kubectl apply -k manifests/NAME` would apply, by the kubectl of the tests' own environment."""
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent))
    assert kubectl, "the dev group's kubectl is not installed: run script/setup --dev"
    argv = [kubectl, "kustomize", str(FOLDER / name)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # it warns of what is deprecated
    return tuple(documents(done.stdout))


def find(name: str, kind: str, wanted: str) -> Document:
    """The one document of that kind and name."""
    (found,) = [each for each in render(name) if each["kind"] == kind and each["metadata"]["name"] == wanted]
    return found


def pods() -> list[tuple[str, Document]]:
    """Each pod's spec, and whose it is: those of all renderings, and the one that is applied alone."""
    found = [(f"{name}: {each['metadata']['name']}", each) for name in KUSTOMIZATIONS for each in render(name)]
    found += [(str(path.name), each) for path in FILES for each in documents(path.read_text()) if each["kind"] == "Pod"]
    return [
        (whose, each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"])
        for whose, each in found
        if each["kind"] in ("Deployment", "Job", "Pod")
    ]


PODS = pods()


def container(pod: Document) -> Document:
    """A pod's only container."""
    (found,) = pod["containers"]
    return dict(found)


def variables(name: str, role: str) -> dict[str, str]:
    """The environment that a role's container gets."""
    only = container(find(name, "Deployment", role)["spec"]["template"]["spec"])
    (source,) = only["envFrom"]
    return dict(find(name, "ConfigMap", source["configMapRef"]["name"])["data"])


def read_api(name: str) -> settings.Api:
    """The API's settings, as the program itself reads them from that environment."""
    return settings.read_api([], variables(name, "api"))


def read_settings(name: str, role: str) -> settings.Server:
    """The settings of either."""
    return read_api(name) if role == "api" else settings.read_processor([], variables(name, role))


each_pod = pytest.mark.parametrize("pod", [pod for _, pod in PODS], ids=[whose for whose, _ in PODS])
each_role = pytest.mark.parametrize("role", ROLES)
each_service = pytest.mark.parametrize("name", [BASE, PRODUCTION])
