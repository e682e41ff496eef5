"""What stands in manifests/, as Kubernetes would get it: rendered by kubectl itself, checked against its schemas.

No cluster runs here: that pods start, that policies are kept and that the autoscaler scales is not seen by these tests.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

import kubernetes_validate
import pytest

from tests.service.manifest_documents import (
    BASE,
    BATCH,
    FILES,
    FOLDER,
    KUSTOMIZATIONS,
    PODS,
    PRODUCTION,
    ROLES,
    VERSIONS,
    Document,
    container,
    documents,
    each_pod,
    each_role,
    each_service,
    find,
    read_api,
    render,
)


def test_nothing_is_missing() -> None:
    assert set(KUSTOMIZATIONS) == {BASE, PRODUCTION, BATCH}
    kinds = {(each["kind"], each["metadata"]["name"].partition("-")[0]) for each in render(BASE)}
    for role in ROLES:
        assert {(kind, role) for kind in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")} <= kinds
    assert ("HorizontalPodAutoscaler", "processor") in kinds
    assert len(PODS) == 2 + 2 + 1 + 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_manifest_is_valid(path: Path, version: str) -> None:
    for document in documents(path.read_text()):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_every_rendering_is_valid(name: str, version: str) -> None:
    for document in render(name):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_validator_is_strict() -> None:
    document = {**find(BASE, "Service", "api"), "spce": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_all_of_it_is_in_one_namespace_that_restricts_pods(name: str) -> None:
    (namespace,) = [each["metadata"] for each in render(name) if each["kind"] == "Namespace"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    inside = {each["metadata"]["namespace"] for each in render(name) if each["kind"] != "Namespace"}
    assert inside == {namespace["name"]}


@each_pod
def test_pods_may_do_next_to_nothing(pod: Document) -> None:
    security, own = pod["securityContext"], container(pod)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not any("hostPath" in volume for volume in pod.get("volumes", []))


@each_pod
def test_pods_say_what_they_need_and_may_have(pod: Document) -> None:
    resources = container(pod)["resources"]
    assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}


@each_pod
def test_no_variable_of_the_cluster_is_taken_for_a_setting(pod: Document) -> None:
    assert pod["enableServiceLinks"] is False


@each_service
@each_role
def test_selectors_find_their_own_pods_alone(name: str, role: str) -> None:
    labels = {each: find(name, "Deployment", each)["spec"]["template"]["metadata"]["labels"] for each in ROLES}
    policy = find(name, "NetworkPolicy", role)["spec"]["podSelector"]["matchLabels"]
    deployment = find(name, "Deployment", role)["spec"]
    spread = deployment["template"]["spec"]["topologySpreadConstraints"][0]
    selectors = [
        policy,
        deployment["selector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
        find(name, "Service", role)["spec"]["selector"],
        find(name, "PodDisruptionBudget", role)["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert [each for each in ROLES if selector.items() <= labels[each].items()] == [role]
    assert spread["topologyKey"] == "kubernetes.io/hostname"


@each_service
def test_there_are_two_of_each_at_least(name: str) -> None:
    assert find(name, "Deployment", "api")["spec"]["replicas"] >= 2
    scaler = find(name, "HorizontalPodAutoscaler", "processor")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "processor"}
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"] == 10
    assert "replicas" not in find(name, "Deployment", "processor")["spec"]  # they are the autoscaler's
    (metric,) = scaler["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    for role in ROLES:
        assert find(name, "PodDisruptionBudget", role)["spec"]["maxUnavailable"] == 1


@each_service
def test_only_what_is_needed_is_let_through(name: str) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in render(name) if each["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert policies["api"]["ingress"] == [{"ports": [{"port": 50051}]}]
    (source,) = policies["processor"]["ingress"]
    assert source["from"] == [{"podSelector": policies["api"]["podSelector"]}]
    assert source["ports"] == [{"port": 50052}]
    assert "egress" not in policies["processor"]
    assert policies["metrics"]["ingress"][0]["ports"] == [{"port": 5001}]
    dns, processor, _ = policies["api"]["egress"]
    assert {(each["port"], each["protocol"]) for each in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert processor["to"] == [{"podSelector": policies["processor"]["podSelector"]}]
    assert processor["ports"] == [{"port": 50052}]


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07::1", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.31.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("0.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_images_are_fetched_from_public_addresses_alone(address: str, reached: bool) -> None:
    blocks = [to["ipBlock"] for to in find(BASE, "NetworkPolicy", "api")["spec"]["egress"][2]["to"]]
    wanted = ipaddress.ip_address(address)

    def within(cidr: str) -> bool:
        network = ipaddress.ip_network(cidr)
        return network.version == wanted.version and wanted in network

    found = any(within(block["cidr"]) and not any(map(within, block["except"])) for block in blocks)
    assert found is reached


def test_the_overlay_changes_what_it_says() -> None:
    images = {container(find(PRODUCTION, "Deployment", role)["spec"]["template"]["spec"])["image"] for role in ROLES}
    assert images == {"registry.example.com/fanrun/service:0.1.0"}
    assert find(PRODUCTION, "Deployment", "api")["spec"]["replicas"] == 3
    assert find(PRODUCTION, "HorizontalPodAutoscaler", "processor")["spec"]["minReplicas"] == 3
    before, after = (read_api(name) for name in (BASE, PRODUCTION))
    assert (before.size, before.margin, before.grayscale) == ((1024, 768), 0.05, False)
    assert (after.size, after.margin, after.grayscale) == ((640, 480), 0.1, True)
    names = [
        {each["metadata"]["name"] for each in render(name) if each["kind"] == "ConfigMap"}
        for name in (BASE, PRODUCTION)
    ]
    assert len(names[0] - names[1]) == 1  # the hash of the one that was changed, and of no other


def test_the_batch_gives_each_index_its_share() -> None:
    job = find(BATCH, "Job", "process")["spec"]
    pod = job["template"]["spec"]
    only = container(pod)
    assert job["completionMode"] == "Indexed"
    assert only["args"][only["args"].index("--shard") + 1] == f"$(SHARD)/{job['completions']}"
    # A variable is known to those that stand after it.
    index, report = only["env"]
    path = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert index == {"name": "SHARD", "valueFrom": {"fieldRef": {"fieldPath": path}}}
    assert "$(SHARD)" in report["value"]
    assert find(BATCH, "PersistentVolumeClaim", "images")["spec"]["accessModes"] == ["ReadWriteMany"]
    mounts = {each["mountPath"]: each for each in only["volumeMounts"]}
    assert mounts["/in"]["readOnly"] is True
    assert only["args"][-2:] == ["/in", "/out"]
    actions = {rule["action"]: rule.get("onExitCodes", {}).get("values") for rule in job["podFailurePolicy"]["rules"]}
    assert actions == {"Ignore": None, "FailIndex": [1], "FailJob": [2]}
    assert pod["restartPolicy"] == "Never"  # a failure policy asks for it
