"""What Fanrun puts on a machine that was there before, and how it goes away again.

`WORK/fleet` says whose the machine is, as lines of "name value"; `WORK/added` what was added to it, as lines of "kind
what", each written before the thing itself: whatever is interrupted, nothing is there that nobody knows of.
"""

from __future__ import annotations

from dataclasses import dataclass

from fanrun.fleet.model import old_id
from fanrun.fleet.probe import WORK

ADDED = f"{WORK}/added"
KEPT = f"{WORK}/kept"
"""Copies of settings that were there before the packages that call them theirs."""
MARK = f"{WORK}/fleet"
FORWARD = "/proc/sys/net/ipv4/ip_forward"

LOOK = rf"""
. /etc/os-release 2>/dev/null
echo "os ${{ID:-$(uname -s)}} ${{VERSION_ID:-}}"
echo "machine $(uname -m)"
[ ! -e /snap/bin/docker ] || echo "snap yes"
sudo -n true 2>/dev/null && echo "sudo yes"
sudo -n cat {MARK} 2>/dev/null
exit 0
"""

# Takes a line out of a file of keys, or leaves all as it was: nobody may be locked out because a disk is full.
DROP_KEY = r"""
drop_key() {
  [ -n "$2" ] && grep -qaxF -e "$2" "$1" 2>/dev/null || return 0
  place=$(readlink -f "$1")
  cp -p "$place" "$place.fanrun" || { rm -f "$place.fanrun"; return 1; }
  grep -avxF -e "$2" "$place" >"$place.fanrun" || [ $? -eq 1 ] || { rm -f "$place.fanrun"; return 1; }
  mv "$place.fanrun" "$place"
}
"""

# What the mark says; "$(mine id)" is made from the key where the mark is from before fleets had ids.
MINE = rf"""
mine() {{ sed -n "s/^$1 //p" {MARK} 2>/dev/null; }}
fleet_id() {{
  id=$(mine id)
  [ -n "$id" ] || [ -z "$(mine key)" ] || id=old-$(printf %s "$(mine key)" | sha256sum | cut -c 1-12)
  echo "$id"
}}
"""

# Run as the person who logs in: FLEET OWNER ROLES KEY IDS.  The first of the ids is the fleet's, hosts with the others
# are its as well.  The mark comes first: what has one is found, and cleaned up.
CLAIM = rf"""
main() {{
set -eu
export LC_ALL=C
{DROP_KEY}{MINE}
sudo -n install -d -m 700 -o "$(id -un)" {WORK}
sudo -n touch {WORK}/lock {ADDED} {MARK}
sudo -n chown "$(id -un)" {WORK}/lock {ADDED} {MARK}
exec 9>{WORK}/lock
flock -w 30 9
if [ -s {MARK} ]; then
  case " $5 " in
    *" $(fleet_id) "*) ;;
    *)
      echo "belongs to fleet $(mine fleet) of $(mine owner), id $(fleet_id), since a moment ago" >&2
      exit 1 ;;
  esac
fi
old=$(mine key) home=$(mine home)
version=$(mine version)
printf 'fleet %s\nowner %s\nroles %s\nuser %s\nhome %s\nkey %s\nid %s\n' \
  "$1" "$2" "$3" "$(id -un)" "$HOME" "$4" "${{5%% *}}" >{MARK}.new
[ -z "$version" ] || echo "version $version" >>{MARK}.new
mv {MARK}.new {MARK}
if [ "$old" != "$4" ]; then drop_key "$HOME/.ssh/authorized_keys" "$old"; fi
if [ -n "$home" ] && [ "$home" != "$HOME" ]; then
  sudo -n sh -s -- "$home/.ssh/authorized_keys" "$old" <<'DROP'
{DROP_KEY}
drop_key "$1" "$2"
DROP
fi
umask 077
keys=$HOME/.ssh/authorized_keys
[ -d "$HOME/.ssh" ] || {{ echo "folder $HOME/.ssh" >>{ADDED}; mkdir "$HOME/.ssh"; }}
[ -e "$keys" ] || {{ echo "keys $keys" >>{ADDED}; : >"$keys"; }}
grep -qaxF -e "$4" "$keys" || {{
  [ -z "$(tail -c 1 "$keys")" ] || echo >>"$keys"
  printf '%s\n' "$4" >>"$keys"
}}
}}
main "$@"
"""

