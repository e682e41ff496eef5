"""What an instance is told before its first boot: cloud-init's user data.

https://cloudinit.readthedocs.io/en/latest/reference/modules.html
"""

from __future__ import annotations

import json
from typing import Any

from fanrun.fleet.probe import LEASE, MARK, SPOT
from provision.hosts.lease import AT_BOOT, watch_argv


def user_data(user: str, public_key: str, host_key: tuple[str, str], ttl: int, *, spot: bool) -> str:
    """Return the cloud-config of a host: its user, its SSH host key (private, public), its time to live in seconds.

    The host key is for the first login alone, which replaces it: user data can be read back.
    `spot` is whether Amazon may end the host at any time.
    """
    private, public = host_key
    of_another = [f"/home/{user}/.ssh/authorized_keys", MARK, LEASE, AT_BOOT]
    document: dict[str, Any] = {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": private, "ed25519_public": public},
        "ssh_pwauth": False,
        "disable_root": True,
        "users": [
            {
                "name": user,
                "shell": "/bin/bash",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "lock_passwd": True,
                "ssh_authorized_keys": [public_key],
            }
        ],
        "bootcmd": [
            # An image of Fanrun's own knows the login, the mark and the lease of the host that it was made from.
            ["cloud-init-per", "instance", "fanrun", "rm", "-f", *of_another],
            watch_argv(ttl),  # at every boot
            *([["touch", SPOT]] if spot else []),
        ],
    }
    return "#cloud-config\n" + json.dumps(document, indent=1) + "\n"  # JSON is YAML
