"""provision.registry.build without a docker: hashes, commands, settings, and how docker's failures are told."""

from __future__ import annotations

import io
import re
import sys
import tarfile
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.errors import ImageError, ToolMissing, UsageError
from provision.registry import background, build, build_settings
from provision.registry.background import BackgroundBuild, Cancellation, Cancelled
from provision.registry.context import open_context, pack_context
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with SOURCES of its own."""
    for name in build.SOURCES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"the content of {name}")
    return tmp_path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings, on a machine without apt and pip settings of its own."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(build_settings, "apt_proxies", lambda: b"")
    monkeypatch.setattr(build_settings, "CA_FILES", ())
    monkeypatch.setattr(build_settings, "PIP_FOLDERS", ())
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: SimpleNamespace(cafile=None))
    return tmp_path


def fake_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program `docker` of our own in PATH."""
    program = folder / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


# ---- source_hash


def test_the_hash_is_of_names_and_contents_only(root: Path) -> None:
    before = build.source_hash(root)
    assert re.fullmatch(r"[0-9a-f]{64}", before)
    (root / "fabfile.py").write_text("not in the image")
    (root / "Dockerfile").chmod(0o600)
    (root / "process.py").touch()
    assert build.source_hash(root) == before


@pytest.mark.parametrize("name", build.SOURCES)
def test_the_hash_changes_with_every_source(root: Path, name: str) -> None:
    before = build.source_hash(root)
    (root / name).write_bytes((root / name).read_bytes() + b"\n")
    assert build.source_hash(root) != before


def test_what_moves_from_one_source_to_the_next_changes_the_hash(root: Path) -> None:
    before = build.source_hash(root)
    first, second = (root / name for name in build.SOURCES[:2])
    text = first.read_bytes()
    first.write_bytes(text[:-1])
    second.write_bytes(text[-1:] + second.read_bytes())
    assert build.source_hash(root) != before


def test_a_missing_source_is_named(root: Path) -> None:
    (root / "process.py").unlink()
    with pytest.raises(UsageError, match=r"process\.py \(No such file or directory\): run this in"):
        build.source_hash(root)


def test_the_sources_are_those_the_dockerfile_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == {*build.SOURCES, "build-setting[s]", "imaging"} - {"Dockerfile", *build.IMAGING}
    assert set(build.IMAGING) == {str(path.relative_to(ROOT)) for path in (ROOT / "imaging").rglob("*.py")}
    assert build.BASE in (ROOT / "Dockerfile").read_text()


def test_the_sources_of_the_services_are_those_their_dockerfile_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "service/Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == {*build.SERVICE_LOCKS, "build-setting[s]", "service"}
    sources = build.service_sources(ROOT)
    assert {"service/api/servicer.py", "service/protos/imagescaler_pb2.py"} <= set(sources)
    assert all(name.startswith("service/") for name in sources if name not in build.SERVICE_LOCKS)
    assert build.BASE in (ROOT / "service/Dockerfile").read_text()


def test_the_services_have_a_hash_of_their_own(root: Path) -> None:
    (root / "service/api").mkdir(parents=True)
    (root / "service/Dockerfile").write_text("FROM process")
    (root / "requirements/service.txt").write_text("grpcio")
    before = build.source_hash(root), build.source_hash(root, build.service_sources(root))
    (root / "service/api/servicer.py").write_text("new")
    (root / "service/notes.txt").write_text("not in the image")
    after = build.source_hash(root), build.source_hash(root, build.service_sources(root))
    assert after[0] == before[0]
    assert after[1] != before[1]
    (root / "service/notes.txt").unlink()
    assert build.source_hash(root, build.service_sources(root)) == after[1]


@pytest.mark.parametrize("name", ["Dockerfile", "service/Dockerfile"])
def test_the_images_are_of_the_same_version_as_the_project(name: str) -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"ARG VERSION={version[1]}\n" in (ROOT / name).read_text()


# ---- build_argv


def test_the_command_to_the_letter() -> None:
    assert build.build_argv("fanrun/process:x") == [
        "docker", "build", "--force-rm", "--tag", "fanrun/process:x", "-",
    ]  # fmt: skip


