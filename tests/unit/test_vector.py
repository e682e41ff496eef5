"""Log shipping: what is written on hosts, and the scripts, run here."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.config import Logs
from fanrun.fleet.model import Fleet, Host
from provision.hosts import vector
from provision.hosts.common import ANY, read_file
from provision.hosts.openpgp import dearmor
from provision.hosts.shipping import read_config
from provision.hosts.vector_install import REPOSITORY, Repository, VectorState, check_key, parse, preferences, sources
from tests.unit.samples import FLEET
from tests.unit.test_openpgp import FINGERPRINT, KEY

ROOT = Path(__file__).resolve().parents[2]
PLAIN = VectorState("amd64", "/usr/bin/vector", "0.57.0", user=True)
SYSTEMD = VectorState("amd64", "/usr/bin/vector", "0.57.0", systemd=True, user=True)
GIB = 1024**3


def test_the_shippers_configuration_names_its_host_and_the_hub() -> None:
    text = read_config(ROOT)
    made = vector.shipper_config(text, "worker-1", "10.0.0.10")
    assert '.host = "worker-1"' in made
    assert 'address = "10.0.0.10:6000"' in made
    assert '"HOST"' not in made.partition("[[tests]]")[0]
    assert "ADDRESS:" not in made
    changed = [line for line, before in zip(made.splitlines(), text.splitlines(), strict=True) if line != before]
    assert {line.replace("worker-1", "HOST").replace("10.0.0.10:", "ADDRESS:") for line in changed} <= set(
        text.splitlines()
    )
    assert 'address = "[fd00::1]:6000"' in vector.shipper_config(text, "worker-1", "fd00::1")


@pytest.mark.parametrize(("address", "place"), [("10.0.0.10", "10.0.0.10:6000"), (ANY, "0.0.0.0:6000")])
def test_the_receiver_listens_at_the_fleets_address(address: str, place: str) -> None:
    assert f'address = "{place}"' in vector.receiver_config(address)


@pytest.mark.parametrize("text", [vector.receiver_config("10.0.0.10"), read_config(ROOT)])
def test_both_halves_ask_for_certificates_and_all_else_is_on_loopback(text: str) -> None:
    assert "verify_certificate = true" in text
    places = re.findall(r'^address = "(.*):[0-9]+"', text, re.MULTILINE)
    assert len(places) == 2
    assert places[1] == "127.0.0.1"
    assert 'type = "disk"' not in text
    assert "docker_logs" not in text
    assert "acknowledgements.enabled = true" in text


def test_the_longest_lines_fit_into_requests_and_into_memory() -> None:
    """A message of 64 KiB has 192 KiB where nothing of it is UTF-8."""
    text, line = read_config(ROOT), 3 * 64 * 1024
    (request,) = map(int, re.findall(r"\bmax_bytes = ([0-9]+)", text))
    (count,) = map(int, re.findall(r"\bmax_events = ([0-9]+)", text))
    assert line < request
    assert 20 * request < 100 * 1024**2, "what the hub takes at once"
    assert count * line < 512 * 1024**2 / 4, "a quarter of MemoryMax"


def test_a_machine_of_two_roles_ships_once() -> None:
    names = [(place.host.name, place.is_hub) for place in vector.places(FLEET)]
    assert names == [("hub", True), ("worker-1", False), ("worker-2", False)]
    both = Fleet("f", "static", (Host("hub", "hub", "a", "a", "u"), Host("worker-1", "worker", "a", "a", "u")))
    assert [(place.host.name, place.is_hub) for place in vector.places(both)] == [("worker-1", True)]


def test_systemd_runs_both_without_root_and_behind_all_else() -> None:
    texts = {name: vector.service_files(name, SYSTEMD) for name in (vector.SHIPPER, vector.RECEIVER)}
    for name, found in texts.items():
        (text,) = found.values()
        assert list(found) == [f"/etc/systemd/system/{name}.service"]
        assert f"ExecStart=/usr/bin/vector --config /etc/fanrun/vector/{name}.toml\n" in text
        for line in (
            "User=vector",
            "CPUWeight=10",
            "Nice=10",
            "MemoryMax=512M",
            "Restart=always",
            "NoNewPrivileges=true",
            "ProtectSystem=strict",
        ):
            assert f"\n{line}\n" in text
    (shipper,), (receiver,) = (found.values() for found in texts.values())
    assert "\nAmbientCapabilities=CAP_DAC_READ_SEARCH\n" in shipper
    assert "\nEnvironment=VECTOR_THREADS=1\n" in shipper
    assert "VECTOR_THREADS" not in receiver
    assert "/var/log/fanrun" not in shipper
    assert "\nCapabilityBoundingSet=\nAmbientCapabilities=\n" in receiver


@pytest.mark.parametrize(
    ("name", "environment", "capabilities"),
    [
        ("fanrun-vector", "VECTOR_THREADS=1 ", "--inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"),
        ("fanrun-vector-hub", "", "--inh-caps=-all"),
    ],
)
def test_an_init_script_does_as_far_as_it_can(name: str, environment: str, capabilities: str, tmp_path: Path) -> None:
    ((path, text),) = vector.service_files(name, PLAIN).items()
    assert path == f"/etc/init.d/{name}"
    assert f"setpriv --reuid=vector --regid=vector --init-groups {capabilities} --no-new-privs" in text
    assert f"\nname={name}\n" in text
    assert f" VECTOR_LOG=warn {environment}nice -n 10 " in text
    assert not re.search(r"\b(NAME|PROGRAM|CAPABILITIES|THREADS)\b", text)
    (tmp_path / "script").write_text(text)
    subprocess.run(["sh", "-n", str(tmp_path / "script")], check=True)


def test_old_logs_go_once_a_minute() -> None:
    logs = Logs(days=3, bytes=5 * GIB)
    plain, systemd = vector.expiry_files(logs, PLAIN), vector.expiry_files(logs, SYSTEMD)
    assert set(plain) == {vector.EXPIRE, "/etc/cron.d/fanrun-logs"}
    assert set(systemd) == {
        vector.EXPIRE,
        *(f"/etc/systemd/system/fanrun-logs.{kind}" for kind in ("service", "timer")),
    }
    for text in (plain["/etc/cron.d/fanrun-logs"], systemd["/etc/systemd/system/fanrun-logs.service"]):
        assert f"/etc/fanrun/vector/expire-logs.sh /var/log/fanrun 3 {5 * GIB}\n" in text
    assert plain[vector.EXPIRE] == read_file("expire-logs.sh").replace("DAYS BYTES", f"3 {5 * GIB}")


def test_the_repository_gives_vector_and_nothing_else() -> None:
    assert sources(REPOSITORY).splitlines()[1] == (
        "deb [signed-by=/usr/share/keyrings/fanrun-vector.asc] https://apt.vector.dev/ stable vector-0"
    )
    assert preferences(REPOSITORY) == (
        "# Written by Fanrun.\n"
        "Package: *\nPin: origin apt.vector.dev\nPin-Priority: -1\n\n"
        "Package: vector\nPin: version 0.57.0-1\nPin-Priority: 990\n"
    )
    assert all(re.fullmatch("[0-9A-F]{40}", each) for each in REPOSITORY.fingerprints)


def test_a_key_is_taken_by_its_fingerprint_alone() -> None:
    known = Repository("", "", "https://keys", (FINGERPRINT,))
    assert check_key(KEY.encode(), known) == dearmor(KEY.encode())
    with pytest.raises(ValueError, match=f"at https://keys has the fingerprint {FINGERPRINT}, which"):
        check_key(KEY.encode(), Repository("", "", "https://keys", ("A" * 40,)))


@pytest.mark.parametrize(
    ("text", "found", "ready", "foreign"),
    [
        ("architecture amd64\n", VectorState("amd64"), False, ""),
        ("architecture amd64\nprogram /usr/bin/vector\nversion 0.57.0\nuser yes\n", PLAIN, True, ""),
        (
            "program /opt/vector\nversion 0.48.0\nuser yes\n",
            VectorState("", "/opt/vector", "0.48.0", user=True),
            False,
            "version 0.48.0",
        ),
        ("program /opt/vector\nversion 0.57.0\n", VectorState("", "/opt/vector", "0.57.0"), False, "without a user"),
        ("program /opt/vector\nversion \n", VectorState("", "/opt/vector"), False, "version unknown"),
        (
            "program /usr/bin/vector\nversion 0.56.0\nours yes\nuser yes\n",
            VectorState("", "/usr/bin/vector", "0.56.0", ours=True, user=True),
            False,
            "",
        ),
        ("program /usr/bin/vector\nhalfway yes\n", VectorState("", "/usr/bin/vector", halfway=True), False, ""),
        ("receiver yes\nreceiver yes\nsystemd yes\n", VectorState(systemd=True, receiver=True), False, ""),
    ],
)
def test_what_a_host_has(text: str, found: VectorState, ready: bool, foreign: str) -> None:
    assert parse(text) == found
    assert found.is_ready == ready
    assert (foreign in found.foreign) if foreign else found.foreign == ""


def look(tmp_path: Path, **programs: str) -> VectorState:
    """What vector-look.sh says where these programs come first."""
    for name, text in {"dpkg": "echo amd64", "dpkg-query": ":", "getent": "exit 2", **programs}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "added").write_text("package vector\n" if "vector" in programs else "")
    environment = os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    argv = ["sh", "-c", read_file("vector-look.sh"), "sh", str(tmp_path / "added")]
    return parse(subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout)


def test_a_host_says_what_it_has(tmp_path: Path) -> None:
    found = look(tmp_path, vector="echo 'vector 0.57.0 (x86_64 2026-01-01)'; echo more", getent=":")
    assert found.program == str(tmp_path / "vector")
    assert (found.version, found.ours, found.user, found.is_ready) == ("0.57.0", True, True, True)
    assert not look(tmp_path, **{"vector": "exit 1", "dpkg-query": "echo half-installed"}).is_ready
    assert look(tmp_path, **{"vector": "exit 1", "dpkg-query": "echo unpacked"}).halfway
