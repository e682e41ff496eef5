"""What a host says of itself, asked in one command."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fanrun.fleet.script import read_script, script_argv

WORK = "/var/lib/fanrun"
LEASE = "/var/lib/fanrun.lease"
"""Where a host has one: the seconds that it lives on after this file was last touched."""
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
PROBE = read_script("fanrun.fleet", "probe.sh")


def probe_argv() -> list[str]:
    """Return the command whose output `parse` reads."""
    return script_argv(PROBE, WORK, LEASE)


@dataclass(frozen=True)
class Probe:
    """A host's answer; sizes in bytes, `docker` its version or "" when it doesn't answer, `python` its python3 or "".

    `services` are the servers on it, as "name state".  `lease` are the seconds until the host ends itself, None for one
    that doesn't.
    """

    uid: int
    gid: int
    load: float
    cpus: int
    memory: int
    disk_total: int
    disk_free: int
    docker: str
    images: tuple[str, ...]
    python: str = ""
    services: tuple[str, ...] = ()
    lease: int | None = None


def parse(text: str) -> Probe:
    """Read what probe_argv's command wrote; a missing line counts as 0 or ""."""
    values: dict[str, list[str]] = {}
    images, services = [], []
    for line in text.splitlines():
        key, *rest = line.split() or [""]
        if key == "image":
            images.extend(rest)
        elif key == "service":
            services.append(" ".join(rest))
        else:
            values[key] = rest

    def whole_number(key: str, place: int = 0) -> int:
        return int(number(key, place))

    def number(key: str, place: int = 0) -> float:
        rest = values.get(key, [])
        return float(rest[place]) if len(rest) > place and NUMBER.fullmatch(rest[place]) else 0.0

    return Probe(
        uid=whole_number("uid"),
        gid=whole_number("gid"),
        load=number("load"),
        cpus=whole_number("cpus") or 1,
        memory=whole_number("memory") * 1024,
        disk_total=whole_number("disk") * whole_number("disk", 2),
        disk_free=whole_number("disk", 1) * whole_number("disk", 2),
        docker=" ".join(values.get("docker", [])),
        images=tuple(images),
        python=" ".join(values.get("python", [])),
        services=tuple(sorted(services)),
        lease=whole_number("lease") if values.get("lease") else None,
    )
