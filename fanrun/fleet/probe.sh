# shellcheck shell=sh
# Print what a host says of itself: lines of "key value".
# sh probe.sh WORK LEASE MARK EXPIRY [PREFIX]...
#   WORK     the folder whose file system is looked at
#   LEASE    the file with the seconds that the host lives on after it was last touched; it may not be there
#   MARK     the file that names the version of Fanrun once the host is set up
#   EXPIRY   minutes without a sign of life after which a run is dead
#   PREFIX   the words before a command that uses Docker
# A program that is not there has no value. A Docker that does not answer within 10 seconds has no lines.
echo "uid $(id -u)"
echo "gid $(id -g)"
read -r load _ </proc/loadavg; echo load "$load"
echo "cpus $(nproc)"
while read -r key value _; do case $key in MemTotal:) echo memory "$value"; break;; esac; done </proc/meminfo
echo "python $(command -v python3)"
echo "nvidia $(command -v nvidia-container-runtime)"
stat -f -c 'disk %b %a %S' "$1" 2>/dev/null
for file in "$1"/reference/*/*/size; do
  [ -r "$file" ] || continue
  version=${file%/size} name=${file%/*/size}
  echo "kept ${name##*/} ${version##*/} $(cat "$file")"
done
[ ! -d "$1/cache" ] || echo "cache $(cat "$1/cache/size" 2>/dev/null)"
for run in "$1"/runs/[0-9]*; do
  [ ! -d "$run" ] || find "$run" -maxdepth 0 -mmin "-$4" -printf 'run %f\n'
done
[ ! -e "$2" ] || echo "lease $(($(stat -c %Y "$2") + $(cat "$2") - $(date +%s)))"
if grep -q '^version ' "$3" 2>/dev/null; then echo "marked yes"; fi
shift 4
# shellcheck disable=SC2016  # the inner shell expands them
timeout 10 "$@" sh -c '
  echo docker $(docker version --format {{.Server.Version}} 2>/dev/null)
  docker ps --all --filter label=fanrun.service --format "service {{.Names}} {{.State}}" 2>/dev/null
  docker image ls --digests --no-trunc --format "image {{.Repository}}@{{.Digest}} {{.Repository}}:{{.Tag}}" 2>/dev/null
'
exit 0
