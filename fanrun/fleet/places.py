"""Where Fanrun's own files are: in its checkout, or where it is installed as a Python package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[2]
"""The folder with the packages fanrun and provision: the checkout, or a folder of installed packages."""
INSTALLED = PACKAGES / "fanrun" / "sources"
"""Where the installed package has the sources of the container images; see pyproject.toml."""
IS_CHECKOUT = not INSTALLED.is_dir()
SOURCES = PACKAGES if IS_CHECKOUT else INSTALLED
"""The folder with the sources of the container images: Dockerfile, process.py, imaging, service, requirements."""


def settings_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of fabric.yaml: the checkout, or `$XDG_CONFIG_HOME/fanrun` where Fanrun is installed."""
    return PACKAGES if IS_CHECKOUT else _base(environment, "XDG_CONFIG_HOME", ".config")


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder with the fleets' folders where no `home` is set: the checkout's `.fanrun`.

    Where Fanrun is installed it is `$XDG_STATE_HOME/fanrun`.
    """
    return PACKAGES / ".fanrun" if IS_CHECKOUT else _base(environment, "XDG_STATE_HOME", ".local/state")


def _base(environment: Mapping[str, str], name: str, usual: str) -> Path:
    """Return a folder of Fanrun's by the XDG Base Directory Specification, which says to ignore relative paths."""
    given = environment.get(name, "")
    return (Path(given) if given.startswith("/") else Path(os.path.expanduser("~")) / usual) / "fanrun"