# Run as root, with the packages that are to come: written down are those that are new, and the data, users and groups
# that come with them.  Nothing of others' may go for it.
NOTE_PACKAGES = rf"""
set -eu
export LC_ALL=C
plan=$(apt-get -s install --no-install-recommends "$@")
gone=$(printf '%s\n' "$plan" | sed -n 's/^Remv \([^ ]*\).*/\1/p')
if [ -n "$gone" ]; then
  echo "that would remove" $gone "which others brought" >&2
  exit 1
fi
new=$(printf '%s\n' "$plan" | sed -n 's/^Inst \([^ :]*\) (.*/\1/p')
for package in $new; do echo "package $package" >>{ADDED}; done
comes() {{ printf '%s\n' "$new" | grep -qx "${{1%%:*}}"; }}
for pair in docker.io:/var/lib/docker docker.io:/var/log/docker.log containerd:/var/lib/containerd \
  containerd:/opt/containerd docker-registry:/var/lib/docker-registry docker-registry:/var/log/docker-registry.log \
  prometheus:/var/lib/prometheus prometheus:/var/log/prometheus vector:/var/lib/vector; do
  if comes "$pair" && [ -z "$(ls -A "${{pair#*:}}" 2>/dev/null)" ]; then echo "data $pair" >>{ADDED}; fi
done
for pair in docker-registry:docker-registry prometheus:prometheus vector:vector; do
  if comes "$pair" && ! getent passwd "${{pair#*:}}" >/dev/null; then echo "user $pair" >>{ADDED}; fi
done
for pair in docker.io:docker vector:vector; do
  if comes "${{pair%%:*}}" && ! getent group "${{pair#*:}}" >/dev/null; then echo "group $pair" >>{ADDED}; fi
done
if comes containerd && [ ! -e /etc/cni ]; then echo "empty containerd:/etc/cni/net.d" >>{ADDED}; fi
if comes docker.io && [ "$(cat {FORWARD})" = 0 ]; then  # Docker turns it on, and then forbids what is not its own
  policy=$(iptables -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')
  echo "forward docker.io:${{policy:-ACCEPT}}" >>{ADDED}
fi
if [ ! -e {KEPT} ]; then  # once: later ones are the packages' own
  rm -rf {KEPT}.new
  mkdir {KEPT}.new
  cd /
  for file in etc/default/docker etc/default/rsync etc/containerd/config.toml; do
    [ ! -e "$file" ] || cp -a --parents "$file" {KEPT}.new
  done
  mv {KEPT}.new {KEPT}
fi
"""

NOTE_FILE = f'[ -e "$1" ] || echo "file $1" >>{ADDED}'

NOTE_TREE = f'[ -e "$1" ] || echo "tree $1" >>{ADDED}'
"""Notes a folder that is Fanrun's with all that will be in it."""

NOTE_SERVICE = f'grep -qsx "service $1" {ADDED} || echo "service $1" >>{ADDED}'

