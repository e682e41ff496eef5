"""How a build of a container image succeeds and fails, with a program in place of docker."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from fanrun.fleet.errors import ImageError, ToolMissing, UsageError
from provision.registry import build, build_settings
from provision.registry.context import open_context
from tests.unit.fake_build import fake_docker, write_sources


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with SOURCES of its own."""
    return write_sources(tmp_path)


def test_without_docker_the_next_step_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ToolMissing, match=r"^docker is not in PATH: install it \(script/setup .* Docker Desktop\)$"
    ) as it:
        build.build(root, "t", log=print)
    assert it.value.tool == "docker"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Cannot connect to the Docker daemon. Is it running?",
            r"\(Cannot connect to .*\): start Docker \(script/setup",
        ),
        ("Got permission denied while trying to connect", r"not for this user: .* usermod -aG docker"),
    ],
)
def test_a_daemon_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, told: str) -> None:
    fake_docker(tmp_path, monkeypatch, f"echo '{said}' >&2; exit 1")
    with pytest.raises(ToolMissing, match=told):
        build.ensure_client_docker()


def test_a_docker_that_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_docker(tmp_path, monkeypatch, "")
    (tmp_path / "bin" / "docker").write_bytes(b"\x7fELF")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ToolMissing, match=r"docker can't be run \(Exec format error\): start Docker"):
        build.ensure_client_docker()


def test_a_docker_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_docker(tmp_path, monkeypatch, "exec sleep 60")
    assert build.docker_run("version", timeout=0.1).returncode == 124


def test_a_base_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_docker(tmp_path, monkeypatch, "echo 'dial tcp: no such host' >&2; exit 1")
    with pytest.raises(ImageError, match=r"can't be pulled \(dial tcp: no such host\): run script/setup, which") as it:
        build.ensure_base()
    assert it.value.image == "debian:trixie-slim"


def test_a_base_that_can_be_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_docker(tmp_path, monkeypatch, f'echo "$@" >>{tmp_path}/log; [ "$1" = pull ]')
    build.ensure_base()
    assert (tmp_path / "log").read_text() == "image inspect debian:trixie-slim\npull --quiet debian:trixie-slim\n"


def test_a_build_is_logged_and_its_id_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    script = 'case "$1" in build) tar -t;; image) echo sha256:1;; esac'
    fake_docker(tmp_path, monkeypatch, script)
    monkeypatch.setattr(build, "machine_settings", lambda _: build_settings.BuildSettings({"ca.pem": b"PEM"}))
    lines: list[str] = []
    assert build.build(root, "t", log=lines.append) == "sha256:1"
    assert lines == [
        "Dockerfile",
        "build-settings/",
        "build-settings/ca.pem",
        "imaging/",
        *sorted(build.IMAGING),
        "process.py",
        "requirements/",
        "requirements/image.txt",
    ]


def test_a_failed_build_tells_the_line_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    fake_docker(tmp_path, monkeypatch, '[ "$1" != build ] || { echo "E: Unable to locate package"; echo; exit 1; }')
    with pytest.raises(ImageError, match=r"^t could not be built: E: Unable to locate package; mend that") as it:
        build.build(root, "t", log=lambda _: None)
    assert it.value.image == "t"


def test_a_full_disk_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "w+b", buffering=0))  # noqa: SIM115 - the code under test closes it
    with (
        pytest.raises(UsageError, match=r"can't be kept in .* \(No space left on device\): make room"),
        open_context({"a": b"1"}),
    ):
        pass


def test_an_image_that_a_builder_keeps_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_docker(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(ImageError, match="run `docker buildx use default`"):
        build.image_id("t")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["\x1b[91mERROR: no hash\x1b[0m", "The command 'x' returned a non-zero code: 1", ""], "ERROR: no hash"),
        (
            ["#9 1.05 E: Failed to fetch x", "#9 ERROR: process x did not complete successfully: exit code: 1"],
            "E: Failed to fetch x",
        ),
        (["Sending build context", "x.y: not found.", "------"], "x.y: not found"),
        (
            ["SSLError: [SSL: CERTIFICATE_VERIFY_FAILED]", "ERROR: No matching distribution found for pillow"],
            "a package index showed a certificate that is not trusted: name your network's CA file in SSL_CERT_FILE",
        ),
        (["Step 1/2", "done"], "done"),
        (["e" * 999 + " error"], "e" * 300),
        ([], "docker said nothing"),
    ],
)
def test_the_line_that_tells(lines: list[str], told: str) -> None:
    assert build.meaning(lines) == told
