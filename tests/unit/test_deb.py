"""What a Debian package says of itself, and which one is taken for Vector's."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.config import Logs
from fanrun.fleet.errors import UsageError
from provision.hosts.deb import Deb, read_deb
from provision.hosts.shipping import check
from provision.hosts.vector_install import check_package

CONTROL = "Package: vector\nVersion: 0.57.0-1\nArchitecture: amd64\nDescription: ships\n Package: other\n"


MODES: dict[str, Literal["w", "w:gz", "w:xz"]] = {"": "w", "gz": "w:gz", "xz": "w:xz"}


def deb(path: Path, control: str = CONTROL, compression: str = "xz", name: str = "./control") -> Path:
    """Write a package by hand, of which nothing but its control file is there."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=MODES[compression]) as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(control)
        archive.addfile(entry, io.BytesIO(control.encode()))
    members = {"debian-binary": b"2.0\n", f"control.tar.{compression}".rstrip("."): buffer.getvalue(), "data.tar": b"?"}
    text = b"!<arch>\n"
    for member, data in members.items():
        header = f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        text += header + data + b"\n" * (len(data) % 2)
    path.write_bytes(text)
    return path


@pytest.mark.parametrize("compression", ["xz", "gz", ""])
@pytest.mark.parametrize("name", ["./control", "control"])
def test_a_package_is_read(tmp_path: Path, compression: str, name: str) -> None:
    file = deb(tmp_path / "a.deb", compression=compression, name=name)
    assert read_deb(file) == Deb(file, "vector", "0.57.0-1", "amd64")


def test_a_package_that_dpkg_made(tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb on this machine, which makes packages: install dpkg to run this")
    (tmp_path / "top/DEBIAN").mkdir(parents=True)
    (tmp_path / "top/DEBIAN/control").write_text(CONTROL.replace("\n Package", "\n  Package") + "Maintainer: x <x@y>\n")
    argv = ["dpkg-deb", "-Zxz", "--build", str(tmp_path / "top"), str(tmp_path / "a.deb")]
    subprocess.run(argv, check=True, capture_output=True)
    assert read_deb(tmp_path / "a.deb") == Deb(tmp_path / "a.deb", "vector", "0.57.0-1", "amd64")


@pytest.mark.parametrize("data", [b"", b"PK", b"!<arch>\n", b"!<arch>\n" + b"x" * 60, b"<html>" * 100])
def test_a_file_that_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.deb").write_bytes(data)
    with pytest.raises(UsageError, match=r"a.deb is no Debian package"):
        read_deb(tmp_path / "a.deb")


@given(cut=st.integers(0, 400), byte=st.integers(0, 255), place=st.integers(0, 400))
def test_a_damaged_package_is_a_usage_error_or_read(tmp_path_factory: pytest.TempPathFactory, **how: int) -> None:
    file = deb(tmp_path_factory.mktemp("deb") / "a.deb")
    data = bytearray(file.read_bytes())
    data[min(how["place"], len(data) - 1)] = how["byte"]
    file.write_bytes(bytes(data[: len(data) - how["cut"]]))
    told = ""
    try:
        read_deb(file)
    except UsageError as error:
        told = str(error)
    assert "\n" not in told


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.deb", tmp_path):
        with pytest.raises(UsageError, match=r"can't be read"):
            read_deb(path)


def test_zstd_is_named(tmp_path: Path) -> None:
    file = deb(tmp_path / "a.deb", compression="")
    file.write_bytes(file.read_bytes().replace(b"control.tar    ", b"control.tar.zst"))
    with pytest.raises(UsageError, match="zstd"):
        read_deb(file)


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (CONTROL.replace("0.57.0", "0.56.1"), r"is Vector 0\.56\.1-1; Fanrun ships logs with version 0\.57\.0"),
        (CONTROL.replace("0.57.0", "0.57.01"), r"is Vector 0\.57\.01-1"),
        (CONTROL.replace("Package: vector", "Package: fluent"), r"is package fluent, not vector"),
        ("Maintainer: x\n", r"is package without a name, not vector"),
    ],
)
def test_another_package_is_refused(tmp_path: Path, control: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_package(str(deb(tmp_path / "a.deb", control)))


def test_the_settings_name_a_package_or_none(tmp_path: Path) -> None:
    assert check(Logs()) is None
    found = check(Logs(package=str(deb(tmp_path / "a.deb"))))
    assert found is not None
    assert found.version == "0.57.0-1"