def test_the_command_with_everything() -> None:
    argv = build.build_argv("t", platform="linux/arm64", proxies=("http_proxy", "NO_PROXY"), loopback=True)
    assert argv == [
        "docker", "build", "--force-rm", "--tag", "t", "--build-arg", "http_proxy", "--build-arg", "NO_PROXY",
        "--platform", "linux/arm64", "--network", "host", "-",
    ]  # fmt: skip


def test_the_command_for_the_services_names_what_they_stand_on() -> None:
    assert build.build_argv("fanrun/service:x", process="fanrun/process:x") == [
        "docker", "build", "--force-rm", "--tag", "fanrun/service:x", "--file", "service/Dockerfile",
        "--build-arg", "PROCESS=fanrun/process:x", "-",
    ]  # fmt: skip


# ---- machine_settings


def test_a_plain_machine_has_no_settings(home: Path) -> None:
    assert build_settings.machine_settings({"HOME": str(home)}) == build_settings.BuildSettings()


def test_the_ca_bundle_is_found_by_the_first_name_that_has_it(home: Path) -> None:
    (home / "ca").write_bytes(b"PEM")
    environ = {
        "PIP_CERT": str(home / "no such file"),
        "SSL_CERT_FILE": str(home / "ca"),
        "PIP_CONFIG_FILE": "/dev/null",
    }
    assert build_settings.machine_settings(environ).files == {"ca.pem": b"PEM"}
    assert build_settings.machine_settings({**environ, "REQUESTS_CA_BUNDLE": "/dev/null"}).files == {}


def test_pips_settings_come_from_its_files_and_the_environment(home: Path) -> None:
    config = home / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    (home / "ca").write_bytes(b"PEM")
    config.write_text(
        f"[global]\nindex-url = https://one/100%\ncert = {home / 'ca'}\n[install]\ntrusted-host = one two\n"
    )
    environ = {"HOME": str(home), "PIP_EXTRA_INDEX_URL": "file:///srv/wheels https://three"}
    assert build_settings.machine_settings(environ).files == {
        "ca.pem": b"PEM",
        "pip.conf": (
            b"[global]\nindex-url = https://one/100%\nextra-index-url = https://three\ntrusted-host = one two\n"
        ),
    }
    found = build_settings.pip_settings({**environ, "PIP_INDEX_URL": "http://four"})
    assert found["index-url"] == "http://four"


def test_pips_settings_lead_out_of_a_container_only(home: Path) -> None:
    environ = {"HOME": str(home), "PIP_INDEX_URL": "file:///srv/simple", "PIP_FIND_LINKS": "/srv/wheels"}
    assert build_settings.machine_settings(environ) == build_settings.BuildSettings()


def test_pip_may_be_told_to_read_no_files(home: Path) -> None:
    (home / "pip.conf").write_text("[global]\nindex-url = https://one\n")
    assert build_settings.pip_settings({"HOME": str(home)}) == {"index-url": "https://one"}
    assert build_settings.pip_settings({"HOME": str(home), "PIP_CONFIG_FILE": "/dev/null"}) == {}


def test_a_broken_pip_conf_is_left_to_pip_to_tell(home: Path) -> None:
    (home / "pip.conf").write_bytes(b"no section = 1\n\xff\xfe")
    assert build_settings.machine_settings({"HOME": str(home)}) == build_settings.BuildSettings()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:3128", "http://user:secret@localhost:1/", "http://[::1]:80"])
def test_a_proxy_on_this_machine_asks_for_its_network(home: Path, proxy: str) -> None:
    found = build_settings.machine_settings({"HOME": str(home), "https_proxy": proxy, "NO_PROXY": "10.0.0.1"})
    assert found == build_settings.BuildSettings(proxies=("https_proxy", "NO_PROXY"), loopback=True)


def test_apts_proxy_counts_as_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = b'Acquire::http::Proxy "http://127.0.0.1:3142";\n'
    monkeypatch.setattr(build_settings, "apt_proxies", lambda: line)
    assert build_settings.machine_settings({"HOME": str(home)}) == build_settings.BuildSettings(
        {"apt.conf": line}, loopback=True
    )


@pytest.mark.skipif(not Path("/usr/bin/apt-config").exists(), reason="a machine without apt")
def test_apts_proxies_are_read_from_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "apt.conf"
    config.write_text('Acquire::http::Proxy "http://p:1"; Acquire::http::Proxy::h "DIRECT"; Acquire::Retries "3";')
    monkeypatch.setenv("APT_CONFIG", str(config))
    assert build_settings.apt_proxies() == b'Acquire::http::Proxy "http://p:1";\nAcquire::http::Proxy::h "DIRECT";\n'
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_settings.apt_proxies() == b""