# Run as root: IDS.  What belongs to others stays: Docker, where anybody else's images or containers are in it,
# and packages that others have come to need.
REMOVE = rf"""
main() {{
set -u
export LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin"
{DROP_KEY}{MINE}
[ -n "$(fleet_id)" ] || exit 0
case " $1 " in *" $(fleet_id) "*) ;; *) exit 0 ;; esac
added() {{ sed -n "s/^$1 //p" {ADDED} 2>/dev/null | sort -u; }}
noted() {{ added package | grep -qx "$1"; }}
there() {{ # whole, in part, or as settings that stayed
  case "$(dpkg-query -W -f '${{db:Status-Status}}' "$1" 2>/dev/null)" in "" | not-installed) return 1 ;; esac
}}
apt() {{ apt-get -q -y -o DPkg::Lock::Timeout=300 -o APT::Get::AutomaticRemove=false "$@" </dev/null >/dev/null; }}

# An install that was interrupted may still be at work, or have left things halfway.
if [ -n "$(added package)" ]; then
  apt --no-remove install 2>/dev/null || dpkg --configure -a </dev/null >/dev/null 2>&1
  apt --no-remove install ||
    {{ echo "apt does not work there, so packages can't be removed; repair it" >&2; exit 1; }}
fi

others=
answers() {{ timeout 10 docker version >/dev/null 2>&1; }}
if command -v dockerd >/dev/null; then
  answers || service docker start </dev/null >/dev/null 2>&1
  tries=0
  until answers || [ $tries -ge 30 ]; do tries=$((tries + 1)); sleep 0.5; done
fi
if command -v dockerd >/dev/null && ! answers; then
  # One that Fanrun brought may go as it is, if nobody keeps anything in it.
  others=$(find /var/lib/docker/containers /var/lib/docker/volumes -mindepth 1 -maxdepth 1 -type d 2>/dev/null)
  if [ -n "$others" ] || ! noted docker.io; then
    echo "Docker does not start, so what Fanrun has in it can't be removed; start it" >&2
    exit 1
  fi
elif command -v dockerd >/dev/null; then
  containers=$(docker ps -aq --filter label=fanrun.run; docker ps -aq --filter label=fanrun.service)
  if [ -n "$containers" ]; then docker rm -f -v $containers >/dev/null; echo "containers removed"; fi
  # By their names: somebody else may have the same images by other ones.
  images=$(docker image ls --digests --format '{{{{.Repository}}}} {{{{.Tag}}}} {{{{.Digest}}}}' |
    sed -n -e 's|^\([^ ]*/fanrun/image\) .* \(sha256:.*\)|\1@\2|p' -e 's|^\([^ ]*/fanrun/image\) \([^< ]*\) .*|\1:\2|p')
  if [ -n "$images" ]; then docker rmi $images >/dev/null 2>&1; echo "images removed"; fi
  others=$(docker ps -aq; docker image ls -aq; docker volume ls -q; docker network ls -q --filter type=custom)
fi

# Docker leaves its rules for packets behind, also when its package goes: its chains, and what is about its bridge.
# (What begins with DOCKER_ is another Docker's, whose container this machine is.)
undo_rules() {{
  "$1-save" 2>/dev/null | awk '
    /^[*]/ {{ print; chains = 0 }}
    /^:DOCKER(-[A-Z0-9-]+)? / {{ chain[++chains] = substr($1, 2) }}
    /^-A / && !/^-A DOCKER(-[A-Z0-9-]+)? / && (/ -[jg] DOCKER(-[A-Z0-9-]+)?( |$)/ || / docker0( |$)/) {{
      sub(/^-A/, "-D"); print
    }}
    /^COMMIT/ {{
      for (i = 1; i <= chains; i++) print "-F", chain[i]
      for (i = 1; i <= chains; i++) print "-X", chain[i]
      print
    }}' | "$1-restore" --noflush
}}

# Services of Fanrun's own, which no package stops.
for service in $(added service); do
  service "$service" stop </dev/null >/dev/null 2>&1
  if [ -d /run/systemd/system ]; then
    systemctl disable --quiet "$service" 2>/dev/null
    if [ -e "/etc/systemd/system/$service.timer" ]; then systemctl disable --quiet --now "$service.timer"; fi
    rm -f "/etc/systemd/system/$service.service" "/etc/systemd/system/$service.timer"
    systemctl daemon-reload
    systemctl reset-failed --quiet "$service" 2>/dev/null
  else
    rm -f "/etc/init.d/$service"
    update-rc.d "$service" remove >/dev/null 2>&1
  fi
done

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
  if echo "$list" | grep -qx docker.io; then
    # The socket first: whoever asks Docker something by it starts it again, rules and all.
    if [ -d /run/systemd/system ]; then systemctl stop docker.socket; fi 2>/dev/null
    service docker stop </dev/null >/dev/null 2>&1
    for family in iptables ip6tables; do ! command -v $family-restore >/dev/null || undo_rules $family; done
    for pair in $(added forward); do
      iptables -P FORWARD "${{pair#*:}}"
      cat /etc/sysctl.conf /etc/sysctl.d/* /run/sysctl.d/* 2>/dev/null |
        grep -q '^ *net[./]ipv4[./]ip_forward *= *1' || echo 0 >{FORWARD}
    done
  fi
  # Their packages stop them, and fail where no init system is and they don't run.
  for service in docker-registry prometheus; do
    if echo "$list" | grep -qx $service; then service $service start </dev/null >/dev/null 2>&1; fi
  done
  settings=$(dpkg-query -W -f '${{Conffiles}}\n' $list | sed -n 's|^ /\([^ ]*\) .*|\1|p')
  apt purge $list || exit 1
  echo "removed $(echo $list)"
  for file in $settings; do
    [ ! -e "{KEPT}/$file" ] || [ -e "/$file" ] || (cd {KEPT} && cp -a --parents "$file" /)
  done
fi
[ -z "$others" ] || ! noted docker.io || echo "Docker stays: others have images or containers in it"

# Whoever has brought a Docker or a containerd of theirs meanwhile keeps what is in it.
gone() {{
  noted "${{1%%:*}}" && ! there "${{1%%:*}}" || return 1
  case ${{1%%:*}} in
    docker.io) [ -z "$others" ] && ! command -v dockerd >/dev/null ;;
    containerd) ! command -v containerd >/dev/null ;;
  esac
}}
for pair in $(added data); do
  # It may be where a disk is mounted: then it is emptied.
  if gone "$pair" && [ -e "${{pair#*:}}" ]; then find "${{pair#*:}}" -xdev -depth -delete 2>/dev/null; fi
done
for pair in $(added user); do if gone "$pair"; then userdel "${{pair#*:}}" >/dev/null 2>&1; fi; done
for pair in $(added group); do if gone "$pair"; then groupdel "${{pair#*:}}" >/dev/null 2>&1; fi; done
if gone docker.io; then
  ip link delete docker0 2>/dev/null
  rm -rf --one-file-system /run/docker /run/docker.sock /run/docker.pid
fi
if gone containerd; then rm -rf --one-file-system /run/containerd; fi
for pair in $(added empty); do if gone "$pair"; then rmdir -p "${{pair#*:}}" 2>/dev/null; fi; done
added file | while read -r file; do
  rm -f "$file"
  rmdir -p "$(dirname "$file")" 2>/dev/null
done
added tree | while read -r folder; do
  [ -L "$folder" ] || find "$folder" -xdev -depth -delete 2>/dev/null
  rmdir -p "$(dirname "$folder")" 2>/dev/null
done

# The mark goes last: whatever comes between, this can be done again.
find {WORK} -xdev -mindepth 1 -maxdepth 1 ! -name fleet ! -name added -exec rm -rf {{}} +
rm -f "$(mine home)"/.fanrun-*
keys=$(mine home)/.ssh/authorized_keys
drop_key "$keys" "$(mine key)" || {{ echo "$keys can't be written, so the fleet's key is still in it" >&2; exit 1; }}
[ -s "$keys" ] || [ -z "$(added keys)" ] || rm -f "$keys"
added folder | while read -r folder; do rmdir "$folder" 2>/dev/null; done
rm -rf {WORK}
echo "key and folders removed"
}}
main "$@"
"""


