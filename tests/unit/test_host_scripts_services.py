"""The scripts that install Vector and start services, run under a folder of this machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from fanrun.fleet.script import script_argv
from provision.hosts.scripts import host_script
from tests.unit.worker_scripts import stand_in


def run(root: Path, name: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a script with `root` in the place of / for settings and for what the system has started."""
    script = host_script(name)
    for folder in ("/etc/", "/run/", "/usr/lib/"):
        script = script.replace(folder, f"{root}{folder}")
    environment = os.environ | {"PATH": f"{root}/bin:{os.environ['PATH']}"}
    argv = script_argv(script, *arguments)
    return subprocess.run(argv, input=given, capture_output=True, env=environment, check=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with stand-ins that tell what they were told, for a machine without systemd."""
    for name in ("service", "systemctl", "update-rc.d"):
        stand_in(tmp_path / "bin", name, f'echo "{name} $*" >>"{tmp_path}/log"')
    (tmp_path / "etc/init.d").mkdir(parents=True)
    (tmp_path / "log").touch()
    return tmp_path


def log(root: Path) -> list[str]:
    """Return what the stand-ins were told since the last time."""
    lines = (root / "log").read_text().splitlines()
    (root / "log").write_text("")
    return lines


def with_systemd(root: Path) -> None:
    (root / "run/systemd/system").mkdir(parents=True)
    (root / "etc/systemd/system").mkdir(parents=True)


def init_script(root: Path, name: str) -> None:
    stand_in(root / "etc/init.d", name, f'echo "{name} $*" >>"{root}/log"')


def test_a_file_is_received_with_its_checksum(root: Path) -> None:
    data = b"\0package\n" * 1000
    done = run(root, "vector-receive.sh", str(root / "it's.deb"), given=data)
    assert (done.returncode, done.stdout.decode()) == (0, hashlib.sha256(data).hexdigest() + "\n")
    assert (root / "it's.deb").read_bytes() == data
    assert not (root / "it's.deb.new").exists()


@pytest.mark.parametrize("works", [True, False])
def test_a_key_is_downloaded_and_its_file_goes(root: Path, works: bool) -> None:
    (root / "usr/lib/apt").mkdir(parents=True)
    download = 'shift 6; [ "$1 $2" = "download-file https://a/key" ] && printf "\\001key" >"$3"; echo "got it"'
    stand_in(root / "usr/lib/apt", "apt-helper", download if works else "exit 100")
    done = run(root, "vector-key.sh", "https://a/key", str(root / "key"))
    assert (done.returncode, done.stdout) == ((0, b"AWtleQ==\n") if works else (1, b""))
    assert not (root / "key").exists()


@pytest.mark.parametrize(("listed", "code"), [("0.57.0-1", 0), ("0.56.0-1", 1), ("0.57.0-10", 1)])
def test_a_repository_has_the_version_or_has_not(root: Path, listed: str, code: int) -> None:
    stand_in(root / "bin", "apt-get", f'echo "$*" >>"{root}/log"')
    stand_in(root / "bin", "apt-cache", f'echo "$2 | {listed} | https://a stable/main amd64 Packages"')
    done = run(root, "vector-update.sh", "/sources.list", "vector=0.57.0-1")
    assert (done.returncode, done.stderr) == (code, b"it does not have vector 0.57.0-1\n" if code else b"")
    assert "-o Dir::Etc::sourcelist=/sources.list -o Dir::Etc::sourceparts=- " in log(root)[0]


def test_the_packages_own_service_is_masked_once(root: Path) -> None:
    unit = root / "etc/systemd/system/vector.service"
    for _ in range(2):
        assert run(root, "vector-mask.sh", str(root / "added")).returncode == 0
    assert unit.readlink() == Path("/dev/null")
    assert (root / "added").read_text() == f"file {unit}\n"
    assert log(root) == []


def test_a_masked_service_is_made_known_to_systemd(root: Path) -> None:
    with_systemd(root)
    assert run(root, "vector-mask.sh", str(root / "added")).returncode == 0
    assert log(root) == ["systemctl daemon-reload"]


def test_services_end_whatever_started_them(root: Path) -> None:
    with_systemd(root)
    (root / "etc/systemd/system/one.service").touch()
    init_script(root, "two")
    stand_in(root / "bin", "service", '[ "$1 $2" = "one status" ]')
    done = run(root, "service-end.sh", "one", "two", "three")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one\n", b"")
    assert log(root) == ["systemctl disable --quiet --now one", "two stop", "update-rc.d two remove"]


def test_a_service_is_started_anew_only_if_its_files_are_newer(root: Path) -> None:
    init_script(root, "fanrun-vector")
    config = root / "etc/fanrun/vector/fanrun-vector.toml"
    config.parent.mkdir(parents=True)
    config.touch()
    done = run(root, "service-start.sh", "fanrun-vector")
    assert (done.returncode, b"started anew\n" in done.stdout) == (0, True)
    assert log(root) == ["update-rc.d fanrun-vector defaults", "fanrun-vector restart"]
    (root / "etc/rc2.d").mkdir()
    (root / "etc/rc2.d/S01fanrun-vector").symlink_to("../init.d/fanrun-vector")
    done = run(root, "service-start.sh", "fanrun-vector")
    assert (done.returncode, done.stdout, log(root)) == (0, b"", [])
    os.utime(config, (2**32, 2**32))
    assert run(root, "service-start.sh", "fanrun-vector").stdout == b"started anew\n"
    assert log(root) == ["fanrun-vector restart"]


def test_systemd_starts_a_service_with_the_machine(root: Path) -> None:
    with_systemd(root)
    (root / "etc/fanrun/vector").mkdir(parents=True)
    assert run(root, "service-start.sh", "fanrun-vector", "anew").returncode == 0
    begun = ["systemctl daemon-reload", "systemctl is-enabled --quiet fanrun-vector", "systemctl restart fanrun-vector"]
    assert log(root) == begun


@pytest.mark.parametrize("systemd", [True, False])
def test_the_registry_starts_with_the_machine(root: Path, systemd: bool) -> None:
    if systemd:
        with_systemd(root)
        stand_in(root / "bin", "systemctl", f'[ "$1" != is-enabled ] || exit 1; echo "systemctl $*" >>"{root}/log"')
    assert run(root, "registry-service.sh").returncode == 0
    new = ["systemctl daemon-reload", "systemctl enable --quiet fanrun-registry"]
    assert log(root) == (new if systemd else ["update-rc.d fanrun-registry defaults"])
