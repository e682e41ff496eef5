"""process.py as a program for tests: how it is run, and images for it."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from random import Random

from PIL import Image

PROGRAM = Path(__file__).resolve().parents[2] / "process.py"
Finished = subprocess.CompletedProcess[str]

# Root may read and write everywhere; without these capabilities it is held to a file's mode like everybody.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def command(*arguments: str | Path, prefix: list[str] | None = None) -> list[str | Path]:
    """Return the command of process.py, run by another one if `prefix` names it."""
    return [*(prefix or []), sys.executable, PROGRAM, *arguments]


def run(*arguments: str | Path, prefix: list[str] | None = None, **variables: str | Path) -> Finished:
    """Run process.py to its end, with more variables of the environment."""
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    argv = command(*arguments, prefix=prefix)
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


def files(folder: Path) -> set[str]:
    """Return the relative paths of all files under a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def rotated(source: Path, folder: Path) -> bytes:
    """Return what Pillow's own three calls write, for the same file name in another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        image.rotate(90, expand=True).save(folder / source.name, format=image.format)
    return (folder / source.name).read_bytes()


def picture(mode: str = "RGB", width: int = 13, height: int = 7, seed: int = 1) -> Image.Image:
    """Return noise, as an image of that mode."""
    noise = Image.frombytes("RGB", (width, height), Random(seed).randbytes(3 * width * height))
    if mode == "I;16":
        return Image.frombytes(mode, (width, height), Random(seed).randbytes(2 * width * height))
    return noise.convert(mode)


def patch_tag(tiff: Path, tag: int, count: int = 1, value: int = 2) -> None:
    """Give the one short number of a TIFF's tag another count or value."""
    pattern = re.compile(re.escape(struct.pack("<HHI", tag, 3, 1)) + b"....", re.DOTALL)
    content, found = pattern.subn(struct.pack("<HHIHH", tag, 3, count, value, value), tiff.read_bytes())
    assert found == 1
    tiff.write_bytes(content)
