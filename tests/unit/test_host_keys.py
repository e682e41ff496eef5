"""The host keys that are pinned for a fleet."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from fanrun.fleet.model import Host
from fanrun.fleet.store import Folder


def test_one_key_is_pinned_for_each_address(folder: Folder) -> None:
    assert not folder.host_keys.has("10.0.0.1")
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 OLD")
    folder.host_keys.pin("10.0.0.1", 2201, "ssh-ed25519 OTHER")
    folder.host_keys.pin("10.0.0.11", 22, "ssh-ed25519 NEAR")
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 NEW")
    assert sorted(folder.known_hosts.read_text().splitlines()) == [
        "10.0.0.1 ssh-ed25519 NEW",
        "10.0.0.11 ssh-ed25519 NEAR",
        "[10.0.0.1]:2201 ssh-ed25519 OTHER",
    ]
    assert folder.host_keys.has("10.0.0.1")
    assert folder.host_keys.has("10.0.0.1", 2201)
    assert not folder.host_keys.has("10.0.0.1", 2202)
    assert not folder.host_keys.has("10.0.0")


def test_the_keys_of_hosts_that_are_gone_are_dropped(folder: Folder) -> None:
    folder.host_keys.keep_only([])
    for address, port in (("10.0.0.1", 22), ("10.0.0.1", 2201), ("10.0.0.2", 22)):
        folder.host_keys.pin(address, port, "ssh-ed25519 AAAA")
    folder.host_keys.keep_only([Host("worker-1", "worker", "10.0.0.1", "10.0.0.1", "fanrun", 2201)])
    assert folder.known_hosts.read_text() == "[10.0.0.1]:2201 ssh-ed25519 AAAA\n"


@pytest.mark.parametrize(("port", "place"), [(22, "10.0.0.1"), (2201, "[10.0.0.1]:2201")])
def test_ssh_keygen_finds_the_pinned_key(folder: Folder, port: int, place: str) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    folder.host_keys.pin("10.0.0.1", port, key)
    argv = ["ssh-keygen", "-F", place, "-f", str(folder.known_hosts)]
    assert key in subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_of_two_keys_the_other_is_preferred(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "default")
    folder.create()
    assert not folder.host_keys.prefer_next("10.0.0.1")
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 AAAA", first=True)
    assert not folder.host_keys.prefer_next("10.0.0.1")
    assert folder.host_keys.is_first("10.0.0.1")
    folder.host_keys.pin("10.0.0.2", 22, "ssh-ed25519 CCCC")
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 BBBB", keep=True)
    assert folder.host_keys.prefer_next("10.0.0.1")
    mine = [line for line in folder.known_hosts.read_text().splitlines() if line.startswith("10.0.0.1 ")]
    assert mine == ["10.0.0.1 ssh-ed25519 BBBB", "10.0.0.1 ssh-ed25519 AAAA first-login"]
    folder.host_keys.pin("10.0.0.1", 22, "ssh-ed25519 DDDD")
    assert not folder.host_keys.is_first("10.0.0.1")
    assert len(folder.known_hosts.read_text().splitlines()) == 2


def test_keys_that_are_pinned_at_once_are_all_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "default")
    folder.create()
    threads = [
        threading.Thread(target=folder.host_keys.pin, args=(f"10.0.0.{number}", 22, f"ssh-ed25519 {number}"))
        for number in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(folder.host_keys.has(f"10.0.0.{number}") for number in range(50))
