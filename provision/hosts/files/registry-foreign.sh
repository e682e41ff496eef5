# shellcheck shell=sh
# Run as root: name what is in the registry's way and is not Fanrun's.
# Arguments: the file that lists what Fanrun added, then the ports.
config=/etc/docker/registry/config.yml
added=$1
shift
ours() { grep -qs '^# Written by Fanrun' "$config" || grep -qsx 'package docker-registry' "$added"; }

[ ! -e "$config" ] || ours || echo "a docker-registry"
for port; do
  listener=$(ss -Hltnp "sport = :$port")
  [ -n "$listener" ] || continue
  case $listener in *'"docker-registry"'*) ! ours || continue ;; esac
  echo "something on port $port"
done
exit 0
