"""Log shipping for a fleet: Vector on every machine, or one line that says why not.

It never fails `fab up`, except where `logs: required` asks for that, and never makes a run wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanrun.fleet.config import Logs
from fanrun.fleet.errors import FanrunError, HostError, HostsFailed, UsageError
from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.parallel import on_hosts
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from provision.hosts import vector, vector_install
from provision.hosts.deb import Deb
from provision.hosts.spool import LOGS, ensure_spool_host
from provision.hosts.vector import VectorHost
from provision.hosts.vector_install import REPOSITORY, Repository, VectorState
from provision.providers.base import Say

STAY = "logs stay on the workers and come home with the batches"
ADVICE = "`fab up --vector FILE.deb` brings it"
CONFIG = "vector.toml"


@dataclass(frozen=True)
class Shipping:
    """Hold what shipping needs: the fleet, the text of vector.toml, the settings, and two ways to report.

    `note` reports a change, `say` a state that has not changed.
    """

    folder: Folder
    fleet: Fleet
    config: str
    logs: Logs
    note: Say
    say: Say
    repository: Repository = REPOSITORY


def check(logs: Logs, *, uses_sudo: bool = True) -> Deb | None:
    """Return the package that the settings name, None where they name none; UsageError for one that can't be used.

    `uses_sudo` is whether anything can be installed on the hosts.
    """
    if logs.required and not uses_sudo:
        raise UsageError("`logs: required` asks for log shipping, which needs sudo; leave it out, or --no-sudo")
    return vector_install.check_package(logs.package) if logs.package else None


def read_config(root: Path) -> str:
    """Return the text of the checkout's vector.toml; UsageError where it can't be read."""
    try:
        return (root / CONFIG).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{root / CONFIG} can't be read ({error}); `git checkout {CONFIG}` restores it") from error


def ensure(shipping: Shipping) -> bool:
    """Make every machine of the fleet ship its logs to the hub; return whether all of them do.

    Machines that can't are named, together for each reason.  Raises HostsFailed where log shipping is required.
    """
    deb = check(shipping.logs)
    if not shipping.fleet.uses_sudo:
        shipping.say("logs", f"log shipping needs sudo; {STAY}")
        return False
    places = vector.places(shipping.fleet)
    found, errors = on_hosts(shipping.folder, [place.host for place in places], vector_install.inspect_host)
    if not shipping.logs.enabled:
        _end(shipping, places)
        shipping.say("logs", f"log shipping is off; {STAY}")
        return False
    errors |= {name: HostError(each.foreign, host=name) for name, each in found.items() if each.foreign}
    missing = [place.host for place in places if place.host.name in found and _lacks(found[place.host.name])]
    errors |= _install_hosts(shipping, missing, found, deb)
    ready = [place for place in places if place.host.name not in errors]
    errors |= _set_up(shipping, ready, {place.host.name for place in places if place.host.name in found})
    if errors:
        _tell(shipping, errors)
        return False
    shipping.say("logs", f"go to {shipping.fleet.hub.name}:{LOGS}")
    return True


def _lacks(found: VectorState) -> bool:
    return not found.is_ready and not found.foreign


def _install_hosts(
    shipping: Shipping, hosts: Sequence[Host], found: Mapping[str, VectorState], deb: Deb | None
) -> dict[str, FanrunError]:
    """Install Vector on these hosts, from the package `deb` or else from the repository; return the errors by host."""
    if not hosts:
        return {}
    if deb is None:
        return _install_from_repository_hosts(shipping, hosts)
    package = deb

    def copy(remote: Remote) -> None:
        architecture = found[remote.host.name].architecture
        done = vector_install.install_from_file_host(remote, shipping.folder, package, architecture)
        shipping.note(remote.host.name, done)

    return on_hosts(shipping.folder, hosts, copy)[1]


def _install_from_repository_hosts(shipping: Shipping, hosts: Sequence[Host]) -> dict[str, FanrunError]:
    """Install Vector on these hosts from its repository; return the errors by host.

    The first host alone asks the repository for its key, and the others only after it has Vector: a repository that is
    out of reach costs one host's time.
    """
    keys: list[bytes] = []

    def fetch(remote: Remote) -> None:
        keys.append(vector_install.fetch_key_host(remote, shipping.repository))
        download(remote)

    def download(remote: Remote) -> None:
        done = vector_install.install_from_repository_host(remote, shipping.repository, keys[0])
        shipping.note(remote.host.name, done)

    _, errors = on_hosts(shipping.folder, hosts[:1], fetch)
    if error := errors.get(hosts[0].name):
        return {host.name: error for host in hosts}
    return on_hosts(shipping.folder, hosts[1:], download)[1]


def _set_up(shipping: Shipping, ready: Sequence[VectorHost], reached: set[str]) -> dict[str, FanrunError]:
    """Start Vector on the machines that are `ready`; make the folder for logs on all that were reached."""
    places = {place.host.name: place for place in vector.places(shipping.fleet) if place.host.name in reached}
    names = {place.host.name for place in ready}

    def set_up(remote: Remote) -> None:
        place = places[remote.host.name]
        changes = [ensure_spool_host(remote, is_hub=place.is_hub)]
        try:
            if remote.host.name in names:
                changes += _run_host(remote, shipping, place)
        finally:
            for change in filter(None, changes):
                shipping.note(remote.host.name, change)

    return on_hosts(shipping.folder, [place.host for place in places.values()], set_up)[1]


def _run_host(remote: Remote, shipping: Shipping, place: VectorHost) -> list[str | None]:
    """Start Vector on a machine that has it."""
    found = vector_install.inspect_host(remote)
    changes: list[str | None] = []
    if place.is_hub:
        changes.append(vector.ensure_receiver_host(remote, shipping.folder, found))
        changes.append(vector.ensure_expiry_host(remote, shipping.logs, found))
    elif found.receiver:
        changes.append(vector.end_host(remote, [vector.RECEIVER]))
    hub = shipping.fleet.hub
    changes.append(vector.ensure_shipper_host(remote, shipping.folder, shipping.config, hub, found))
    return changes


def _end(shipping: Shipping, places: Sequence[VectorHost]) -> None:
    """Stop log shipping on every machine."""
    hubs = {place.host.name for place in places if place.is_hub}

    def end(remote: Remote) -> None:
        changes = [ensure_spool_host(remote, is_hub=remote.host.name in hubs)]
        changes.append(vector.end_host(remote, [vector.SHIPPER, vector.RECEIVER]))
        for change in filter(None, changes):
            shipping.note(remote.host.name, change)

    on_hosts(
        shipping.folder, [place.host for place in places], end
    )  # hosts that can't be reached are reported elsewhere


def _tell(shipping: Shipping, errors: Mapping[str, FanrunError]) -> None:
    """Say why machines ship no logs, once for each reason; HostsFailed where log shipping is required."""
    if shipping.logs.required:
        raise HostsFailed({name: _required(name, error) for name, error in errors.items()})
    reasons: dict[str, list[str]] = {}
    for name, error in errors.items():
        reasons.setdefault(str(error), []).append(name)
    for reason, names in reasons.items():
        all_of_them = len(names) == len(vector.places(shipping.fleet))
        where = "" if all_of_them else f"{', '.join(names)}: "
        shipping.say("logs", f"{where}{reason}; {STAY}; {ADVICE}")


def _required(name: str, error: FanrunError) -> FanrunError:
    return HostError(f"{error}; `logs: required` asks for log shipping, and {ADVICE}", host=name)
