# shellcheck shell=sh
# Remove from a machine what Fanrun added to it. Run as root. fleet-id.sh comes before this text.
# sh remove-footprint.sh WORK IDS DROP_KEY
#   WORK        the work folder, in which "fleet" says whose the machine is and "added" what Fanrun added to it
#   IDS         the ids of the fleet: a machine of another one is left as it is
#   DROP_KEY    the text of drop-key.sh
# Print a line for each kind of thing that was removed.
# What belongs to others stays: Docker, if anybody else's images or containers are in it, and packages that others have
# come to need.
#
# shellcheck disable=SC2086  # lists of names are split into words
set -u
export LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin"
work=$1 ids=$2 drop_key=$3
mark=$work/fleet record=$work/added originals=$work/kept
[ -n "$(fleet_id "$mark")" ] || exit 0
case " $ids " in *" $(fleet_id "$mark") "*) ;; *) exit 0 ;; esac
added() { sed -n "s/^$1 //p" "$record" 2>/dev/null | sort -u; }
noted() { added package | grep -qx "$1"; }
there() { # whole, in part, or as settings that stayed
  case "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" in "" | not-installed) return 1 ;; esac
}
apt() { apt-get -q -y -o DPkg::Lock::Timeout=300 -o APT::Get::AutomaticRemove=false "$@" </dev/null >/dev/null; }

# An install that was interrupted may still be at work, or have left things halfway.
if [ -n "$(added package)" ]; then
  apt --no-remove install 2>/dev/null || dpkg --configure -a </dev/null >/dev/null 2>&1
  apt --no-remove install ||
    { echo "apt does not work there, so packages can't be removed; repair it" >&2; exit 1; }
fi

others=
answers() { timeout 10 docker version >/dev/null 2>&1; }
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
  # Images of fanrun.invalid are those of fleets without sudo, which other logins may have on the machine.
  containers=$(docker ps -a --filter label=fanrun.run --format '{{.ID}} {{.Image}}' |
    sed -e '/ fanrun\.invalid\//d' -e 's/ .*//'; docker ps -aq --filter label=fanrun.service)
  if [ -n "$containers" ]; then docker rm -f -v $containers >/dev/null; echo "containers removed"; fi
  # By their names: somebody else may have the same images by other ones.
  images=$(docker image ls --digests --format '{{.Repository}} {{.Tag}} {{.Digest}}' |
    sed -n -e '/^fanrun\.invalid\//d' \
      -e 's|^\([^ ]*/fanrun/image\) .* \(sha256:.*\)|\1@\2|p' -e 's|^\([^ ]*/fanrun/image\) \([^< ]*\) .*|\1:\2|p')
  if [ -n "$images" ]; then docker rmi $images >/dev/null 2>&1; echo "images removed"; fi
  others=$(docker ps -aq; docker image ls -aq; docker volume ls -q; docker network ls -q --filter type=custom)
fi

