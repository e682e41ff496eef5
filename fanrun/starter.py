"""A program to begin with: a folder with a container image of the user's own, written by `fab init`."""

from __future__ import annotations

import contextlib
import os
import re
from importlib import resources
from pathlib import Path

from fanrun.fleet.errors import UsageError

NAMES = ("program.py", "Dockerfile", "README.md")
NO_NAME = "my-program"
"""The name of the container image in the files, and where that of the folder has no letter and no digit."""
FILES = "fanrun.starter_files"


def make(folder: Path) -> str:
    """Write the files into a folder, which is made if it isn't there; return the container image's name.

    Raises UsageError, and leaves the folder as it was, if one of the files exists or the folder can't be written.
    """
    name = image_name(folder.name)
    files = {folder / each: (resources.files(FILES) / f"{each}.template").read_text("utf-8") for each in NAMES}
    if taken := next((path for path in files if os.path.lexists(path)), None):
        raise UsageError(f"{str(taken)!r} exists already, and nothing was written; name another folder")
    made: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(text.replace(NO_NAME, name))
    except OSError as error:
        for path in made:
            with contextlib.suppress(OSError):
                path.unlink()
        raise UsageError(f"{str(folder)!r} can't be written ({error.strerror}); name another folder") from error
    return name


def image_name(folder: str) -> str:
    """Return the name that Docker takes for an image of the folder's name: small letters, digits, single dashes."""
    return "-".join(re.findall("[a-z0-9]+", folder.lower())) or NO_NAME
