"""Container images of machines: a new VM has sshd and sudo, and nothing of Docker; others have Docker and rsync too."""

from __future__ import annotations

import hashlib

from provision.providers.local.host_image import SYSTEM, build_image, dockerfile
from tests.fleet.harness import docker

TEXTS = {
    f"fanrun-test-machine:{hashlib.sha256(text.encode()).hexdigest()[:12]}": text
    for text in (dockerfile(*SYSTEM), dockerfile(*SYSTEM, "docker-cli", "docker.io", "rsync"))
}
BARE, WITH_DOCKER = TEXTS


def ensure_machine_image(tag: str) -> None:
    """Build BARE or WITH_DOCKER if it is not here."""
    if not docker("image", "ls", "--quiet", tag).strip():
        build_image(tag, TEXTS[tag])
