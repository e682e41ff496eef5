"""A container image of 2 MB that has a shell and the usual programs.

Debian's slim image has 75 MB.  For each fleet it is compressed, pushed, unpacked on every worker, and deleted at the
end.  This took more CPU than most tests.
"""

from __future__ import annotations

import hashlib

from provision.providers.local.host_image import build_image
from tests.fleet.harness import docker

DOCKERFILE = """FROM debian:trixie-slim AS debian
RUN apt-get update && apt-get install --yes --no-install-recommends busybox-static \
 && mkdir -p /small/bin /small/etc /small/tmp && cp /bin/busybox /small/bin/ && cp /etc/passwd /etc/group /small/etc/ \
 && for name in $(busybox --list); do [ $name = busybox ] || ln -s busybox /small/bin/$name; done
FROM scratch
COPY --from=debian /small /
"""
SMALL = "fanrun-test-small:" + hashlib.sha256(DOCKERFILE.encode()).hexdigest()[:12]


def small_image() -> str:
    """Return the image's name; build the image if it is not here.  It is not removed."""
    if not docker("image", "ls", "--quiet", SMALL).strip():
        build_image(SMALL, DOCKERFILE)
    return SMALL
