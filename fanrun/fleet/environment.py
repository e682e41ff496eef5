"""Variables of this machine's environment that are meant for other uses of the programs and libraries used here."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, MutableMapping

PREFIXES = ("LOGURU_", "RSYNC_")
NAMES = ("BUILDX_BUILDER", "DOCKER_API_VERSION", "DOCKER_DEFAULT_PLATFORM")
BUILDKIT, TRUST = "DOCKER_BUILDKIT", "DOCKER_CONTENT_TRUST"


def clean(environ: MutableMapping[str, str]) -> None:
    """Delete the variables that would change what rsync, docker and Python's libraries do for Fanrun.

    RSYNC_ICONV, for one, renames files, and DOCKER_DEFAULT_PLATFORM builds for other machines than the hosts.  What
    says where things are stays: DOCKER_HOST, DOCKER_CONTEXT, DOCKER_CONFIG, proxies, PATH.
    """
    for name in list(environ):
        if name.startswith(PREFIXES) or name in NAMES:
            del environ[name]
    # Either builder will do, and docker knows which one it has; 0 is kept, as its BuildKit may be broken.
    if environ.get(BUILDKIT) != "0":
        environ.pop(BUILDKIT, None)


def without_trust() -> dict[str, str]:
    """Return the environment for docker to work with images that were made here, which nobody signs.

    A person's DOCKER_CONTENT_TRUST holds for what is pulled.
    """
    return {name: value for name, value in os.environ.items() if name != TRUST}


@contextlib.contextmanager
def for_build() -> Iterator[dict[str, str]]:
    """Yield the environment for `docker build`.

    BuildKit's client keeps notes, by default in HOME, which may not be writable, and may name another builder there.
    """
    with tempfile.TemporaryDirectory(prefix="fanrun-build-", ignore_cleanup_errors=True) as notes:
        yield {**without_trust(), "BUILDX_CONFIG": notes}
