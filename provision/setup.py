"""Steps that turn a plain Debian or Ubuntu host into a worker or a hub.

Each `ensure_*_host` is idempotent and returns what it changed, or None.  All of them go
over SSH and ask for nothing but a login that may use sudo.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from provision import belongings, ca, lease
from provision.errors import CommandFailed, HostError
from provision.fleet import Fleet, Folder, Host
from provision.hosts import mark
from provision.probe import LEASE, WORK
from provision.remote import Remote, wait_for_ssh

REGISTRY_PORT = 5000
REGISTRY_FOLDER = "/etc/docker/registry"
REGISTRY_CONFIG = f"""# Written by Fanrun.
version: 0.1
log:
  level: warn
storage:
  filesystem:
    rootdirectory: /var/lib/docker-registry
  delete:
    enabled: true
http:
  addr: :{REGISTRY_PORT}
  tls:
    certificate: {REGISTRY_FOLDER}/fanrun.crt
    key: {REGISTRY_FOLDER}/fanrun.key
"""
PORT_OPEN = f"(: </dev/tcp/127.0.0.1/{REGISTRY_PORT}) 2>/dev/null"
# A VM's first minutes belong to unattended-upgrades, so locks are waited for; an install that an
# earlier `up` left halfway is ended first; a package whose program has gone is installed again;
# and a file of /etc that was there before its package is kept, not asked about.  A download that stalls is begun anew
# sooner than by apt's own patience, which is two minutes for each file.
PATIENCE = "-o Acquire::Retries=2 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15"
UPDATE = f"""
export DEBIAN_FRONTEND=noninteractive
tries=1
until apt-get -q {PATIENCE} update; do
  [ $tries -lt 5 ] || exit 100
  tries=$((tries + 1)); sleep 3
done
"""
INSTALL = f"""
export DEBIAN_FRONTEND=noninteractive
install() {{
  apt-get -q {PATIENCE} -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \\
    install -y --no-remove --reinstall --no-install-recommends "$@"
}}
install "$@" || {{ dpkg --configure -a && install "$@"; }}
"""

# program -> the packages that may bring it, the first that the host's apt knows; a host that has
# Docker from elsewhere keeps it.  Debian 13 parted docker-cli from docker.io.
PROGRAMS = {"dockerd": ["docker.io"], "docker": ["docker-cli", "docker.io"], "rsync": ["rsync"]}
HUB_PROGRAMS = {"docker-registry": ["docker-registry"]}
MISSING = 'PATH=$PATH:/usr/sbin:/sbin; for program; do command -v "$program" >/dev/null || echo "$program"; done'

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"

FOREIGN = f"""
grep -qs '^# Written by Fanrun' {REGISTRY_FOLDER}/config.yml && exit 0
[ ! -e {REGISTRY_FOLDER}/config.yml ] || grep -qs '^package docker-registry$' {belongings.ADDED} ||
  echo "a docker-registry"
! bash -c '{PORT_OPEN}' || grep -qs '^package docker-registry$' {belongings.ADDED} ||
  echo "something on port {REGISTRY_PORT}"
