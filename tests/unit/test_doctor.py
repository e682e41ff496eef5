"""`fab doctor`: a line on each thing that Fanrun needs, and never a long wait."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from fanrun.fleet.config import NESTED
from fanrun.fleet.setting_sources import SettingSource, setting_sources
from tests.unit.fab_world import OWN, Done, FabWorld, run_fab
from tests.unit.test_docs import SETTINGS
from tests.unit.worker_scripts import stand_in

KEYS = {"AWS_ACCESS_KEY_ID": "AKIA0", "AWS_SECRET_ACCESS_KEY": "secret"}
NO_CREDENTIALS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
}
NOWHERE = "tcp://127.0.0.1:9"


class Doctor:
    """Runs `fab doctor` where there are no credentials of AWS and no Docker, unless `more` says otherwise."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def run(self, *argv: str, **more: str) -> Done:
        environment = {name: value for name, value in OWN.items() if not name.startswith("AWS_")}
        home = {"FANRUN_HOME": str(self.top / "home"), "TMPDIR": str(self.top), "DOCKER_HOST": NOWHERE}
        return run_fab(argv, {**environment, **home, **NO_CREDENTIALS, **more})

    def __call__(self, **more: str) -> dict[str, tuple[str, str]]:
        """Return {name: (state, text)} of all checks."""
        done = self.run("doctor", "--json", **more)
        checks = json.loads(done.stdout)
        assert done.returncode == int(any(each["state"] == "error" for each in checks)), done.stderr
        assert all(set(each) == {"name", "state", "text"} for each in checks)
        return {each["name"]: (each["state"], each["text"]) for each in checks}


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """The address of an emulator of AWS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_the_lines_are_those_of_the_json(doctor: Doctor) -> None:
    lines = doctor.run("doctor").stdout.splitlines()
    found = [line.split(maxsplit=1)[0] for line in lines]
    checks = doctor()
    assert found == [state for state, _ in checks.values()]
    assert all(text in line for line, (_, text) in zip(lines, checks.values(), strict=True))


def test_a_machine_without_docker(doctor: Doctor) -> None:
    checks = doctor()
    state, text = checks["Docker"]
    assert state == "error"
    assert text.startswith(f"DOCKER_HOST ({NOWHERE}) does not answer (")
    assert text.endswith("start Docker there, or unset DOCKER_HOST")
    assert checks["AWS"] == ("ok", "not set up: there are no credentials; only provider ec2 needs them")
    assert checks["rsync"][0] == checks["ssh"][0] == checks["Python"][0] == "ok"
    assert checks["rsync"][1].startswith("rsync")
    assert checks["fleets"] == ("ok", "none yet; `fab up` starts one")


def test_programs_that_are_not_there(fab_world: FabWorld) -> None:
    for tool in ("rsync", "ssh"):
        done = fab_world.fab("doctor", lacking=tool)
        assert done.returncode == 1
        (line,) = [line for line in done.stdout.splitlines() if line.split()[1] == tool]
        assert line.startswith("error ")
        assert f"{tool} is not installed here; script/setup installs it" in line
        assert "docker is not in PATH: install it" in done.stdout


def test_it_waits_for_nobody(doctor: Doctor, silent: int) -> None:
    began = time.monotonic()
    url = f"http://127.0.0.1:{silent}"
    checks = doctor(**KEYS, AWS_ENDPOINT_URL=url, DOCKER_HOST=f"tcp://127.0.0.1:{silent}")
    assert time.monotonic() - began < 20  # on a busy machine; it takes 5 s
    assert checks["Docker"][0] == "error"
    assert "no answer within 5 s" in checks["Docker"][1]
    state, text = checks["AWS"]
    assert state == "warning"
    assert "check the network and the AWS settings" in text


def test_credentials_and_their_region(doctor: Doctor, aws: str) -> None:
    state, text = doctor(**KEYS, AWS_ENDPOINT_URL=aws, AWS_REGION="eu-central-1")["AWS"]
    assert (state, text.startswith("account 123456789012, arn:aws:")) == ("ok", True)
    assert text.endswith(", region eu-central-1")
    assert "secret" not in text
    state, text = doctor(**KEYS, AWS_ENDPOINT_URL=aws)["AWS"]
    assert state == "warning"
    assert text.endswith("no region is named: give --region, or set AWS_REGION")
    assert doctor(**KEYS, AWS_ENDPOINT_URL=aws, FANRUN_REGION="us-east-2")["AWS"][1].endswith(", region us-east-2")


def test_without_credentials_ec2_can_not_be_used(doctor: Doctor) -> None:
    state, text = doctor(FANRUN_PROVIDER="ec2")["AWS"]
    assert state == "error"
    assert text.endswith("`aws configure` or `aws sso login` gives you some")


def test_a_profile_that_is_none(doctor: Doctor) -> None:
    state, text = doctor(AWS_PROFILE="nobody")["AWS"]
    assert (state, "nobody" in text) == ("warning", True)


def test_where_settings_come_from(doctor: Doctor) -> None:
    file = doctor.top / "mine.yaml"
    file.write_text("fanrun: {hosts: 3, spot: true, allow: [10.0.0.0/8, 10.1.0.0/16], logs: {days: 3}, fleet: red}")
    done = doctor.run("-f", str(file), "doctor", "--json", FANRUN_FLEET="blue", FANRUN_CACHE_BYTES="2g")
    found = {each["name"].removeprefix("setting "): each["text"] for each in json.loads(done.stdout)}
    here = f"(fabric.yaml or {file})"
    assert found["hosts"] == f"3 {here}"
    assert found["spot"] == f"true {here}"
    assert found["allow"] == f"10.0.0.0/8,10.1.0.0/16 {here}"
    assert found["logs.days"] == f"3 {here}"
    assert found["fleet"] == "blue (FANRUN_FLEET)"
    assert found["cache.bytes"] == "2g (FANRUN_CACHE_BYTES)"
    assert found["provider"] == "local (default)"
    assert {"logs", "cache"}.isdisjoint(found)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FANRUN_HOSTS", "x", "--hosts=x: give a whole number from 1 to 1000"),
        ("FANRUN_PROVIDER", "moon", "there is no provider 'moon'; choose one of:"),
        ("FANRUN_DISK", "none", "--disk=none: give a whole number"),
        ("FANRUN_LOGS_DAYS", "0", "logs.days=0: give a whole number"),
    ],
)
def test_a_wrong_setting_is_an_error_among_the_others(doctor: Doctor, name: str, value: str, words: str) -> None:
    checks = doctor(**{name: value})
    assert checks["settings"][0] == "error"
    assert words in checks["settings"][1]
    assert (f"{value} ({name})") in [text for _, text in checks.values()]
    assert {"Docker", "AWS", "rsync"} <= set(checks)


def test_every_setting_is_looked_for() -> None:
    environment = {f"FANRUN_{name.upper()}": "1" for name in SETTINGS}
    names = [name for name in SETTINGS if name not in NESTED]
    found = list(setting_sources(names, {}, "", environment))
    assert [each.name for each in found] == [*names, *NESTED]
    assert found[-1] == SettingSource("cache", "1", "FANRUN_CACHE")


@pytest.mark.parametrize(
    ("machine", "state", "words"),
    [
        ("elsewhere", "warning", "version 20.1, DOCKER_HOST (tcp://127.0.0.1:9): on another machine, where provider"),
        ("", "error", "does not answer (docker said nothing)"),
    ],
)
def test_what_docker_says(doctor: Doctor, machine: str, state: str, words: str) -> None:
    told = f"20.1\\t/\\t{machine}\\tDebian\\t[]\\n" if machine else ""
    stand_in(
        doctor.top / "bin", "docker", f"case $1 in info) printf '{told}';; *) printf 'x\\ttcp://192.0.2.1:9';; esac"
    )
    found = doctor(PATH=f"{doctor.top}/bin:{os.environ['PATH']}")["Docker"]
    assert found[0] == state
    assert words.replace("127.0.0.1", "192.0.2.1") in found[1]


def test_the_fleets_that_are_known(fab_world: FabWorld) -> None:
    done = fab_world.fab("doctor")
    assert "ok       fleet default" in done.stdout
    assert "provider local, 3 hosts" in done.stdout
    done = fab_world.fab("doctor", home="damaged")
    (line,) = [line for line in done.stdout.splitlines() if "fleet default" in line]
    assert line.startswith("error ")
    assert "fleet.json can't be read" in line


def test_a_home_that_is_no_folder(fab_world: FabWorld) -> None:
    done = fab_world.fab("doctor", home="file")
    assert done.returncode == 1
    assert "homes/file can't be read (Not a directory)" in done.stdout
