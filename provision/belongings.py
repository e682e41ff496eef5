"""What Fanrun puts on a machine that was there before, and how it goes away again.

`WORK/fleet` says whose the machine is, as lines of "name value"; `WORK/added` what was added to it, as lines of "kind
what", each written before the thing itself: whatever is interrupted, nothing is there that nobody knows of.
"""

from __future__ import annotations

from dataclasses import dataclass

from provision.probe import WORK

ADDED = f"{WORK}/added"
KEPT = f"{WORK}/kept"
"""Copies of settings that were there before the packages that call them theirs."""
MARK = f"{WORK}/fleet"
SAID = "fanrun: "

LOOK = rf"""
. /etc/os-release 2>/dev/null
echo "fanrun: os ${{ID:-$(uname -s)}} ${{VERSION_ID:-}}"
echo "fanrun: machine $(uname -m)"
sudo -n true 2>/dev/null && echo "fanrun: sudo yes"
sudo -n sed 's/^/fanrun: /' {MARK} 2>/dev/null
exit 0
"""

# The mark comes first: what has one is found, and cleaned up.
CLAIM = rf"""
set -eu
sudo -n install -d -m 700 -o "$(id -un)" {WORK}
sudo -n touch {ADDED}
sudo -n chown "$(id -un)" {ADDED}
umask 077
keys=$HOME/.ssh/authorized_keys
old=$(sed -n 's/^key //p' {MARK} 2>/dev/null || :)
printf 'fleet %s\nowner %s\nroles %s\nhome %s\nkey %s\n' "$1" "$2" "$3" "$HOME" "$4" >{MARK}.new
mv {MARK}.new {MARK}
[ -d "$HOME/.ssh" ] || {{ echo "folder $HOME/.ssh" >>{ADDED}; mkdir "$HOME/.ssh"; }}
[ -e "$keys" ] || {{ echo "keys $keys" >>{ADDED}; : >"$keys"; }}
if [ -n "$old" ] && [ "$old" != "$4" ]; then
  grep -vxF "$old" "$keys" >{WORK}/keys || :
  cat {WORK}/keys >"$keys"
fi
grep -qxF "$4" "$keys" || {{
  [ -z "$(tail -c 1 "$keys")" ] || echo >>"$keys"
  printf '%s\n' "$4" >>"$keys"
}}
"""

# Written down before packages come: which are new, and which data, users and groups come with them.
NOTE_PACKAGES = rf"""
apt-get -s install --no-install-recommends "$@" | sed -n 's/^Inst \([^ :]*\) (.*/package \1/p' >>{ADDED}
for pair in docker.io:/var/lib/docker docker.io:/var/log/docker.log containerd:/var/lib/containerd \
  containerd:/opt/containerd docker-registry:/var/lib/docker-registry docker-registry:/var/log/docker-registry.log \
  prometheus:/var/lib/prometheus prometheus:/var/log/prometheus; do
  [ -n "$(ls -A "${{pair#*:}}" 2>/dev/null)" ] || echo "data $pair" >>{ADDED}
done
if mkdir {KEPT} 2>/dev/null; then  # once: later ones are the packages' own
  cd / && for file in etc/default/docker etc/default/rsync etc/containerd/config.toml; do
    [ ! -e "$file" ] || cp -a --parents "$file" {KEPT}
  done
fi
getent group docker >/dev/null || echo "group docker.io:docker" >>{ADDED}
getent passwd docker-registry >/dev/null || echo "user docker-registry:docker-registry" >>{ADDED}
getent passwd prometheus >/dev/null || echo "user prometheus:prometheus" >>{ADDED}
"""

NOTE_FILE = f'[ -e "$1" ] || echo "file $1" >>{ADDED}'