"""

Step = Callable[[Remote], str | None]


def steps(folder: Folder, fleet: Fleet, host: Host, ttl: int) -> list[tuple[str, Step]]:
    """The steps for one host, in their order: (what it does, the step); `ttl` is its lease, 0 if it has none."""
    hub = fleet.hub
    programs = PROGRAMS | (HUB_PROGRAMS if host == hub else {})
    common: list[tuple[str, Step]] = [
        ("looking whose it is", lambda remote: mark.check_mark_host(remote, folder)),
        ("replacing its first host key", lambda remote: ensure_key_host(remote, folder)),
        ("looking at the system", ensure_debian_host),
        ("extending its lease", lambda remote: ensure_lease_host(remote, ttl)),
        ("making the work folder", ensure_work_host),
        ("installing packages", lambda remote: ensure_packages_host(remote, programs)),
        ("starting Docker", ensure_docker_host),
        ("trusting the registry", lambda remote: ensure_trust_host(remote, hub, folder.ca_cert.read_text())),
    ]
    # Its version says that a host was set up to the end.
    last: tuple[str, Step] = ("marking it", lambda remote: mark.ensure_mark_host(remote, folder))
    if host != hub:
        return [*common, last]
    free = ("looking for another registry", ensure_no_registry_host)
    return [
        *common[:5],
        free,
        *common[5:],
        ("starting the registry", lambda remote: ensure_registry_host(remote, folder)),
        last,
    ]


def ensure_key_host(remote: Remote, folder: Folder) -> str | None:
    """Give a host a key that nobody else can have read, in place of the one for its first login.

    Either is accepted while it is being replaced, so that it can be done again after any interruption.
    """
    host = remote.host
    if not folder.pinned_first(host.address, host.port):
        return None
    private, public = ca.ssh_key()
    folder.pin(host.address, host.port, public, keep=True)
    remote.put(private, HOST_KEY, mode="600")
    remote.put(f"{public}\n", f"{HOST_KEY}.pub")
    remote.run(["service", "ssh", "reload"], sudo=True)
    folder.pin(host.address, host.port, public)
    wait_for_ssh(folder, host)
    return "has a host key of its own"


def ensure_lease_host(remote: Remote, ttl: int) -> str | None:
    """Let a host that shall end itself live on for `ttl` seconds from now; nothing where that is 0.

    What ends it is begun here if its boot commands did not.
    """
    if not ttl:
        return None
    watched = remote.run(["sh", "-c", lease.WATCHED, "sh", lease.WATCHING], sudo=True, check=False).exit_code == 0
    if not watched:
        remote.put(lease.script(ttl), lease.AT_BOOT, mode="755")
        remote.run([lease.AT_BOOT], sudo=True)
    done = remote.run(["sh", "-c", lease.EXTEND, "sh", LEASE, str(ttl)], sudo=True)
    if done.stdout.strip() or not watched:
        return f"ends itself {ttl // 60} min after the last command"
    return None


def extend_host(remote: Remote) -> None:
    """Let a host that ends itself live on for as long again as it was told."""
    remote.run(["sh", "-c", lease.EXTEND, "sh", LEASE], sudo=True)


def ensure_debian_host(remote: Remote) -> str | None:
    """Refuse anything that is not Debian or Ubuntu, by its name; changes nothing."""
    release = remote.run(["sh", "-c", ". /etc/os-release && echo $ID $VERSION_ID"]).stdout.strip()
    if release.split(" ")[0] not in ("debian", "ubuntu"):
        raise HostError(
            f"runs {release or 'an unknown system'}; Fanrun sets up Debian and Ubuntu", host=remote.host.name
        )
    if remote.run(["sudo", "-n", "true"], check=False).exit_code != 0:
        raise HostError(
            f"user {remote.host.user} may not use sudo without a password; allow it in /etc/sudoers.d",
            host=remote.host.name,
        )
    return None


def ensure_work_host(remote: Remote) -> str | None:
    """Make the work folder, private to the login user."""
    wanted = f"{remote.host.user} 700"
    if remote.run(["stat", "-c", "%U %a", WORK], check=False).stdout.strip() == wanted:
        return None
    remote.run(["install", "-d", "-m", "700", "-o", remote.host.user, WORK], sudo=True)
    return "work folder made"


def ensure_no_registry_host(remote: Remote) -> str | None:
    """Refuse a host whose registry, or whatever has its port, is somebody else's; changes nothing."""
    foreign = remote.run(["sh", "-c", FOREIGN], sudo=True).stdout.strip()
    if foreign:
        raise HostError(f"has {foreign}, which is not Fanrun's; make another host the hub", host=remote.host.name)
    return None


def ensure_packages_host(remote: Remote, programs: dict[str, list[str]]) -> str | None:
    """Install the packages whose programs are not there."""
    missing = remote.run(["sh", "-c", MISSING, "sh", *programs]).stdout.split()
    if not missing:
        return None
    try:
        remote.run(["sh", "-c", UPDATE], sudo=True, timeout=300)
        packages = _packages(remote, [programs[program] for program in missing])
        remote.run(["sh", "-c", belongings.NOTE_PACKAGES, "sh", *packages], sudo=True)
        remote.run(["sh", "-c", INSTALL, "sh", *packages], sudo=True, timeout=900)
    except CommandFailed as error:
        raise HostError(
            f"could not install what brings {' '.join(missing)} ({error}); check the host's apt and its "
            "network, then `fab up` goes on",
            host=remote.host.name,
        ) from error
    return f"installed {' '.join(packages)}"


