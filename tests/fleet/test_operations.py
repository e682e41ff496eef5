"""The operations of process.py, asked for by arguments of a run."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from imaging.rules import Operations
from imaging.transform import transform
from tests.fleet.harness import Fab, tree


def test_a_run_does_what_its_arguments_ask_for(fab: Fab, src: Path, tmp_path: Path) -> None:
    """To the byte what comes of them here, where the same versions are installed."""
    for kind in ("PNG", "WEBP", "TIFF", "GIF"):
        Image.radial_gradient("L").convert("RGB").save(src / f"image.{kind.lower()}")
    fab("run", "--src", str(src), "--dst", str(tmp_path / "dst"), "--args", "--size 32x24 --how cover --grayscale")
    expected = {}
    for key in tree(src):
        target = io.BytesIO()
        with open(src / os.fsdecode(key), "rb") as source:
            transform(source, target, Operations(32, 24, "cover", grayscale=True))
        expected[key] = target.getvalue()
    assert tree(tmp_path / "dst") == expected
