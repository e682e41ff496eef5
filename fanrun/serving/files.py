"""The files that the service's containers read on their hosts: certificates, keys, the options of the API."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from fanrun.fleet.model import Fleet
from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from fanrun.serving.containers import FOLDER, OWNER, PROCESSORS, ApiOptions, HostSetup
from provision.hosts import ca
from provision.hosts.common import bind_address

OPTIONS_FILE = f"{FOLDER}/wish.json"


@dataclass(frozen=True)
class ApiChanges:
    """The options of the API that somebody gives with a command; None leaves one as it is."""

    args: Sequence[str] | None = None
    tokens: str | None = None


def ensure_options_host(remote: Remote, changes: ApiChanges) -> ApiOptions:
    """Return the options of the API: those that are given now, else those of the last time; the hub keeps them."""
    saved = remote.run(["cat", OPTIONS_FILE], sudo=True, check=False)
    old = ApiOptions(**json.loads(saved.stdout)) if saved.exit_code == 0 else ApiOptions()
    options = ApiOptions(
        old.args if changes.args is None else list(changes.args),
        old.tokens if changes.tokens is None else changes.tokens,
    )
    if options != old or saved.exit_code != 0:
        remote.put(json.dumps(dataclasses.asdict(options)), OPTIONS_FILE, mode="400")
    return options


def ensure_files_host(remote: Remote, folder: Folder, fleet: Fleet, options: ApiOptions) -> HostSetup:
    """Bring a host the files that its servers read, as far as it lacks them."""
    roles = (["api"] if remote.host == fleet.hub else []) + (["processor"] if remote.host in fleet.workers else [])
    authority, files = folder.ca_cert.read_text(), dict[str, str]()
    for role in roles:
        path, names = f"{FOLDER}/{role}", [PROCESSORS, remote.host.inner]
        names += ["localhost", "127.0.0.1"] if role == "api" else []  # where a tunnel to it begins
        certificate = remote.run(["cat", f"{path}/cert.pem"], sudo=True, check=False).stdout
        if not ca.serves(certificate, names, authority):
            key, certificate = ca.server(folder.ca_key.read_text(), authority, names, client=role == "api")
            for file, text in (("ca.pem", authority), ("key.pem", key), ("cert.pem", certificate)):
                remote.put(text, f"{path}/{file}", mode="400", owner=OWNER)
        files[role] = hashlib.sha256(certificate.encode()).hexdigest()
    if "api" in roles:
        if options.tokens:
            remote.put(options.tokens, f"{FOLDER}/api/tokens", mode="400", owner=OWNER)
        else:
            remote.run(["rm", "-f", f"{FOLDER}/api/tokens"], sudo=True)
        files["api"] += hashlib.sha256(options.tokens.encode()).hexdigest()
    return HostSetup(bind_address(remote), files)
