"""Ask a fleet's hosts from a network namespace of a container beside them, as a stranger or as a member."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from provision.providers.local.host_image import IMAGE as DEBIAN
from tests.fleet.harness import Fab, docker
from tests.fleet.mounts import root

SCRIPT = Path(__file__).with_name("stranger.py")
# What Go's TLS says to whoever speaks HTTP to it, before anything of the registry's hears of it.
GO = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
ALERT = re.compile(r"\x15\x03[\x00-\x04]\x00\x02[\x01\x02].", re.DOTALL)
Answers = dict[str, dict[str, str]]


def network_of(fab: Fab) -> str:
    """Return the name of the fleet's network."""
    inspected = json.loads(docker("inspect", fab.containers()["hub"]))[0]
    (name,) = inspected["NetworkSettings"]["Networks"]
    return str(name)


def ask(fab: Fab, targets: list[tuple[str, int]], member: tuple[str, str] = ("", ""), gateway: str = "") -> Answers:
    """Try these from beside the fleet: {"address:port": {way: what came back}}.

    `member` is the key and the certificate of one, `gateway` its way to Docker's own network on a host.
    """
    key, certificate = member
    asked = {"ca": (fab.home / fab.fleet / "ca.crt").read_text(), "cert": certificate, "key": key, "targets": targets}
    argv = ["run", "--detach", f"--network={network_of(fab)}", "--cap-add=NET_ADMIN", DEBIAN, "sleep", "600"]
    holder = docker(*argv).strip()
    try:
        if gateway:
            docker("exec", holder, "ip", "route", "add", "172.17.0.0/16", "via", gateway)
        process = docker("inspect", "--format={{.State.Pid}}", holder).strip()
        found = root("nsenter", f"--net=/proc/{process}/ns/net", sys.executable, str(SCRIPT), json.dumps(asked))
    finally:
        docker("rm", "--force", holder)
    return dict(json.loads(found))


def refused(answer: str) -> bool:
    """Return whether this is nothing, or TLS saying that it is TLS."""
    return answer in ("", GO) or bool(ALERT.fullmatch(answer))


def answered(found: Answers) -> Answers:
    """Return what came back that is not refused."""
    told = {place: {way: each for way, each in ways.items() if not refused(each)} for place, ways in found.items()}
    return {place: ways for place, ways in told.items() if ways}
