"""The image of process.py, built for real, by each builder that this machine's docker has."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import PIL
import pytest
from PIL import Image

from provision.registry import build, build_settings
from tests.fleet.container_images import CONTRACT, docker, inspect, python

ROOT = Path(__file__).resolve().parents[2]
TAG = f"fanrun-test-build-{os.getpid()}"


def copy_sources(source: Path, folder: Path) -> Path:
    """Copy SOURCES to a folder of their own, to be changed there."""
    for name in build.SOURCES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as they are when the tests begin."""
    return copy_sources(ROOT, tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def image(sources: Path) -> Iterator[str]:
    """The image, built as `fab` builds it."""
    build.build(sources, TAG, log=print)
    yield TAG
    docker("rmi", "--force", TAG)


def export(image: str) -> tarfile.TarFile:
    """Everything in an image."""
    container = docker("create", image).strip()
    content = subprocess.run(["docker", "export", container], capture_output=True, check=True).stdout
    docker("rm", container)
    return tarfile.open(fileobj=io.BytesIO(content))


@pytest.fixture(scope="module")
def files(image: str) -> dict[str, tarfile.TarInfo]:
    """Everything in the image, by path."""
    with export(image) as tar:
        return {member.name: member for member in tar.getmembers()}


def fingerprints(image: str) -> dict[str, tuple[object, ...]]:
    """All that a builder has a say in, by path; but for what docker itself lays into each container."""
    dockers = re.compile(r"(dev|proc|sys)(/.*)?|\.dockerenv|etc(/hosts|/hostname|/resolv\.conf|/mtab)?/?")
    with export(image) as tar:
        members = [one for one in tar.getmembers() if not dockers.fullmatch(one.name)]
        contents = {one.name: tar.extractfile(one) for one in members if one.isfile()}
        hashes = {name: hashlib.sha256(file.read()).hexdigest() for name, file in contents.items() if file}
    return {
        one.name: (one.type, one.mode, one.uid, one.gid, one.mtime, one.linkname, hashes.get(one.name))
        for one in members
    }


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Some images under in/, and out/ that anybody may write to."""
    source, output = tmp_path / "in", tmp_path / "out"
    for name, kind in {"a/it's [1].jpg": "JPEG", "b.png": "PNG", "c d.webp": "WEBP", "é.tiff": "TIFF"}.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 48), 60).convert("RGB").save(source / name, format=kind)
    output.mkdir()
    output.chmod(0o777)
    tmp_path.chmod(0o755)
    return source, output


def run(image: str, source: Path, output: Path, *arguments: str, code: int = 0) -> None:
    """Run the image as a worker does."""
    docker(
        "run",
        *CONTRACT,
        f"--volume={source}:/in:ro",
        f"--volume={output}:/out",
        image,
        *arguments,
        "/in",
        "/out",
        code=code,
    )


def test_it_works_under_the_contract_and_writes_what_pillow_writes_here(image: str, folders: tuple[Path, Path]) -> None:
    source, output = folders
    run(image, source, output)
    written = {path.relative_to(output) for path in output.rglob("*") if path.is_file()}
    assert written == {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    if python(image, "-c", "import PIL; print(PIL.__version__)").strip() != PIL.__version__:
        # The locks name one Pillow for both, but on Python 3.10, for which Pillow 13 is not made.
        assert sys.version_info < (3, 11)
        pytest.skip("Python 3.10 has another Pillow than the image")
    for key in written:
        with Image.open(source / key) as before:
            expected = io.BytesIO()
            before.rotate(90, expand=True).save(expected, format=before.format)
        assert (output / key).read_bytes() == expected.getvalue(), key


def test_a_bad_input_fails_alone(image: str, folders: tuple[Path, Path]) -> None:
    source, output = folders
    (source / "bad.jpg").write_bytes(b"no image")
    run(image, source, output, code=1)
    assert not (output / "bad.jpg").exists()
    assert len([path for path in output.rglob("*") if path.is_file()]) == 4


def test_it_holds_what_the_lock_says(image: str) -> None:
    script = "from importlib.metadata import distributions as d; print(*sorted(f'{x.name}=={x.version}' for x in d()))"
    lock = (ROOT / "requirements/image.txt").read_text()
    pins = {line.split()[0]: ";" in line for line in lock.splitlines() if "==" in line}
    held = set(python(image, "-c", script).split())
    assert {pin for pin, elsewhere in pins.items() if not elsewhere} <= held <= set(pins)  # some are for other systems
    assert f"tqdm=={version('tqdm')}" in pins


def test_everything_in_it_can_be_imported(image: str) -> None:
    """No part of Python or Pillow was left without a library that it needs."""
    script = (
        "import importlib, pathlib, sysconfig, PIL\n"
        "from PIL import features\n"
        "folder = pathlib.Path(sysconfig.get_path('stdlib'), 'lib-dynload')\n"
        "for path in folder.glob('*.so'): importlib.import_module(path.name.split('.')[0])\n"
        "for path in pathlib.Path(PIL.__file__).parent.glob('_*.so'):\n"
        "    if 'tk' not in path.name: importlib.import_module('PIL.' + path.name.split('.')[0])\n"
        "for name in features.get_supported(): print(name)\n"
    )
    assert set(python(image, "-c", script).split()) >= {
        "jpg",
        "jpg_2000",
        "zlib",
        "libtiff",
        "webp",
        "freetype2",
        "avif",
    }


def test_it_is_small_and_holds_no_tools(image: str, files: dict[str, tarfile.TarInfo]) -> None:
    assert inspect(image)["Size"] < 70_000_000
    programs = {name for name, member in files.items() if member.mode & 0o111 and "bin/" in name and member.isfile()}
    assert programs == {"usr/bin/python3.13"}
    words = (
        "/pip/",
        "/pip-",
        "ensurepip",
        "setuptools",
        "apt/",
        "settings",
        ".pem",
        ".crt",
        "ca-certificates",
        "cacert",
    )
    assert [name for name in files if any(word in name for word in words)] == []


def test_it_runs_as_nobody_special(image: str, files: dict[str, tarfile.TarInfo]) -> None:
    assert inspect(image)["Config"]["User"] == "65532:65532"
    ours = [member for member in files.values() if member.mode & 0o6000 or (member.mode & 0o002 and not member.issym())]
    assert {member.name.rstrip("/") for member in ours} <= {"tmp"}
    assert (
        docker("run", "--rm", "--entrypoint=/usr/bin/python3", image, "-c", "import os; print(os.getuid())")
        == "65532\n"
    )


def test_everything_is_compiled_ahead(files: dict[str, tarfile.TarInfo]) -> None:
    sources = {name for name in files if name.endswith(".py")}
    compiled = {name.replace("__pycache__/", "").replace(".cpython-313.pyc", ".py") for name in files if ".pyc" in name}
    assert "app/process.py" in sources
    assert sources == compiled


def test_a_second_build_changes_nothing(image: str, sources: Path) -> None:
    lines: list[str] = []
    before = inspect(image)["Id"]
    assert build.build(sources, TAG, log=lines.append) == before
    assert not [line for line in lines if "Running in" in line]


def test_an_edit_of_the_program_is_one_small_layer(image: str, sources: Path, tmp_path: Path) -> None:
    root = copy_sources(sources, tmp_path)
    with (root / "process.py").open("a") as file:
        file.write("\n# edited\n")
    tag = f"{TAG}-edited"
    try:
        assert build.build(root, tag, log=print) != inspect(image)["Id"]
        before, after = (inspect(name)["RootFS"]["Layers"] for name in (image, tag))
        sizes = docker("history", "--format={{.Size}}", "--human=false", tag).split()
    finally:
        docker("rmi", "--force", tag)
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
    assert int(sizes[0]) < 100_000


CLIENTS = sorted({shutil.which("docker") or "docker", shutil.which("docker", path="/usr/bin") or "docker"})


@pytest.mark.parametrize("buildkit", ["0", "1"])
@pytest.mark.parametrize("client", CLIENTS)
def test_every_builder_makes_the_same_files(
    image: str, sources: Path, tmp_path: Path, client: str, buildkit: str
) -> None:
    """As a person builds it who has only docker: no build.py, and settings only if the network asks for them.

    Builders may put the files of a layer in another order (`a.b` and `a/b`), so it is not layers that are compared.
    """
    root = copy_sources(sources, tmp_path)
    shutil.copy(ROOT / ".dockerignore", root)
    for name, content in build_settings.machine_settings(os.environ).files.items():
        (root / "build-settings").mkdir(exist_ok=True)
        (root / "build-settings" / name).write_bytes(content)
    tag = f"{TAG}-{buildkit}"
    environment = {**os.environ, "DOCKER_BUILDKIT": buildkit}
    argv = [client, "build", "--tag", tag, str(root)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if "buildx component is missing" in done.stderr:
        pytest.skip("this docker has no BuildKit")
    assert done.returncode == 0, done.stderr
    try:
        assert fingerprints(tag) == fingerprints(image)
    finally:
        docker("rmi", "--force", tag)
