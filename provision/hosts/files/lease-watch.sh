# shellcheck shell=sh
# Start what shuts this machine down when its lease runs out, unless it runs already. Run as root.
# sh lease-watch.sh LEASE SECONDS WATCHING
#   LEASE       the file with the seconds that the machine lives on after the file was last touched
#   SECONDS     written to LEASE if it is not there; one that is there counts on over a reboot
#   WATCHING    the file with the process that watches since this boot
# A lease that is gone or can't be read has run out too. An instance that was launched for it is terminated when it
# shuts down, so the machine needs no rights for that.
kill -0 "$(cat "$3" 2>/dev/null)" 2>/dev/null && exit 0
[ -e "$1" ] || echo "$2" >"$1"
# shellcheck disable=SC2016  # the inner shells expand these
setsid sh -c 'echo $$ >"$2"; while :; do
  sleep 15
  sh -c "$1" "$0" || shutdown -P now
done' "$1" '[ $(($(stat -c %Y "$0") + $(cat "$0") - $(date +%s))) -gt 0 ]' "$3" </dev/null >/dev/null 2>&1 &
