"""What cloud-init would do with the user data of an instance, as a shell script."""

from __future__ import annotations

import shlex
from typing import Any

SHUTDOWN = "#!/bin/sh\nkill 1\n"


# Once for each instance, which the host's name stands for.
PER = """#!/bin/sh
done=/var/lib/cloud/$(hostname)-$2
[ "$1" = instance ] || exit 1
[ -e "$done" ] || { mkdir -p /var/lib/cloud && touch "$done" && shift 2 && "$@"; }
"""


def write(path: str, text: str, mode: str) -> str:
    """Return the line that writes a file of root's."""
    return f"printf %s {shlex.quote(text)} >{path}; chmod {mode} {path}; chown root: {path}"


def add_user(user: dict[str, Any]) -> list[str]:
    """Return the lines that create a user, let their keys in, and allow them sudo."""
    name, home = user["name"], f"/home/{user['name']}"
    keys = shlex.quote("\n".join(user["ssh_authorized_keys"]) + "\n")
    return [
        f"id {name} || useradd --create-home --shell {user['shell']} {name}; mkdir -m 700 -p {home}/.ssh",
        f"printf %s {keys} >>{home}/.ssh/authorized_keys; chmod 600 {home}/.ssh/authorized_keys",
        f"chown -R {name}: {home}/.ssh",
        write("/etc/sudoers.d/90-cloud-init-users", f"{name} {user['sudo']}\n", "440"),
    ]


def boot(document: dict[str, Any]) -> str:
    """What cloud-init would do for this document, as a shell script that ends as the machine's init.

    It runs at each boot; keys and users are for the first one.
    """
    known = {"ssh_deletekeys", "ssh_keys", "ssh_pwauth", "disable_root", "users", "bootcmd"}
    assert set(document) <= known, f"the reader knows nothing of {set(document) - known}"
    key, keys = "/etc/ssh/ssh_host_ed25519_key", document["ssh_keys"]
    tools = [write("/usr/sbin/shutdown", SHUTDOWN, "755"), write("/usr/bin/cloud-init-per", PER, "755")]
    always = [shlex.join(command) for command in document["bootcmd"]]
    first = [
        'if [ "$(cat /var/lib/cloud/booted)" != "$(hostname)" ]; then',
        "rm -f /etc/ssh/ssh_host_*",
        write(key, keys["ed25519_private"], "600"),
        write(f"{key}.pub", keys["ed25519_public"] + "\n", "644"),
        *(line for user in document["users"] for line in add_user(user)),
        "mkdir -p /var/lib/cloud; hostname >/var/lib/cloud/booted; fi",
    ]
    scripts = 'for each in /var/lib/cloud/scripts/per-boot/*; do [ ! -x "$each" ] || "$each"; done'
    return "\n".join(["set -e", *tools, *always, *first, scripts, "exec /sbin/boot", ""])
