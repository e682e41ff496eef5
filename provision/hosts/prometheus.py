"""The hub's Prometheus: it scrapes what the fleet serves, and answers on the hub's loopback alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from fanrun.fleet.ssh import Remote
from fanrun.fleet.store import Folder
from provision.hosts import footprint
from provision.hosts.common import answers, ensure_client_pair, ensure_file, ensure_service, outdated, write
from provision.hosts.scripts import host_argv, host_script
from provision.hosts.setup import ensure_packages_host

PORT = 9090
FOLDER = "/etc/prometheus"
CONFIG, TARGETS = f"{FOLDER}/prometheus.yml", f"{FOLDER}/fanrun.json"
CA, CERTIFICATE, KEY = f"{FOLDER}/fanrun-ca.crt", f"{FOLDER}/fanrun.crt", f"{FOLDER}/fanrun.key"
DEFAULTS = "/etc/default/prometheus"
ARGUMENTS = f'# Written by Fanrun.\nARGS="--web.listen-address=127.0.0.1:{PORT}"\n'


def settings(server_name: str) -> str:
    """Return Prometheus' settings: it shows its certificate to servers whose own one is for `server_name`."""
    return f"""# Written by Fanrun.
global:
  scrape_interval: 5s
scrape_configs:
  - job_name: fanrun
    scheme: https
    tls_config:
      ca_file: {CA}
      cert_file: {CERTIFICATE}
      key_file: {KEY}
      server_name: {server_name}
    file_sd_configs:
      - files: [{TARGETS}]
        refresh_interval: 5s
"""


def forget_targets_host(remote: Remote) -> None:
    """Have nothing scraped any more, where anything was."""
    remote.run(host_argv("prometheus-forget.sh", TARGETS), sudo=True)


def ensure_prometheus_host(
    remote: Remote, folder: Folder, targets: Mapping[str, Sequence[str]], server_name: str
) -> str | None:
    """Have these scraped, {role: ("address:port", …)}; a Prometheus that is somebody else's is left alone."""
    if remote.run(host_argv("prometheus-foreign.sh", CONFIG, footprint.ADDED), sudo=True).stdout.strip():
        return f"has a Prometheus of its own, which is left alone; {TARGETS} would be what it can scrape"
    # Before the package, which starts it at once: with its own arguments it would listen at every address.
    if outdated(remote, {DEFAULTS: ARGUMENTS}):
        _stop(remote)
        write(remote, DEFAULTS, ARGUMENTS)
    installed = ensure_packages_host(remote, {"prometheus": ["prometheus"]})
    groups = [{"targets": list(places), "labels": {"role": role}} for role, places in targets.items()]
    ensure_file(remote, TARGETS, json.dumps(groups) + "\n")  # which Prometheus looks at by itself
    ensure_client_pair(remote, folder, KEY, CERTIFICATE, owner="prometheus:prometheus")  # read anew when they change
    texts = {CA: folder.ca_cert.read_text(), CONFIG: settings(server_name)}
    stale = outdated(remote, texts)
    if stale:
        _stop(remote)
        for path in stale:
            write(remote, path, texts[path])
    probe = ["bash", "-c", host_script("port-answers.sh"), "bash", str(PORT)]
    started = ensure_service(remote, "prometheus", lambda: answers(remote, probe))
    return installed or ("Prometheus set up" if stale else started)


def _stop(remote: Remote) -> None:
    remote.run(["service", "prometheus", "stop"], sudo=True, check=False)
