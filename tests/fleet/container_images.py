"""Container images, looked at and run by docker."""

from __future__ import annotations

import json
import subprocess
from typing import Any

CONTRACT = (
    "--rm",
    "--network=none",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=12345",
    "--tmpfs=/tmp",
)


def docker(*arguments: str, code: int = 0) -> str:
    """Run docker; fails unless it ends with `code`."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def inspect(image: str) -> dict[str, Any]:
    """All that docker knows of an image."""
    return dict(json.loads(docker("image", "inspect", image))[0])


def python(image: str, *arguments: str) -> str:
    """Run the image's Python under the contract."""
    return docker("run", *CONTRACT, "--entrypoint=/usr/bin/python3", image, *arguments)
