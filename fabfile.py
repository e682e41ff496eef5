"""The tasks that people type, as Fabric finds them."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

# Fabric tells Python not to write compiled modules. Without them each start of fab takes 0.1 s longer.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

# Fabric puts this folder first in sys.path. Libraries come before it, so that no file here takes the place of one. Our
# own packages are imported before that, so that no library takes the place of one of them.
ROOT = Path(__file__).resolve().parent
for package in ("fanrun", "provision", "service"):
    importlib.import_module(package)
sys.path.sort(key=lambda folder: folder == str(ROOT))

from fanrun.fleet import environment

environment.clean(os.environ)  # before the libraries that read it

from fanrun.tasks import boundary

boundary.install()  # before the packages that may be missing

from fanrun.tasks.clean import clean
from fanrun.tasks.fleet import bake, deploy, down, up
from fanrun.tasks.hosts import drain, execute, ssh, status
from fanrun.tasks.logs import logs
from fanrun.tasks.run import retry, run, sample, verify
from fanrun.tasks.serve import serve

__all__ = [
    "bake",
    "clean",
    "deploy",
    "down",
    "drain",
    "execute",
    "logs",
    "retry",
    "run",
    "sample",
    "serve",
    "ssh",
    "status",
    "up",
    "verify",
]
