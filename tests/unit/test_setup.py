"""The steps of setting a host up, as far as they need no host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fanrun.fleet.errors import FleetError
from fanrun.fleet.model import Fleet
from fanrun.fleet.store import Folder
from provision.hosts import setup
from provision.hosts.scripts import host_argv
from tests.unit.samples import FLEET

COMMON = [
    "looking whose it is",
    "looking what its login prints",
    "replacing its first host key",
    "looking at the system",
    "extending its lease",
    "making the work folder",
    "making the folder for logs",
    "installing packages",
    "starting Docker",
    "trusting the registry",
    "marking it",
]


def titles(folder: Folder, name: str) -> list[str]:
    return [title for title, _ in setup.steps(folder, FLEET, FLEET.host(name), 3600)]


def test_a_worker_is_made_in_this_order(folder: Folder) -> None:
    closing = "closing a registry of before"
    assert titles(folder, "worker-1") == [*COMMON[:-1], closing, COMMON[-1]]
    assert titles(folder, "worker-1") == titles(folder, "worker-2")


def test_a_hub_has_the_registry_as_well_and_after_docker(folder: Folder) -> None:
    found = titles(folder, "hub")
    assert [title for title in found if title in COMMON] == COMMON
    assert found.index("starting the registry") > found.index("starting Docker")
    assert "starting the registry" not in titles(folder, "worker-1")


def test_the_registrys_settings_are_there_before_its_package_starts_it(folder: Folder) -> None:
    found = titles(folder, "hub")
    order = [
        "making the work folder",
        "making the folder for logs",
        "looking for another registry",
        "writing the registry's settings",
        "installing packages",
    ]
    assert [title for title in found if title in order] == order


def test_a_fleet_without_a_hub_can_not_be_set_up(folder: Folder) -> None:
    with pytest.raises(FleetError, match="has no hub"):
        setup.steps(folder, Fleet("default", "local", FLEET.workers), FLEET.workers[0], 3600)


def test_the_script_names_the_programs_that_are_missing() -> None:
    argv = host_argv("missing-programs.sh", "sh", "no-such-program", "cat", "neither this")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("no-such-program\nneither this\n", "")


APT_GET = "apt-get -q -o Acquire::Retries=2 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15"
APT = (
    f"{APT_GET} -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold"
    " install -y --no-remove --reinstall --no-install-recommends"
)


@pytest.fixture
def apt(tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Run a script with stand-ins for apt and dpkg: (exit code, what was called)."""

    def run(script: str, *arguments: str, failures: int = 0) -> tuple[int, list[str]]:
        for name in ("apt-get", "dpkg", "sleep"):
            fails = f"[ $(grep -c ^apt-get {tmp_path}/log) -gt {failures} ]" if name == "apt-get" else ":"
            text = f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/log\n[ "$DEBIAN_FRONTEND" = noninteractive ] && {fails}\n'
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", script, "sh", *arguments], env=environment, check=False)
        return done.returncode, (tmp_path / "log").read_text().splitlines()

    return run


def test_packages_are_installed_without_a_question(apt: Callable[..., tuple[int, list[str]]]) -> None:
    assert apt(setup.INSTALL, "docker.io", "rsync") == (0, [f"{APT} docker.io rsync"])


@pytest.mark.parametrize(("failures", "code"), [(1, 0), (9, 1)])
def test_an_install_left_halfway_is_ended_first(
    apt: Callable[..., tuple[int, list[str]]], failures: int, code: int
) -> None:
    assert apt(setup.INSTALL, "a", failures=failures) == (code, [f"{APT} a", "dpkg --configure -a", f"{APT} a"])


@pytest.mark.parametrize(("failures", "code", "tries"), [(0, 0, 1), (2, 0, 3), (99, 100, 6)])
def test_apts_lists_are_fetched_in_five_tries_and_a_last_one(
    apt: Callable[..., tuple[int, list[str]]], failures: int, code: int, tries: int
) -> None:
    done, log = apt(setup.UPDATE, failures=failures)
    assert (done, sum(line.endswith(" update") for line in log)) == (code, tries)
