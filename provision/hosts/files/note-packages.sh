# shellcheck shell=sh
# Note packages that are about to be installed, and the data, users and groups that come with them. Run as root.
# sh note-packages.sh WORK PACKAGE...
#   WORK    the work folder: what is new is noted in "added", and settings that were there are copied to "kept"
# Print nothing. Exit with 1, and note nothing, if the packages would remove others.
set -eu
export LC_ALL=C
added=$1/added kept=$1/kept
shift
plan=$(apt-get -s install --no-install-recommends "$@")
gone=$(printf '%s\n' "$plan" | sed -n 's/^Remv \([^ ]*\).*/\1/p')
if [ -n "$gone" ]; then
  # shellcheck disable=SC2086  # one line of names
  echo "that would remove" $gone "which others brought" >&2
  exit 1
fi
new=$(printf '%s\n' "$plan" | sed -n 's/^Inst \([^ :]*\) (.*/\1/p')
for package in $new; do echo "package $package" >>"$added"; done
comes() { printf '%s\n' "$new" | grep -qx "${1%%:*}"; }
for pair in docker.io:/var/lib/docker docker.io:/var/log/docker.log containerd:/var/lib/containerd \
  containerd:/opt/containerd docker-registry:/var/lib/docker-registry docker-registry:/var/log/docker-registry.log \
  prometheus:/var/lib/prometheus prometheus:/var/log/prometheus vector:/var/lib/vector; do
  if comes "$pair" && [ -z "$(ls -A "${pair#*:}" 2>/dev/null)" ]; then echo "data $pair" >>"$added"; fi
done
for pair in docker-registry:docker-registry prometheus:prometheus vector:vector; do
  if comes "$pair" && ! getent passwd "${pair#*:}" >/dev/null; then echo "user $pair" >>"$added"; fi
done
for pair in docker.io:docker vector:vector; do
  if comes "${pair%%:*}" && ! getent group "${pair#*:}" >/dev/null; then echo "group $pair" >>"$added"; fi
done
if comes containerd && [ ! -e /etc/cni ]; then echo "empty containerd:/etc/cni/net.d" >>"$added"; fi
# Docker turns forwarding on, and then forbids what is not its own.
if comes docker.io && [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ]; then
  policy=$(iptables -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')
  echo "forward docker.io:${policy:-ACCEPT}" >>"$added"
fi
# Only once: later settings are the packages' own.
if [ ! -e "$kept" ]; then
  rm -rf "$kept.new"
  mkdir "$kept.new"
  cd /
  for file in etc/default/docker etc/default/rsync etc/containerd/config.toml; do
    [ ! -e "$file" ] || cp -a --parents "$file" "$kept.new"
  done
  mv "$kept.new" "$kept"
fi
