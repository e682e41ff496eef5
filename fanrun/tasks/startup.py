"""What has to be done before the libraries are imported, under `fab` and `fanrun` alike."""

from __future__ import annotations

import importlib
import os
import sys

from fanrun.fleet import environment, places


def prepare() -> None:
    """Order where modules are looked for, clean the environment, and let errors of imports be told in one line."""
    _order_path()
    environment.clean(os.environ)  # before the libraries that read it
    from fanrun.tasks import boundary  # only now: it imports libraries

    boundary.install()  # before the packages that may be missing


def _order_path() -> None:
    """Put libraries before the folders of our own packages, so that no file there takes the place of a library.

    Our packages are imported before that, so that no library takes the place of one of them.
    """
    own = {str(places.PACKAGES), str(places.SOURCES)}
    before = sys.path[:]
    sys.path[:0] = sorted(own)
    for package in ("provision", "service"):
        importlib.import_module(package)
    libraries = [folder for folder in before if folder not in own]
    sys.path[:] = [*libraries, *sorted(own)] if places.IS_CHECKOUT else [*before, str(places.SOURCES)]
