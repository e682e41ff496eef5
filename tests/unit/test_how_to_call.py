"""What `fab serve` says last: the command that calls the API."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

import pytest

from fanrun.fleet.model import Image
from fanrun.fleet.store import Folder
from fanrun.serving.client import how_to_call
from fanrun.serving.containers import ApiOptions, HostSetup, api
from tests.unit.samples import FLEET

ROOT = Path("/there")
IMAGE = Image("service", "sha256:1", "10.0.0.10:5000/fanrun/image@sha256:2")
FRONT = api(FLEET, IMAGE, ApiOptions(), HostSetup("10.0.0.10", {"api": "a"}))
INNER = FRONT.host.inner


def said(folder: Folder, environment: dict[str, str], address: str = INNER) -> list[list[str]]:
    front = dataclasses.replace(FRONT, host=dataclasses.replace(FRONT.host, address=address))
    lines = how_to_call(folder, ROOT, front, environment)
    return [shlex.split(line.partition(": ")[2]) for line in lines]


@pytest.mark.parametrize(
    ("home", "name", "environment", "flags"),
    [
        ("/there/.fanrun", "default", {}, []),
        ("/there/.fanrun", "it", {}, ["--fleet", "it"]),
        ("/there/.fanrun", "it", {"FANRUN_FLEET": "it"}, []),
        ("/there/.fanrun", "default", {"FANRUN_FLEET": "it"}, ["--fleet", "default"]),
        ("/else where", "default", {"FANRUN_HOME": "/else where"}, []),
        ("/there/by side", "default", {"FANRUN_HOME": "by side"}, []),
    ],
)
def test_the_client_is_told_what_it_would_not_find(
    home: str, name: str, environment: dict[str, str], flags: list[str]
) -> None:
    client = [sys.executable, "/there/service/loadtest/client.py", "--server", f"{INNER}:50051"]
    assert said(Folder(Path(home), name), environment) == [[*client, *flags, "IMAGE"]]


def test_files_are_named_where_fabric_yaml_says_where_they_are() -> None:
    (argv,) = said(Folder(Path("/else where"), "it"), {})
    files = ["--ca", "/else where/it/ca.crt", "--cert", "/else where/it/client.crt"]
    assert argv[4:-1] == [*files, "--key", "/else where/it/client.key"]


def test_a_tunnel_comes_first_where_the_address_can_not_be_reached() -> None:
    tunnel, client = said(Folder(ROOT / ".fanrun", "default"), {}, "203.0.113.7")
    assert tunnel[:3] == ["ssh", "-F", "/there/.fanrun/default/ssh_config"]
    assert client[2:4] == ["--server", "localhost:50051"]


def test_a_token_is_asked_for_where_there_are_some() -> None:
    front = api(FLEET, IMAGE, ApiOptions(tokens="ada secret"), HostSetup("10.0.0.10", {"api": "a"}))
    (line,) = how_to_call(Folder(ROOT / ".fanrun", "default"), ROOT, front, {})
    assert line.endswith(" --token-file FILE IMAGE")