def _packages(remote: Remote, choices: list[list[str]]) -> list[str]:
    """Of each list the first package that the host's apt knows, the last one if it knows none."""
    names = sorted({name for choice in choices for name in choice})
    known = remote.run(["apt-cache", "policy", *names]).stdout.splitlines()
    return sorted({next((n for n in choice if f"{n}:" in known), choice[-1]) for choice in choices})


def ensure_docker_host(remote: Remote) -> str | None:
    """Start Docker where it doesn't answer."""
    return ensure_service(remote, "docker", lambda: answers(remote, ["docker", "version"]))


def ensure_trust_host(remote: Remote, hub: Host, ca_cert: str) -> str | None:
    """Make the host's Docker trust the fleet's CA for the hub's registry, and for it alone."""
    place = f"/etc/docker/certs.d/{hub.inner}:{REGISTRY_PORT}/ca.crt"
    return "trusts the hub's registry" if ensure_file(remote, place, ca_cert) else None


def ensure_registry_host(remote: Remote, folder: Folder) -> str | None:
    """Run the registry on the hub, over TLS with a certificate of the fleet's CA."""
    addresses = [remote.host.inner, "127.0.0.1"]
    certificate = f"{REGISTRY_FOLDER}/fanrun.crt"
    found = remote.run(["cat", certificate], sudo=True, check=False)
    changed = ensure_file(remote, f"{REGISTRY_FOLDER}/config.yml", REGISTRY_CONFIG)
    if found.exit_code != 0 or not ca.serves(found.stdout, addresses, folder.ca_cert.read_text()):
        key, cert = ca.server(folder.ca_key.read_text(), folder.ca_cert.read_text(), addresses)
        _write(remote, f"{REGISTRY_FOLDER}/fanrun.key", key, mode="600", owner="docker-registry:docker-registry")
        _write(remote, certificate, cert)
        changed = True
    if changed:
        # One command, as the init script's own "restart" doesn't wait for the port to be free.
        wait = f"service docker-registry stop; while {PORT_OPEN}; do sleep 0.1; done"
        remote.run(["bash", "-c", wait], sudo=True, check=False, timeout=20)
    started = ensure_service(remote, "docker-registry", lambda: answers(remote, ["bash", "-c", PORT_OPEN]))
    return "registry set up" if changed else started


def answers(remote: Remote, argv: list[str]) -> bool:
    return remote.run(argv, sudo=True, check=False, timeout=10).exit_code == 0


def ensure_service(remote: Remote, service: str, is_up: Callable[[], bool]) -> str | None:
    """Start a service that doesn't answer; `service` knows systemd and init scripts alike."""
    if is_up():
        return None
    started = remote.run(["service", service, "start"], sudo=True, check=False)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if is_up():
            return f"{service} started"
        time.sleep(0.3)
    last = (started.stderr or started.stdout).strip().splitlines()
    raise HostError(
        f"{service} does not start ({last[-1] if last else 'it said nothing'}); "
        f"look at its log with `fab ssh --host {remote.host.name}`",
        host=remote.host.name,
    )


def ensure_file(remote: Remote, path: str, text: str) -> bool:
    """Make a root-owned file hold this text; True if it had to be written."""
    found = remote.run(["sha256sum", path], sudo=True, check=False).stdout.split(" ")[0]
    if found == hashlib.sha256(text.encode()).hexdigest():
        return False
    _write(remote, path, text)
    return True


def _write(remote: Remote, path: str, text: str, *, mode: str = "644", owner: str = "root:root") -> None:
    """Write a file, which is noted first as one that Fanrun brought, if it wasn't there."""
    remote.run(["sh", "-c", belongings.NOTE_FILE, "sh", path], sudo=True)
    remote.put(text, path, mode=mode, owner=owner)
