"""What tests of builds need: sources of an image, and a program in place of docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.registry import build


def write_sources(folder: Path) -> Path:
    """Write a file for each of SOURCES into a folder, and return the folder."""
    for name in build.SOURCES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"the content of {name}")
    return folder


def fake_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program `docker` of our own in PATH."""
    program = folder / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
