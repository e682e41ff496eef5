"""What a fleet is like right now."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fanrun.fleet.errors import FanrunError
from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.parallel import on_hosts
from fanrun.fleet.probe import KeptData, Probe, parse, probe_argv
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from provision.providers.base import Bill
from provision.providers.ec2 import prices


@dataclass(frozen=True)
class HostStatus:
    """One host: `error` says why it can't be reached; sizes in bytes; `images` names the deployed ones it has.

    `services` are the servers on it, as "name state"; `lease` are the seconds until it ends itself, None for a host
    that doesn't.  `reference` is the reference data that it keeps, `cached` the bytes of inputs of earlier
    runs, `runs` those that are at work on it.
    """

    name: str
    role: str
    address: str
    reachable: bool
    error: str = ""
    docker: str = ""
    images: tuple[str, ...] = ()
    load: float = 0.0
    cpus: int = 0
    disk_free: int = 0
    disk_total: int = 0
    services: tuple[str, ...] = ()
    lease: int | None = None
    reference: tuple[KeptData, ...] = ()
    cached: int = 0
    runs: tuple[str, ...] = ()


def status(folder: Folder, fleet: Fleet) -> list[HostStatus]:
    """Ask every host at the same time; one that doesn't answer is a row like the others."""
    answers, errors = on_hosts(folder, fleet.hosts, lambda remote: _probe(remote))
    return [_row(fleet, host, answers.get(host.name), errors.get(host.name)) for host in fleet.hosts]


def _probe(remote: Remote) -> Probe:
    layout = remote.host.layout
    return parse(remote.run(probe_argv(layout.work, layout.prefix), timeout=40).stdout)


def _row(fleet: Fleet, host: Host, probe: Probe | None, error: FanrunError | None) -> HostStatus:
    address = host.address if host.port == 22 else f"{host.address}:{host.port}"
    if probe is None:
        return HostStatus(host.name, host.role, address, False, str(error))
    had = tuple(f"{image.name} {image.digest}" for image in fleet.images.values() if image.ref in probe.images)
    return HostStatus(
        host.name,
        host.role,
        address,
        True,
        "",
        probe.docker,
        had,
        probe.load,
        probe.cpus,
        probe.disk_free,
        probe.disk_total,
        probe.services,
        probe.lease,
        probe.kept,
        probe.cached or 0,
        probe.runs,
    )


def explained(rows: Sequence[HostStatus], termination_reasons: Mapping[str, str]) -> list[HostStatus]:
    """Return the rows; those of unreachable hosts say why the provider ended them."""
    return [
        row if row.reachable else dataclasses.replace(row, error=termination_reasons.get(row.name, row.error))
        for row in rows
    ]


def problems(rows: Sequence[HostStatus]) -> list[str]:
    """Return the problems of the fleet, one line for each host."""
    if not rows:
        return ["the fleet has no hosts"]
    dead = [f"{row.name} can't be reached" for row in rows if not row.reachable]
    return dead + [f"{row.name}: its Docker does not answer" for row in rows if row.reachable and not row.docker]


def to_json(fleet: Fleet, rows: Sequence[HostStatus], bill: Bill | None) -> str:
    """Return the fleet, its hosts and what it costs as JSON; `cost` in US dollars, null where it is unknown."""
    data = {
        "fleet": fleet.name,
        "provider": fleet.provider,
        "hosts": [dataclasses.asdict(row) for row in rows],
        "cost": dataclasses.asdict(bill) if bill else None,
    }
    return json.dumps(data, indent=2)


def costs(rows: Sequence[HostStatus], bill: Bill | None) -> list[str]:
    """Return lines on what the fleet costs and when it ends itself, where it does."""
    lines = []
    if bill:
        hour, so_far = prices.dollars(bill.hour), prices.dollars(bill.so_far)
        lines.append(f"costs {hour} an hour, {so_far} so far, by prices of {bill.date}")
    if left := [row.lease for row in rows if row.lease is not None]:
        lines.append(f"ends itself in {min(left) // 60} min, unless a fab command works on it")
    return lines


def serving(rows: Sequence[HostStatus]) -> list[str]:
    """Return a line on the servers of each host that has any; a machine with two names has one line."""
    found = {row.address: row for row in reversed(rows) if row.services}
    return [f"serving on {row.name}: {', '.join(row.services)}" for row in reversed(found.values())]


def working(rows: Sequence[HostStatus]) -> list[str]:
    """Return a line on each run that is at work on hosts."""
    runs = sorted({run for row in rows for run in row.runs})
    return [f"at work: run {run} on {', '.join(row.name for row in rows if run in row.runs)}" for run in runs]


def kept(rows: Sequence[HostStatus]) -> list[str]:
    """Return a line for each host that keeps data for later runs; a machine with two names has one line."""
    found = {row.address: row for row in reversed(rows) if row.reference or row.cached}
    return [f"kept on {row.name}: {', '.join(_kept(row))}" for row in reversed(found.values())]


def _kept(row: HostStatus) -> list[str]:
    """Return what a host keeps for later runs, as texts."""
    return [
        *map(_shown, row.reference),
        *([f"inputs of earlier runs ({row.cached / 1e6:.1f} MB)"] if row.cached else []),
    ]


def _shown(data: KeptData) -> str:
    return f"{data.name} {data.digest[:12]} ({data.bytes / 1e6:.1f} MB)"


def table(rows: Sequence[HostStatus]) -> str:
    """Return the rows as a table, one line for each host; why hosts can't be reached follows in lines of its own.

    Of the images on a host the one that was deployed last is named, and the others are counted.
    """
    head = ["HOST", "ADDRESS", "REACHABLE", "DOCKER", "LOAD", "DISK FREE", "IMAGE"]
    lines = [head]
    for row in rows:
        if not row.reachable:
            lines.append([row.name, row.address, "no", "-", "-", "-", "-"])
            continue
        free = f"{row.disk_free / 1e9:.1f} GB"
        load = f"{row.load:.2f} of {row.cpus}"
        lines.append([row.name, row.address, "yes", row.docker.partition("+")[0] or "no", load, free, _image(row)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head) - 1)]
    table = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]) for line in lines
    ]
    return "\n".join([*table, *(f"{row.name}: {row.error}" for row in rows if not row.reachable)])


def _image(row: HostStatus) -> str:
    """Return the image that was deployed last to a host, and how many others it has."""
    if not row.images:
        return "-"
    name, _, digest = row.images[-1].rpartition(" sha256:")
    others = f" + {len(row.images) - 1}" if row.images[1:] else ""
    return f"{name} {digest[:12]}{others}"
