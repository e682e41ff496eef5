"""Folders on file systems of their own: a small one, and an exFAT, where no two names differ by case alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = {"mkfs.exfat": "exfatprogs", "mount.exfat-fuse": "exfat-fuse", "losetup": "mount", "fusermount": "fuse"}
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # others than root may not have these
SIZE = 64 * 1024 * 1024


@contextlib.contextmanager
def exfat(top: Path) -> Iterator[Path]:
    """Mount a new exFAT of 64 MiB on a folder below `top`; the test fails where the programs for it are missing."""
    missing = sorted({package for name, package in PROGRAMS.items() if shutil.which(name, path=PATH) is None})
    if missing:
        pytest.fail(f"exFAT can't be tested without {', '.join(missing)}: `script/setup --dev` installs it on Debian")
    image, folder = top / "exfat.img", top / "exfat"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    root("mkfs.exfat", str(image))
    device = root("losetup", "--find", "--show", str(image)).strip()
    try:
        owner = f"uid={os.getuid()},gid={os.getgid()}"
        root("mount.exfat-fuse", "-o", owner, device, str(folder))
        try:
            yield folder
        finally:
            root("umount", str(folder))
    finally:
        root("losetup", "--detach", device)


@contextlib.contextmanager
def small_disk(folder: Path, inodes: int = 10_000, *, mib: int = 2) -> Iterator[Path]:
    """Mount an empty disk of so many MiB, for so many files, on a new folder."""
    folder.mkdir()
    options = f"size={mib}m,nr_inodes={inodes},uid={os.getuid()},gid={os.getgid()}"
    root("mount", "-t", "tmpfs", "-o", options, "none", str(folder))
    try:
        yield folder
    finally:
        root("umount", "--lazy", str(folder))


def fill(disk: Path, left: int = 0) -> None:
    """Leave so many KiB of a disk, all that is there staying as it is."""
    with (disk / "fill").open("ab", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, file.tell() // 4096 * 4096 - left * 1024))


def root(*argv: str) -> str:
    """Run a command as root; returns what it prints."""
    sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "PATH": PATH}
    done = subprocess.run([*sudo, *argv], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout
