"""The container image of a bare machine: a new VM has sshd and sudo, and nothing of Docker."""

from __future__ import annotations

import hashlib

from provision.providers.local.host_image import SYSTEM, build_image, dockerfile
from tests.fleet.harness import docker

DOCKERFILE = dockerfile(*SYSTEM)
BARE = "fanrun-test-machine:" + hashlib.sha256(DOCKERFILE.encode()).hexdigest()[:12]


def ensure_bare_image() -> None:
    """Build the image if it is not here."""
    if not docker("image", "ls", "--quiet", BARE).strip():
        build_image(BARE, DOCKERFILE)
