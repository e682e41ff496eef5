"""provision.registry.build without a docker: the hash of the sources, the command, and the archive."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest

from fanrun.fleet.errors import UsageError
from provision.registry import build
from provision.registry.context import pack_context
from tests.unit.fake_build import write_sources

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with SOURCES of its own."""
    return write_sources(tmp_path)


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


def test_the_command_to_the_letter() -> None:
    assert build.build_argv("fanrun/process:x") == [
        "docker",
        "build",
        "--force-rm",
        "--tag",
        "fanrun/process:x",
        "-",
    ]


def test_the_command_with_everything() -> None:
    argv = build.build_argv("t", platform="linux/arm64", proxies=("http_proxy", "NO_PROXY"), loopback=True)
    assert argv == [
        "docker",
        "build",
        "--force-rm",
        "--tag",
        "t",
        "--build-arg",
        "http_proxy",
        "--build-arg",
        "NO_PROXY",
        "--platform",
        "linux/arm64",
        "--network",
        "host",
        "-",
    ]


def test_the_command_for_the_services_names_what_they_stand_on() -> None:
    assert build.build_argv("fanrun/service:x", process="fanrun/process:x") == [
        "docker",
        "build",
        "--force-rm",
        "--tag",
        "fanrun/service:x",
        "--file",
        "service/Dockerfile",
        "--build-arg",
        "PROCESS=fanrun/process:x",
        "-",
    ]


def test_the_archive_is_the_same_whatever_the_order_and_holds_no_owner_or_time() -> None:
    files = {"b/c": b"1", "a": b"22", "b/d/e": b""}
    packed = pack_context(files)
    assert packed == pack_context(dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
    assert [(one.name, oct(one.mode), one.size) for one in members] == [
        ("a", "0o644", 2),
        ("b", "0o755", 0),
        ("b/c", "0o644", 1),
        ("b/d", "0o755", 0),
        ("b/d/e", "0o644", 0),
    ]
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members} == {(0, 0, "", "", 0)}
