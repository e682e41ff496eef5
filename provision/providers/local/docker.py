"""Calls of this machine's docker."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from fanrun.fleet import environment
from fanrun.fleet.errors import ProviderError, ToolMissing


def run(*argv: str, stdin: bytes | None = None) -> str:
    """Run docker; return what it prints, raise ProviderError with the line that says why it failed."""
    return run_bytes(*argv, stdin=stdin).decode()


def run_bytes(*argv: str, stdin: bytes | None = None, environ: Mapping[str, str] | None = None) -> bytes:
    """Run docker as `run` does, and return what it prints as it is."""
    environ = environ or environment.without_trust()
    try:
        done = subprocess.run(["docker", *argv], env=environ, input=stdin, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise ToolMissing(
            "docker is not installed; script/setup installs it on Debian and Ubuntu", tool="docker"
        ) from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        why = next((line for line in lines if line.startswith("Error response")), lines[-1] if lines else "")
        raise ProviderError(f"docker {argv[0]} failed: {why or done.returncode}", provider="local")
    return done.stdout
