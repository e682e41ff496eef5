"""What an instance is told before its first boot: cloud-init's user data.

https://cloudinit.readthedocs.io/en/latest/reference/modules.html
"""

from __future__ import annotations

import json
from typing import Any

from provision.probe import LEASE

# At every boot: a watch that ends the machine when its lease runs out.  A lease that is gone or can't be read has run
# out too.  Shutting down is all the instance may do, and as it was launched that terminates it.
WATCH = r"""
echo "$2" >"$1"
setsid sh -c 'while :; do
  sleep 15
  sh -c "$1" "$0" || shutdown -P now
done' "$1" '[ $(($(stat -c %Y "$0") + $(cat "$0") - $(date +%s))) -gt 0 ]' </dev/null >/dev/null 2>&1 &
"""


def user_data(user: str, public_key: str, host_key: tuple[str, str], ttl: int) -> str:
    """The cloud-config of a host: its login, its SSH host key (private, public), and its time to live in seconds.

    The host key is for the first login alone, which replaces it: user data can be read back.
    """
    private, public = host_key
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
            # An image of Fanrun's own knows the login of the fleet that it was made from.
            ["cloud-init-per", "instance", "fanrun", "rm", "-f", f"/home/{user}/.ssh/authorized_keys"],
            ["sh", "-c", WATCH, "sh", LEASE, str(ttl)],
        ],
    }
    # JSON is YAML.
    return "#cloud-config\n" + json.dumps(document, indent=1) + "\n"
