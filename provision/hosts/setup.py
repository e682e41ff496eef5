"""Steps that turn a plain Debian or Ubuntu host into a worker or a hub.

Each `ensure_*_host` is idempotent and returns what it changed, or None.  All of them go
over SSH and ask for nothing but a login that may use sudo; `bare` has the steps where it may not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fanrun.fleet.errors import CommandFailed, HostError
from fanrun.fleet.model import Fleet, Host
from fanrun.fleet.probe import WORK
from fanrun.fleet.script import script_argv
from fanrun.fleet.ssh import Remote, wait_for_ssh
from fanrun.fleet.store import Folder
from provision.connections import disconnect
from provision.hosts import footprint, lease, mark, registry, startup
from provision.hosts.common import answers, ensure_service
from provision.hosts.scripts import host_argv, host_script
from provision.hosts.spool import ensure_spool_host
from provision.hosts.ssh_key import ssh_key
from provision.hosts.step import Step

INSTALL_TRIES = 2
UPDATE = host_script("apt-get.sh", "apt-update.sh")
INSTALL = host_script("apt-get.sh", "apt-install.sh")

# program -> the packages that may bring it, the first that the host's apt knows; a host that has
# Docker from elsewhere keeps it.  Debian 13 parted docker-cli from docker.io.
PROGRAMS = {"dockerd": ["docker.io"], "docker": ["docker-cli", "docker.io"], "rsync": ["rsync"]}
WORKER_PROGRAMS = {"python3": ["python3-minimal"]}  # what writes down what containers print
HUB_PROGRAMS = {"docker-registry": ["docker-registry"], "ss": ["iproute2"]}
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"


def steps(folder: Folder, fleet: Fleet, host: Host, ttl: int) -> list[tuple[str, Step]]:
    """Return the steps for one host, in their order: (what it does, the step); `ttl` is its lease, 0 if it has none."""
    hub = fleet.hub
    is_hub = (host.address, host.port) == (hub.address, hub.port)  # a worker may be on the same machine
    programs = PROGRAMS | (HUB_PROGRAMS if host == hub else WORKER_PROGRAMS)
    common: list[tuple[str, Step]] = [
        ("looking whose it is", lambda remote: mark.check_mark_host(remote, folder)),
        ("looking what its login prints", startup.ensure_silent_host),
        ("replacing its first host key", lambda remote: ensure_key_host(remote, folder)),
        ("looking at the system", ensure_debian_host),
        ("extending its lease", lambda remote: ensure_lease_host(remote, ttl)),
        ("making the work folder", ensure_work_host),
        ("making the folder for logs", lambda remote: ensure_spool_host(remote, is_hub=is_hub)),
        ("installing packages", lambda remote: ensure_packages_host(remote, programs)),
        ("starting Docker", lambda remote: ensure_docker_host(remote, folder)),
        ("trusting the registry", lambda remote: registry.ensure_trust_host(remote, folder, hub)),
    ]
    # Its version says that a host was set up to the end.
    last: tuple[str, Step] = ("marking it", lambda remote: mark.ensure_mark_host(remote, folder))
    if host != hub:
        return [*common, ("closing a registry of before", registry.ensure_closed_host), last]
    return [
        *common[:7],
        ("looking for another registry", registry.ensure_no_registry_host),
        ("writing the registry's settings", registry.ensure_push_config_host),
        *common[7:],
        ("starting the registry", lambda remote: registry.ensure_registry_host(remote, folder)),
        last,
    ]


def ensure_key_host(remote: Remote, folder: Folder) -> str | None:
    """Give a host a key that nobody else can have read, in place of the one for its first login.

    Either is accepted while it is being replaced, so that it can be done again after any interruption.
    """
    host = remote.host
    if not folder.host_keys.is_first(host.address, host.port):
        return None
    private, public = ssh_key()
    folder.host_keys.pin(host.address, host.port, public, keep=True)
    remote.put(private, HOST_KEY, mode="600")
    remote.put(f"{public}\n", f"{HOST_KEY}.pub")
    remote.run(["service", "ssh", "reload"], sudo=True)
    folder.host_keys.pin(host.address, host.port, public)
    wait_for_ssh(folder, host)
    return "has a host key of its own"


def ensure_lease_host(remote: Remote, ttl: int) -> str | None:
    """Let a host that shall end itself live on for `ttl` seconds from now; nothing where that is 0.

    What ends it is begun here if its boot commands did not.
    """
    if not ttl:
        return None
    watched = remote.run(lease.watched_argv(), sudo=True, check=False).exit_code == 0
    if not watched:
        remote.put(lease.script(ttl), lease.AT_BOOT, mode="755")
        remote.run([lease.AT_BOOT], sudo=True)
    done = remote.run(lease.extend_argv(ttl), sudo=True)
    if done.stdout.strip() or not watched:
        return f"ends itself {ttl // 60} min after the last command"
    return None


def ensure_debian_host(remote: Remote) -> str | None:
    """Refuse anything that is not Debian or Ubuntu, by its name; changes nothing."""
    release = remote.run(host_argv("os-release.sh")).stdout.strip()
    if release.split(" ")[0] not in ("debian", "ubuntu"):
        raise HostError(
            f"runs {release or 'an unknown system'}; Fanrun works on Debian and Ubuntu", host=remote.host.name
        )
    if remote.run(["true"], sudo=True, check=False).exit_code != 0:
        raise HostError(
            f"user {remote.host.user} may not use sudo without a password; allow it in /etc/sudoers.d",
            host=remote.host.name,
        )
    return None


def ensure_work_host(remote: Remote) -> str | None:
    """Make the work folder, private to the login user."""
    if remote.run(host_argv("own-folder.sh", WORK), check=False).exit_code == 0:
        return None
    remote.run(["install", "-d", "-m", "700", "-o", remote.host.user, WORK], sudo=True)
    return "work folder made"


def ensure_packages_host(remote: Remote, programs: dict[str, list[str]]) -> str | None:
    """Install the packages whose programs are not there.

    apt succeeds though it could not download a list, or a package that is to be installed again.  So the programs are
    looked for afterwards, and what is still missing is tried once more.
    """
    installed = set[str]()
    for _ in range(INSTALL_TRIES):
        missing = _missing(remote, programs)
        if not missing:
            break
        try:
            installed.update(_install(remote, [programs[program] for program in missing]))
        except CommandFailed as error:
            raise _not_installed(remote, missing, str(error)) from error
    if missing := _missing(remote, programs):
        raise _not_installed(remote, missing, "apt did not bring them")
    return f"installed {' '.join(sorted(installed))}" if installed else None


def _missing(remote: Remote, programs: Collection[str]) -> list[str]:
    return remote.run(host_argv("missing-programs.sh", *programs)).stdout.split()


def _install(remote: Remote, choices: list[list[str]]) -> list[str]:
    """Install a package of each list; return them."""
    remote.run(script_argv(UPDATE), sudo=True, timeout=300)
    packages = _packages(remote, choices)
    remote.run(footprint.note_packages_argv(packages), sudo=True)
    remote.run(script_argv(INSTALL, *packages), sudo=True, timeout=900)
    return packages


def _not_installed(remote: Remote, missing: Sequence[str], why: str) -> HostError:
    return HostError(
        f"could not install what brings {' '.join(missing)} ({why}); check the host's apt and its network, "
        "then `fab up` goes on",
        host=remote.host.name,
    )


def _packages(remote: Remote, choices: list[list[str]]) -> list[str]:
    """Return of each list the first package that the host's apt knows, the last one if it knows none."""
    names = sorted({name for choice in choices for name in choice})
    known = remote.run(["apt-cache", "policy", *names]).stdout.splitlines()
    return sorted({next((n for n in choice if f"{n}:" in known), choice[-1]) for choice in choices})


def ensure_docker_host(remote: Remote, folder: Folder) -> str | None:
    """Start Docker where it doesn't answer, and let the login use it where sudo asks for a password."""
    started = ensure_service(remote, "docker", lambda: answers(remote, ["docker", "version"]))
    changes = [started, _ensure_member_host(remote, folder)]
    return ", ".join(filter(None, changes)) or None


def _ensure_member_host(remote: Remote, folder: Folder) -> str | None:
    """Make the login a member of the group docker where sudo asks for a password, which a run could not answer.

    It counts for new sessions, so those that there are end.
    """
    if remote.host.sudo != "password":
        return None
    argv = host_argv("docker-member.sh", footprint.ADDED, remote.host.user)
    if not remote.run(argv, sudo=True).stdout.strip():
        return None
    remote.close()
    disconnect(folder)
    return "the login may use Docker, as a member of the group docker"