# Docker leaves its rules for packets behind, also when its package goes: its chains, and what is about its bridge.
# (What begins with DOCKER_ is another Docker's, whose container this machine is.)
undo_rules() {
  "$1-save" 2>/dev/null | awk '
    /^[*]/ { print; chains = 0 }
    /^:DOCKER(-[A-Z0-9-]+)? / { chain[++chains] = substr($1, 2) }
    /^-A / && !/^-A DOCKER(-[A-Z0-9-]+)? / && (/ -[jg] DOCKER(-[A-Z0-9-]+)?( |$)/ || / docker0( |$)/) {
      sub(/^-A/, "-D"); print
    }
    /^COMMIT/ {
      for (i = 1; i <= chains; i++) print "-F", chain[i]
      for (i = 1; i <= chains; i++) print "-X", chain[i]
      print
    }' | "$1-restore" --noflush
}

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
drags() { apt-get -s -o APT::Get::AutomaticRemove=false purge "$@" 2>/dev/null |
  sed -n 's/^\(Remv\|Purg\) \([^ :]*\).*/\2/p' | grep -vxF "$list"; }
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
      iptables -P FORWARD "${pair#*:}"
      cat /etc/sysctl.conf /etc/sysctl.d/* /run/sysctl.d/* 2>/dev/null |
        grep -q '^ *net[./]ipv4[./]ip_forward *= *1' || echo 0 >/proc/sys/net/ipv4/ip_forward
    done
  fi
  # Their packages stop them, and fail where no init system is and they don't run.
  for service in docker-registry prometheus; do
    if echo "$list" | grep -qx $service; then service $service start </dev/null >/dev/null 2>&1; fi
  done
  settings=$(dpkg-query -W -f '${Conffiles}\n' $list | sed -n 's|^ /\([^ ]*\) .*|\1|p')
  apt purge $list || exit 1
  echo removed $list
  for file in $settings; do
    [ ! -e "$originals/$file" ] || [ -e "/$file" ] || (cd "$originals" && cp -a --parents "$file" /)
  done
fi
[ -z "$others" ] || ! noted docker.io || echo "Docker stays: others have images or containers in it"

# Whoever has brought a Docker or a containerd of theirs meanwhile keeps what is in it.
gone() {
  noted "${1%%:*}" && ! there "${1%%:*}" || return 1
  case ${1%%:*} in
    docker.io) [ -z "$others" ] && ! command -v dockerd >/dev/null ;;
    containerd) ! command -v containerd >/dev/null ;;
  esac
}
for pair in $(added data); do
  # It may be where a disk is mounted: then it is emptied.
  if gone "$pair" && [ -e "${pair#*:}" ]; then find "${pair#*:}" -xdev -depth -delete 2>/dev/null; fi
done
for pair in $(added member); do gpasswd --delete "${pair#*:}" "${pair%%:*}" >/dev/null 2>&1; done
for pair in $(added user); do if gone "$pair"; then userdel "${pair#*:}" >/dev/null 2>&1; fi; done
for pair in $(added group); do if gone "$pair"; then groupdel "${pair#*:}" >/dev/null 2>&1; fi; done
if gone docker.io; then
  ip link delete docker0 2>/dev/null
  rm -rf --one-file-system /run/docker /run/docker.sock /run/docker.pid
fi
if gone containerd; then rm -rf --one-file-system /run/containerd; fi
for pair in $(added empty); do if gone "$pair"; then rmdir -p "${pair#*:}" 2>/dev/null; fi; done
added file | while read -r file; do
  rm -f "$file"
  rmdir -p "$(dirname "$file")" 2>/dev/null
done
added tree | while read -r folder; do
  [ -L "$folder" ] || find "$folder" -xdev -depth -delete 2>/dev/null
  rmdir -p "$(dirname "$folder")" 2>/dev/null
done

# The mark goes last: whatever comes between, this can be done again.
# The files of runs go first: a background process may still be moving inputs from there to the cache.
rm -rf "$work/runs"
find "$work" -xdev -mindepth 1 -maxdepth 1 ! -name fleet ! -name added -exec rm -rf {} +
rm -f "$(mark_value "$mark" home)"/.fanrun-*
keys=$(mark_value "$mark" home)/.ssh/authorized_keys
sh -c "$drop_key" sh "$keys" "$(mark_value "$mark" key)" ||
  { echo "$keys can't be written, so the fleet's key is still in it" >&2; exit 1; }
# A run that was killed may have left a key that reads reference data.
grep -a ' fanrun-reference-[^ ]*$' "$keys" 2>/dev/null | while read -r line; do
  sh -c "$drop_key" sh "$keys" "$line"
done
[ -s "$keys" ] || [ -z "$(added keys)" ] || rm -f "$keys"
added folder | while read -r folder; do rmdir "$folder" 2>/dev/null; done
rm -rf "${work:?}"
echo "key and folders removed"
