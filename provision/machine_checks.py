"""Checks of what providers need on this machine: Docker, and AWS."""

from __future__ import annotations

import shutil
from pathlib import Path

from fanrun.fleet.check import Check, State
from fanrun.fleet.errors import ProviderError, ToolMissing
from provision.registry import build, daemon
from provision.registry.daemon import Daemon

SECONDS = 5
"""How long Docker may take to answer."""
MIN_FREE = 5 * 10**9
"""Bytes that images and a fleet of the provider local need."""
INFO = "{{.ServerVersion}}\t{{.DockerRootDir}}\t{{.Name}}\t{{.OperatingSystem}}\t{{.SecurityOptions}}"


def check_docker(provider: str) -> Check:
    """Check that Docker answers, and that there is room; `provider` is the one that is used."""
    name = "Docker"
    if shutil.which("docker") is None:
        return Check(name, "error", f"docker is not in PATH: {build.INSTALL_DOCKER}")
    try:
        answer = build.docker_run("info", "--format", INFO, timeout=SECONDS)
    except ToolMissing as error:
        return Check(name, "error", str(error))
    told = answer.stdout.strip().split("\t")
    if answer.returncode or len(told) != 5 or not told[0]:
        return Check(name, "error", str(daemon.no_answer(build.meaning(answer.stderr.splitlines()))))
    version, root, host, system, security = told
    found = Daemon(daemon.endpoint(), host, system, "name=rootless" in security)
    text = f"version {version}, {found.endpoint}"
    if provider == "local" and found.is_remote:
        return Check(
            name, "warning", f"{text}: on another machine, where provider local can't be used; {found.endpoint.advice}"
        )
    free = _free(root) if found.shares_network else None
    if free is None:
        return Check(name, "ok", text)
    text += f", {free / 10**9:.1f} GB free in {root}"
    if free < MIN_FREE:
        return Check(name, "warning", f"{text}; `docker system prune` removes what is not used")
    return Check(name, "ok", text)


def _free(folder: str) -> int | None:
    """Return the bytes that are free where a folder is, which need not be readable; None if that is not known."""
    for path in (Path(folder), *Path(folder).parents):
        try:
            return shutil.disk_usage(path).free
        except OSError:
            continue
    return None


def check_aws(region: str, profile: str, *, needed: bool) -> Check:
    """Check the AWS credentials and the region; `needed` is whether provider ec2 is used."""
    name = "AWS"
    wrong: State = "error" if needed else "warning"
    try:
        from provision.providers.ec2.identity import find_identity

        found = find_identity(region, profile)
    except ImportError as error:
        return Check(name, wrong, f"{error.name} is not installed; script/setup installs it")
    except ProviderError as error:
        return Check(name, wrong, " ".join(str(error).split()))
    if found is None:
        text = "not set up: there are no credentials; "
        text += "`aws configure` or `aws sso login` gives you some" if needed else "only provider ec2 needs them"
        return Check(name, "error" if needed else "ok", text)
    text = f"account {found.account}, {found.arn}"
    if not found.region:
        return Check(name, wrong, f"{text}; no region is named: give --region, or set AWS_REGION")
    return Check(name, "ok", f"{text}, region {found.region}")