@dataclass(frozen=True)
class HostFacts:
    """What a machine is and whose: `system` as "debian 13", `machine` as uname names it.

    `sudo` is whether the login may use it without a password, `snap` whether there is a Docker of that kind; `fleet`,
    `id`, `owner` and `user` are "" for one that is nobody's.  `version` is that of what Fanrun has written there.
    `noise` says what the login prints that breaks rsync, "" if it prints nothing.
    """

    system: str
    machine: str
    sudo: bool
    fleet: str = ""
    owner: str = ""
    roles: tuple[str, ...] = ()
    user: str = ""
    snap: bool = False
    id: str = ""
    version: int = 0
    noise: str = ""


def parse(text: str) -> HostFacts:
    """Read what LOOK printed."""
    found = dict(line.partition(" ")[::2] for line in text.splitlines())
    key, version = found.get("key", "").strip(), found.get("version", "")
    fleet_id = found.get("id", "").strip() or (old_id(key) if key else "")
    return HostFacts(
        found.get("os", "").strip(), found.get("machine", ""), "sudo" in found, found.get("fleet", ""),
        found.get("owner", ""), tuple(found.get("roles", "").split()), found.get("user", ""), "snap" in found,
        fleet_id, int(version) if version.isascii() and version.isdigit() else 0,
    )  # fmt: skip
