"""What docker is told as it was asked for: a network, GPUs, a platform."""

from __future__ import annotations

import dataclasses
import json

import pytest

from fanrun.fanout import commands
from fanrun.fanout.commands import BatchFolder
from fanrun.fanout.context import RunContext
from fanrun.fanout.program import DEFAULT_DOCKER, DockerOptions, Program
from fanrun.fanout.request import RunRequest
from fanrun.fanout.workers.fitness import unfit
from fanrun.fleet.errors import UsageError
from fanrun.tasks.docker_options import chosen_docker
from tests.unit.run_world import IMAGE
from tests.unit.samples import FLEET, PROBE

PLACE = BatchFolder("20260101-000000-abcd", "worker-1.0001")
NONE = {"network": None, "gpus": None, "platform": None}


def docker_argv(docker: DockerOptions) -> list[str]:
    return commands.docker_argv(PLACE, Program("image", docker=docker), PROBE)


@pytest.mark.parametrize(
    ("docker", "options"),
    [
        (DockerOptions(gpus="all"), ["--gpus", "all"]),
        (DockerOptions(gpus="2"), ["--gpus", "2"]),
        (DockerOptions(gpus="device=0"), ["--gpus", "device=0"]),
        (DockerOptions(gpus="device=0,GPU-3a"), ["--gpus", '"device=0,GPU-3a"']),
        (DockerOptions(platform="linux/arm64"), ["--platform", "linux/arm64"]),
    ],
)
def test_docker_is_told(docker: DockerOptions, options: list[str]) -> None:
    argv, usual = docker_argv(docker), docker_argv(DEFAULT_DOCKER)
    at = argv.index(options[0])
    assert argv[at : at + 2] == options
    assert [*argv[:at], *argv[at + 2 :]] == usual


def test_there_is_no_network_unless_one_is_named() -> None:
    usual, argv = docker_argv(DEFAULT_DOCKER), docker_argv(DockerOptions("bridge"))
    at = usual.index("--network") + 1
    assert (usual[at], argv[at]) == ("none", "bridge")
    assert [*usual[:at], *usual[at + 1 :]] == [*argv[:at], *argv[at + 1 :]]


@pytest.mark.parametrize(
    ("given", "docker"),
    [
        ({}, DEFAULT_DOCKER),
        ({"network": "none"}, DEFAULT_DOCKER),
        ({"network": "my_net-1.x"}, DockerOptions("my_net-1.x")),
        ({"gpus": '"device=0,1"'}, DockerOptions(gpus="device=0,1")),
        ({"gpus": "3", "platform": "linux/arm/v7"}, DockerOptions(gpus="3", platform="linux/arm/v7")),
    ],
)
def test_what_is_given_is_taken(given: dict[str, str], docker: DockerOptions) -> None:
    assert chosen_docker({**NONE, **given}) == docker


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"network": ""}, "--network='': give bridge, host, or the name of a network"),
        ({"network": "container:x"}, "--network='container:x': give bridge, host, or the name"),
        ({"network": "--privileged"}, "--network='--privileged': give bridge"),
        ({"gpus": ""}, "--gpus='': give all, a number, or device=0,1"),
        ({"gpus": "0"}, "--gpus='0': give all, a number, or device=0,1"),
        ({"gpus": "capabilities=utility"}, "--gpus='capabilities=utility': give all"),
        ({"platform": "arm64"}, "--platform='arm64': give linux/ and a processor"),
        ({"platform": "windows/amd64"}, "--platform='windows/amd64': give linux/ and a processor"),
    ],
)
def test_what_can_not_be_meant_is_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen_docker({**NONE, **given})
    assert str(caught.value).startswith(words)


def name(docker: DockerOptions) -> str:
    """Return the name of a program in the ledger."""
    return RunContext(RunRequest("/src", "/dst", docker=docker), FLEET, IMAGE).program


def test_what_may_change_results_is_a_part_of_the_program() -> None:
    different = [DEFAULT_DOCKER, DockerOptions("bridge"), DockerOptions("host"), DockerOptions(gpus="all")]
    assert len(set(map(name, different))) == len(different)
    assert name(DockerOptions(gpus="all")) == name(DockerOptions(gpus="2"))
    assert name(DockerOptions(platform="linux/amd64")) == name(DEFAULT_DOCKER)


def test_a_retry_knows_what_docker_was_told() -> None:
    docker = DockerOptions("bridge", "2", "linux/amd64")
    kept = json.loads(json.dumps(RunRequest("/src", "/dst", docker=docker).remembered("image")))
    assert DockerOptions(**kept["docker"]) == docker


def test_gpus_need_a_worker_with_nvidias_runtime() -> None:
    program, roomy = Program("image", docker=DockerOptions(gpus="all")), dataclasses.replace(PROBE, python="/python3")
    has = dataclasses.replace(roomy, nvidia="/usr/bin/nvidia-container-runtime")
    assert "install the package nvidia-container-toolkit from NVIDIA's repository" in unfit(0, program, roomy)
    assert unfit(0, program, has) == unfit(0, Program("image"), roomy) == ""