@given(st.text())
def test_any_text_may_stand_where_a_url_is_expected(text: str) -> None:
    assert isinstance(build_settings.is_loopback(text), bool)


# ---- how failures are told


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
        "Dockerfile", "build-settings/", "build-settings/ca.pem", "imaging/", *sorted(build.IMAGING), "process.py",
        "requirements/", "requirements/image.txt",
    ]  # fmt: skip


def test_a_failed_build_tells_the_line_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    fake_docker(tmp_path, monkeypatch, '[ "$1" != build ] || { echo "E: Unable to locate package"; echo; exit 1; }')
    with pytest.raises(ImageError, match=r"^t could not be built: E: Unable to locate package; mend that") as it:
        build.build(root, "t", log=lambda _: None)
    assert it.value.image == "t"


def test_a_log_that_raises_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    fake_docker(tmp_path, monkeypatch, '[ "$1" != build ] || { echo started; exec sleep 60; }')

    def log(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt, match="started"):
        build.build(root, "t", log=log)


def test_a_build_that_is_cancelled_ends_its_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    fake_docker(
        tmp_path,
        monkeypatch,
        f'[ "$1" != build ] || {{ echo $$ >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 60; }}',
    )

    def work(cancellation: Cancellation) -> str:
        return build.build(root, "t", log=lambda _: None, cancellation=cancellation)

    with BackgroundBuild(work) as built:  # left early, as where a host can't be set up
        built.start()
        wait_until((tmp_path / "pid").exists)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    with pytest.raises(ImageError):
        built.result()


def test_a_build_that_is_cancelled_before_it_begins_starts_no_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    fake_docker(tmp_path, monkeypatch, f'[ "$1" != build ] || touch {tmp_path}/built')
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        build.build(root, "t", log=lambda _: None, cancellation=cancellation)
    assert not (tmp_path / "built").exists()


def test_a_docker_that_does_not_listen_is_ended_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "KILL_AFTER", 0.1)
    cancellation = Cancellation()
    with (tmp_path / "empty").open("w+b") as empty:
        client = cancellation.start(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], empty)
    with client:
        assert client.stdout
        assert client.stdout.readline() == "ready\n"
        cancellation.cancel()
    assert client.returncode == -9


def test_a_background_build_goes_on_meanwhile_and_its_result_is_waited_for() -> None:
    go_on = threading.Event()
    with BackgroundBuild(lambda _: "sha256:1" if go_on.wait(20) else "late") as built:
        built.start()
        go_on.set()
        assert built.result() == "sha256:1"


def test_a_background_build_raises_where_its_result_is_asked_for() -> None:
    with BackgroundBuild(lambda _: str(1 / 0)) as built:
        built.start()
        with pytest.raises(ZeroDivisionError):
            built.result()


def test_the_archive_is_the_same_whatever_the_order_and_holds_no_owner_or_time() -> None:
    files = {"b/c": b"1", "a": b"22", "b/d/e": b""}
    packed = pack_context(files)
    assert packed == pack_context(dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
    assert [(one.name, oct(one.mode), one.size) for one in members] == [
        ("a", "0o644", 2), ("b", "0o755", 0), ("b/c", "0o644", 1), ("b/d", "0o755", 0), ("b/d/e", "0o644", 0),
    ]  # fmt: skip
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members} == {(0, 0, "", "", 0)}


def test_a_full_disk_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "w+b", buffering=0))  # noqa: SIM115
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
        (["#9 1.05 E: Failed to fetch x", "#9 ERROR: process x did not complete successfully: exit code: 1"],
         "E: Failed to fetch x"),
        (["Sending build context", "x.y: not found.", "------"], "x.y: not found"),
        (["SSLError: [SSL: CERTIFICATE_VERIFY_FAILED]", "ERROR: No matching distribution found for pillow"],
         "a package index showed a certificate that is not trusted: name your network's CA file in SSL_CERT_FILE"),
        (["Step 1/2", "done"], "done"),
        (["e" * 999 + " error"], "e" * 300),
        ([], "docker said nothing"),
    ],
)  # fmt: skip
def test_the_line_that_tells(lines: list[str], told: str) -> None:
    assert build.meaning(lines) == told