# Run as root.  What belongs to others stays: Docker, where anybody else's images or containers are in it, and packages
# that others have come to need.
REMOVE = rf"""
set -u
export DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin"
mine() {{ sed -n "s/^$1 //p" {MARK} 2>/dev/null; }}
[ "$(mine fleet)" = "$1" ] && [ "$(mine owner)" = "$2" ] || exit 0
added() {{ sed -n "s/^$1 //p" {ADDED} 2>/dev/null | sort -u; }}
there() {{ # whole, in part, or as settings that stayed
  case "$(dpkg-query -W -f '${{db:Status-Status}}' "$1" 2>/dev/null)" in "" | not-installed) return 1 ;; esac
}}

others=
if command -v dockerd >/dev/null; then
  answers() {{ timeout 10 docker version >/dev/null 2>&1; }}
  answers || service docker start >/dev/null 2>&1
  tries=0
  until answers || [ $tries -ge 30 ]; do tries=$((tries + 1)); sleep 0.5; done
fi
if command -v dockerd >/dev/null && ! answers; then
  # One that Fanrun brought may go as it is, if nobody keeps anything in it.
  others=$(find /var/lib/docker/containers /var/lib/docker/volumes -mindepth 1 -maxdepth 1 -type d 2>/dev/null)
  if [ -n "$others" ] || ! added package | grep -qx docker.io; then
    echo "Docker does not start, so what Fanrun has in it can't be removed; start it" >&2
    exit 1
  fi
elif command -v dockerd >/dev/null; then
  containers=$(docker ps -aq --filter label=fanrun.run)
  containers="$containers $(docker ps -aq --filter label=fanrun.service)"
  if [ -n "${{containers# }}" ]; then docker rm -f -v $containers >/dev/null; echo "containers removed"; fi
  images=$(docker image ls --format '{{{{.Repository}}}} {{{{.ID}}}}' | sed -n 's|^[^ ]*/fanrun/image ||p' | sort -u)
  if [ -n "$images" ]; then docker rmi -f $images >/dev/null; echo "images removed"; fi
  others=$(docker ps -aq; docker image ls -aq; docker volume ls -q; docker network ls -q --filter type=custom)
fi

# What a list of packages takes with it that is not in the list.
drags() {{ apt-get -s -o APT::Get::AutomaticRemove=false purge "$@" 2>/dev/null |
  sed -n 's/^\(Remv\|Purg\) \([^ :]*\).*/\2/p' | grep -vxF "$list"; }}
list=
for package in $(added package); do
  case $package in docker.io | docker-cli | containerd | runc) [ -z "$others" ] || continue ;; esac
  if there "$package"; then list="$list$package
"; fi
done
while [ -n "$list" ] && [ -n "$(drags $list)" ]; do
  kept=
  for package in $list; do [ -n "$(drags "$package")" ] || kept="$kept$package
"; done
  [ "$kept" != "$list" ] || break
  list=$kept
done
if [ -n "$list" ]; then
  # Their packages stop them, and fail where no init system is and they don't run.
  for service in docker-registry prometheus; do
    if echo "$list" | grep -qx $service; then service $service start >/dev/null 2>&1; fi
  done
  settings=$(dpkg-query -W -f '${{Conffiles}}\n' $list | sed -n 's|^ /\([^ ]*\) .*|\1|p')
  apt-get -q -y -o DPkg::Lock::Timeout=300 -o APT::Get::AutomaticRemove=false purge $list >/dev/null || exit 1
  echo "removed $(echo $list)"
  for file in $settings; do
    [ ! -e "{KEPT}/$file" ] || [ -e "/$file" ] || (cd {KEPT} && cp -a --parents "$file" /)
  done
fi
[ -z "$others" ] || ! grep -q '^package docker.io$' {ADDED} ||
  echo "Docker stays: others have images or containers in it"

gone() {{ ! there "${{1%%:*}}"; }}
for pair in $(added data); do
  place=${{pair#*:}}
  if gone "$pair" && [ -e "$place" ]; then
    find "$place" -xdev -depth -delete 2>/dev/null || true  # it may be where a disk is mounted
  fi
done
for pair in $(added user); do if gone "$pair"; then userdel "${{pair#*:}}" >/dev/null 2>&1; fi; done
for pair in $(added group); do if gone "$pair"; then groupdel "${{pair#*:}}" >/dev/null 2>&1; fi; done
if grep -q '^package docker.io$' {ADDED} && ! there docker.io; then
  ip link delete docker0 2>/dev/null
  rm -rf /run/docker /run/docker.sock /run/docker.pid /run/containerd
fi
added file | while read -r file; do
  rm -f "$file"
  rmdir -p "$(dirname "$file")" 2>/dev/null
done

keys=$(mine home)/.ssh/authorized_keys
if [ -e "$keys" ]; then
  grep -vxF "$(mine key)" "$keys" >{WORK}/keys
  cat {WORK}/keys >"$keys"  # its owner and mode stay
  [ -s "$keys" ] || [ -z "$(added keys)" ] || rm -f "$keys"
  echo "key removed"
fi
added folder | while read -r folder; do rmdir "$folder" 2>/dev/null; done
rm -rf {WORK}
echo "folders removed"
"""


@dataclass(frozen=True)
class Look:
    """What a machine is and whose: `system` as "debian 13", `machine` as uname names it.

    `sudo` is whether the login may use it without a password; `fleet` and `owner` are "" for one that is nobody's.
    """

    system: str
    machine: str
    sudo: bool
    fleet: str = ""
    owner: str = ""
    roles: tuple[str, ...] = ()


def parse(text: str) -> Look:
    """Read what LOOK printed, between whatever else a login prints."""
    lines = [line.removeprefix(SAID) for line in text.splitlines() if line.startswith(SAID)]
    found = dict(line.partition(" ")[::2] for line in lines)
    return Look(
        found.get("os", "").strip(), found.get("machine", ""), "sudo" in found, found.get("fleet", ""),
        found.get("owner", ""), tuple(found.get("roles", "").split()),
    )  # fmt: skip
