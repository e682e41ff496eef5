"""The hub's Prometheus: it scrapes what the fleet serves, and answers on the hub's loopback alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from provision import belongings
from provision.remote import Remote
from provision.setup import answers, ensure_file, ensure_packages_host, ensure_service

PORT = 9090
CONFIG = "/etc/prometheus/prometheus.yml"
TARGETS = "/etc/prometheus/fanrun.json"
SETTINGS = f"""# Written by Fanrun.
global:
  scrape_interval: 5s
scrape_configs:
  - job_name: fanrun
    file_sd_configs:
      - files: [{TARGETS}]
        refresh_interval: 5s
"""
ARGUMENTS = f'# Written by Fanrun.\nARGS="--web.listen-address=127.0.0.1:{PORT}"\n'
FOREIGN = f"""
[ -e {CONFIG} ] && ! grep -q '^# Written by Fanrun' {CONFIG} &&
  ! grep -qs '^package prometheus$' {belongings.ADDED} && echo foreign
exit 0
"""


def forget_targets_host(remote: Remote) -> None:
    """Have nothing scraped any more, where anything was."""
    remote.run(["sh", "-c", f'[ ! -e {TARGETS} ] || echo "[]" >{TARGETS}'], sudo=True)


def ensure_prometheus_host(remote: Remote, targets: Mapping[str, Sequence[str]]) -> str | None:
    """Have these scraped, {role: ("address:port", …)}; a Prometheus that is somebody else's is left alone."""
    if remote.run(["sh", "-c", FOREIGN], sudo=True).stdout.strip():
        return f"has a Prometheus of its own, which is left alone; {TARGETS} would be what it can scrape"
    installed = ensure_packages_host(remote, {"prometheus": ["prometheus"]})
    groups = [{"targets": list(places), "labels": {"role": role}} for role, places in targets.items()]
    ensure_file(remote, TARGETS, json.dumps(groups) + "\n")  # which Prometheus looks at by itself
    changed = [ensure_file(remote, CONFIG, SETTINGS), ensure_file(remote, "/etc/default/prometheus", ARGUMENTS)]
    if any(changed):
        remote.run(["service", "prometheus", "stop"], sudo=True, check=False)
    probe = f"(: </dev/tcp/127.0.0.1/{PORT}) 2>/dev/null"
    started = ensure_service(remote, "prometheus", lambda: answers(remote, ["bash", "-c", probe]))
    return installed or started
